//! `burn-ckpt export`: what it writes is what the module has, as Python's own readers see it.

mod dtype;
mod parts_and_layers;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{BoolStore, Bytes, DType, Tensor};
use burn_ckpt::burn_pack::{self, Scalar};
use burn_ckpt::{Checkpoint, Section, TensorLayout};
use serde_json::{Value, json};
use system_tests::backend;
use system_tests::hand_made_files::save_as_model;
use system_tests::models::pytorch_twin::{Inputs, Net, assert_same_outputs};
use system_tests::models::small::{Model, Script};
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, sha256sum, stderr, stdout};
use system_tests::programs::python::run_script;
use system_tests::run_files::{checkpoints, files, last_tensor_byte, metadata, metadata_path};
use system_tests::{config, train};

/// Name -> shape and bytes, by a walk that knows nothing of how checkpoints are made.
#[derive(Default)]
struct Walk {
    path: Vec<String>,
    tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)>,
}

impl ModuleVisitor for Walk {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let data = param.val().into_data();
        let shape = data.shape().to_vec();
        self.tensors.insert(self.path.join("."), (shape, data.bytes().to_vec()));
    }
}

fn walk<M: Module>(module: &M) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let mut walk = Walk::default();
    module.visit(&mut walk);
    assert!(!walk.tensors.is_empty());
    walk.tensors
}

fn export(checkpoint: &Path, out: &Path, more: &[&str]) -> std::process::Output {
    let words = ["export", checkpoint.to_str().unwrap(), out.to_str().unwrap()];
    burn_ckpt_command().args([&words, more].concat()).output().unwrap()
}

/// Checks that an export fails with exit status 1, names `facts`, and leaves nothing behind.
fn assert_refused(checkpoint: &Path, more: &[&str], facts: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let output = export(checkpoint, &directory.path().join("out.safetensors"), more);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(output.stdout.is_empty());
    for fact in facts {
        assert!(error.contains(fact), "{fact}: {error}");
    }
    assert_eq!(files(directory.path()), [""; 0], "{error}");
}

fn tensor(name: &str, dtype: DType, shape: &[usize], bytes: &[u8]) -> burn_pack::Tensor {
    burn_pack::Tensor::new(
        name.to_owned(),
        dtype,
        shape.to_vec(),
        None,
        Bytes::from_bytes_vec(bytes.to_vec()),
    )
}

#[test]
fn python_reads_every_tensor_of_a_trained_model_bit_for_bit() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let best = checkpoints(root.path()).join("best_val_loss.ckpt");
    let out = root.path().join("model.safetensors");
    // The link and the run's directory are ways to the same file.
    let printed = stdout(&export(&root.path().join("burn_trainer_logs/r1/best"), &out, &[]));
    let digest = sha256sum(&out).unwrap();
    let size = std::fs::metadata(&out).unwrap().len();
    assert_eq!(printed, format!("{}: 8 tensors, {size} bytes, sha256:{digest}\n", out.display()));

    let model = Model::new(Script::default(), &backend::device());
    let model = Checkpoint::open(&best).unwrap().load_into(model).unwrap();
    let described = run_script("describe.py", &[&out]);
    let ours: Value = walk(&model)
        .into_iter()
        .map(|(name, (shape, bytes))| {
            (name, json!({ "dtype": "float32", "shape": shape, "bytes": hex(&bytes) }))
        })
        .collect();
    assert_eq!(described["tensors"], ours);

    let about = metadata(&best);
    let notes = &described["metadata"];
    assert_eq!(notes["format"], "burn");
    assert_eq!(notes["producer"], "burn-ckpt");
    let hparams: Value = serde_json::from_str(notes["burn_ckpt.hparams"].as_str().unwrap()).unwrap();
    assert_eq!(hparams, about["hparams"]);
    assert_eq!(notes["burn_ckpt.epoch"], about["epoch"].to_string());
    assert_eq!(notes["burn_ckpt.global_step"], about["global_step"].to_string());
    assert_eq!(notes["burn_ckpt.run_id"], "r1");
    assert_eq!(notes["burn_ckpt.sha256"], about["checkpoint_checksum"]);
}

#[test]
fn pytorchs_module_computes_the_same_with_exported_weights() {
    let directory = tempfile::tempdir().unwrap();
    let net = Net::trained();
    let checkpoint = save_as_model(directory.path(), "net.ckpt", &json!(null), Section::from_module(&net));
    let [out, given] = ["net.safetensors", "inputs.json"].map(|name| directory.path().join(name));
    stdout(&export(&checkpoint, &out, &["--layout", "pytorch"]));
    let inputs = Inputs::new();
    std::fs::write(&given, inputs.to_json().to_string()).unwrap();
    let theirs = run_script("load_exported.py", &[&out, &given]);
    assert_same_outputs(&net.outputs(&inputs), &theirs);
    assert_eq!(run_script("describe.py", &[&out])["metadata"]["format"], "pt");
}

#[test]
fn every_type_of_element_arrives_as_its_own() {
    let directory = tempfile::tempdir().unwrap();
    // Eight bytes that are numbers of every type, none of them NaN.
    let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
    let types = [
        ("float64", DType::F64, 8),
        ("float32", DType::F32, 4),
        ("float16", DType::F16, 2),
        ("bfloat16", DType::BF16, 2),
        ("int64", DType::I64, 8),
        ("int32", DType::I32, 4),
        ("int16", DType::I16, 2),
        ("int8", DType::I8, 1),
        ("uint64", DType::U64, 8),
        ("uint32", DType::U32, 4),
        ("uint16", DType::U16, 2),
        ("uint8", DType::U8, 1),
    ];
    let mut tensors: Vec<_> =
        types.iter().map(|(name, dtype, size)| tensor(name, *dtype, &[8 / size], &bytes)).collect();
    tensors.push(tensor("none", DType::F32, &[0, 3], &[]));
    tensors.push(tensor("one", DType::I8, &[], &[7]));
    let stores = [(BoolStore::Native, 1), (BoolStore::U8, 1), (BoolStore::U32, 4)];
    for (store, size) in stores {
        let values: Vec<u8> =
            [1, 0, 1].iter().flat_map(|value| [&[*value][..], &[0; 3][..size - 1]].concat()).collect();
        tensors.push(tensor(&format!("bool-{store:?}"), DType::Bool(store), &[3], &values));
    }
    let checkpoint =
        save_as_model(directory.path(), "a.ckpt", &json!(null), Section::new().with_tensors(tensors));
    let out = directory.path().join("a.safetensors");
    stdout(&export(&checkpoint, &out, &[]));
    let described = &run_script("describe.py", &[&out])["tensors"];
    for (name, _, size) in types {
        let expected = json!({ "dtype": name, "shape": [8 / size], "bytes": hex(&bytes) });
        assert_eq!(described[name], expected);
    }
    for (store, _) in stores {
        let expected = json!({ "dtype": "bool", "shape": [3], "bytes": "010001" });
        assert_eq!(described[format!("bool-{store:?}")], expected);
    }
    assert_eq!(described["none"], json!({ "dtype": "float32", "shape": [0, 3], "bytes": "" }));
    assert_eq!(described["one"], json!({ "dtype": "int8", "shape": [], "bytes": "07" }));
}

#[test]
fn two_exports_of_a_checkpoint_are_the_same_file() {
    let directory = tempfile::tempdir().unwrap();
    let section = Section::from_module(&Net::trained());
    let checkpoint = save_as_model(directory.path(), "net.ckpt", &json!({ "a": 1 }), section);
    let outs = ["a.safetensors", "b.safetensors"].map(|name| directory.path().join("new").join(name));
    outs.iter().for_each(|out| drop(stdout(&export(&checkpoint, out, &[]))));
    assert_eq!(std::fs::read(&outs[0]).unwrap(), std::fs::read(&outs[1]).unwrap());
}

#[test]
fn a_damaged_tensor_is_not_exported() {
    let directory = tempfile::tempdir().unwrap();
    let checkpoint =
        save_as_model(directory.path(), "net.ckpt", &json!(null), Section::from_module(&Net::trained()));
    let mut bytes = std::fs::read(&checkpoint).unwrap();
    // The last tensor is the bias of `out`.
    let place = last_tensor_byte(&bytes);
    bytes[place] ^= 1;
    std::fs::write(&checkpoint, bytes).unwrap();
    let digest = metadata(&checkpoint)["tensors"]["model.out.bias"]["blake3"].as_str().unwrap().to_owned();
    let path = checkpoint.to_str().unwrap();
    assert_refused(&checkpoint, &[], &[path, "out.bias", "damaged", &digest]);
    assert_refused(&checkpoint, &["--layout", "pytorch"], &["out.bias", "damaged"]);
    let out = directory.path().join("out.safetensors");
    stdout(&export(&checkpoint, &out, &["--no-verify"]));

    std::fs::remove_file(metadata_path(&checkpoint)).unwrap();
    assert_refused(&checkpoint, &[], &[path, "out.bias", "damaged", &digest]);
    stdout(&export(&checkpoint, &out, &["--no-verify", "--force"]));
}

#[test]
fn what_cannot_be_expressed_is_an_error_that_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let save = |name: &str, section: Section| save_as_model(directory.path(), name, &json!(null), section);
    let with = |tensors: Vec<burn_pack::Tensor>| Section::new().with_tensors(tensors);
    let one = || tensor("weight", DType::F32, &[1], &[0; 4]);

    let unknown = save("unknown.ckpt", with(vec![one()]));
    assert_refused(&unknown, &["--layout", "pytorch"], &["unknown.ckpt", "--layout burn"]);
    let pytorchs = save("pytorchs.ckpt", with(vec![one()]).with_layout(TensorLayout::PyTorch));
    assert_refused(&pytorchs, &[], &["pytorchs.ckpt", "--layout pytorch"]);
    let out = directory.path().join("pytorchs.safetensors");
    stdout(&export(&pytorchs, &out, &["--layout", "pytorch"]));
    let reserved = save("reserved.ckpt", with(vec![tensor("__metadata__", DType::F32, &[1], &[0; 4])]));
    assert_refused(&reserved, &[], &["__metadata__"]);
    let scalars = [("a".to_owned(), Scalar::Int(1))].into();
    let empty = save("empty.ckpt", Section::new().with_scalars(scalars));
    assert_refused(&empty, &[], &["empty.ckpt", "no tensors"]);
    assert_refused(&empty, &["--section", "optimizer"], &["optimizer", "it has: model"]);
    assert_refused(&directory.path().join("gone.ckpt"), &[], &["gone.ckpt"]);

    // Without the variant of the enum one is called as the other.
    let mut clash = Section::from_module(&Net::trained());
    let types = r#"{"":"Struct:Net","a":"Enum:A","a.B":"Struct:Linear","a.C":"Struct:Linear"}"#;
    clash.strings.insert("module_types".to_owned(), types.to_owned());
    clash.tensors = ["a.B.bias", "a.C.bias"].map(|name| tensor(name, DType::F32, &[1], &[0; 4])).to_vec();
    let clash = save("clash.ckpt", clash);
    assert_refused(&clash, &["--layout", "pytorch"], &["a.B.bias", "a.C.bias", "called a.bias"]);
}

#[test]
fn a_quantised_tensor_is_an_error_that_names_it() {
    use burn::tensor::quantization::{Calibration, QuantScheme, compute_q_params, compute_range};
    let directory = tempfile::tempdir().unwrap();
    let scheme = QuantScheme::default();
    let values = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &backend::device());
    let range = compute_range(&scheme, &values, &Calibration::MinMax);
    let (bytes, shape, dtype) =
        values.quantize(&scheme, compute_q_params(&scheme, range)).into_data().into_parts();
    let tensors = vec![burn_pack::Tensor::new("small.weight".to_owned(), dtype, shape, None, bytes)];
    let checkpoint =
        save_as_model(directory.path(), "q.ckpt", &json!(null), Section::new().with_tensors(tensors));
    assert_refused(&checkpoint, &[], &["small.weight", "quantised"]);
}

#[test]
fn a_killed_export_leaves_no_part_of_a_file_under_its_name() {
    let directory = tempfile::tempdir().unwrap();
    // Large enough that a kill falls into the writing.
    let weights = vec![1; 24 * 1024 * 1024];
    let tensors = ["a", "b"].map(|name| tensor(name, DType::U8, &[weights.len()], &weights)).to_vec();
    let checkpoint =
        save_as_model(directory.path(), "a.ckpt", &json!(null), Section::new().with_tensors(tensors));
    let whole = directory.path().join("whole.safetensors");
    stdout(&export(&checkpoint, &whole, &[]));
    let whole = std::fs::read(whole).unwrap();

    let mut cut = 0;
    for kill in 0..6 {
        let into = directory.path().join(format!("{kill}"));
        let out = into.join("out.safetensors");
        let words = ["export", checkpoint.to_str().unwrap(), out.to_str().unwrap()];
        let mut child = burn_ckpt_command().args(words).stdout(Stdio::null()).spawn().unwrap();
        let written = || -> u64 {
            let entries = std::fs::read_dir(&into).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.metadata().ok()).map(|facts| facts.len()).sum()
        };
        // Each time when more of it is there.
        while written() < kill * 8 * 1024 * 1024 + 1 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        match std::fs::read(&out) {
            Ok(bytes) => assert!(bytes == whole, "a part of it has the name"),
            Err(_) => cut += 1,
        }
        // What the kill left is not in the way.
        stdout(&export(&checkpoint, &out, &["--force"]));
        assert!(std::fs::read(&out).unwrap() == whole);
    }
    assert!(cut > 0, "no kill came in time");
}

#[test]
fn a_file_that_is_there_is_replaced_on_request_alone() {
    let directory = tempfile::tempdir().unwrap();
    let checkpoint =
        save_as_model(directory.path(), "net.ckpt", &json!(null), Section::from_module(&Net::trained()));
    let out = directory.path().join("out.safetensors");
    std::fs::write(&out, "mine").unwrap();
    let output = export(&checkpoint, &out, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--force"), "{}", stderr(&output));
    assert_eq!(std::fs::read(&out).unwrap(), b"mine");
    stdout(&export(&checkpoint, &out, &["--force"]));
    assert!(std::fs::metadata(&out).unwrap().len() > 1000);
    let names = files(directory.path());
    assert_eq!(names, ["net.ckpt", "net.ckpt.metadata.json", "out.safetensors"]);

    let before = std::fs::read(&checkpoint).unwrap();
    let itself = directory.path().join("itself.safetensors");
    std::fs::copy(&checkpoint, &itself).unwrap();
    let output = export(&itself, &itself, &["--force"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is the checkpoint itself"), "{}", stderr(&output));
    assert_eq!(std::fs::read(&itself).unwrap(), before);
}

#[test]
fn wrong_usage_has_status_2() {
    for words in [
        &["export"][..],
        &["export", "a", "b", "--layout", "keras"],
        &["import", "a", "b", "--rename", "(=b"],
    ] {
        let output = burn_ckpt_command().args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
    }
    let output = burn_ckpt(&[&"import", &"a", &"b", &"--hparams", &"{a: 1"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn a_name_of_another_format_is_wrong_usage_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let checkpoint =
        save_as_model(directory.path(), "net.ckpt", &json!(null), Section::from_module(&Net::trained()));
    for (name, expected) in [
        ("m.pt", "m.safetensors; PyTorch reads it with safetensors.torch.load_file"),
        ("m.PTH", "m.safetensors; PyTorch"),
        ("m.bin", "m.safetensors; PyTorch"),
        ("m.npz", "m.safetensors; NumPy"),
        ("m.onnx", "m.safetensors"),
        ("m", "m.safetensors"),
    ] {
        let (_, said) = ended_with(&export(&checkpoint, &directory.path().join(name), &[]), 2);
        assert!(said.contains("export writes") && said.contains(expected), "{said}");
    }
    assert_eq!(files(directory.path()), ["net.ckpt", "net.ckpt.metadata.json"]);
    stdout(&export(&checkpoint, &directory.path().join("m.SafeTensors"), &[]));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
