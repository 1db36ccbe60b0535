//! `burn-ckpt import`: what PyTorch saved computes the same in burn, and what was exported comes back as it
//! was.

use std::path::Path;
use std::process::Output;

use burn::nn::LinearConfig;
use burn_ckpt::{Checkpoint, Section, TensorLayout};
use serde_json::{Value, json};
use system_tests::backend;
use system_tests::hand_made_files::{save_as_model, write_safetensors};
use system_tests::models::pytorch_twin::{Inputs, Net, assert_same_outputs};
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, sha256sum, stderr, stdout};
use system_tests::programs::python::run_script;
use system_tests::run_files::{files, metadata};

fn import(file: &Path, out: &Path, more: &[&str]) -> Output {
    let words = ["import", file.to_str().unwrap(), out.to_str().unwrap()];
    burn_ckpt_command().args([&words, more].concat()).output().unwrap()
}

/// Lets PyTorch save its module, and returns what that computes.
fn saved_by_pytorch(directory: &Path) -> (Inputs, Value) {
    let (inputs, given) = (Inputs::new(), directory.join("inputs.json"));
    std::fs::write(&given, inputs.to_json().to_string()).unwrap();
    let outputs = run_script("save_model.py", &[directory, &given]);
    (inputs, outputs)
}

/// The files that PyTorch saved, with what has to be said of each.
const FILES: [(&str, &[&str]); 5] = [
    ("state.pt", &[]),
    ("nested.pth", &["--top-level-key", "state_dict"]),
    ("legacy.pt", &[]),
    ("plain.safetensors", &[]),
    ("noted.safetensors", &[]),
];

fn fresh() -> Net {
    Net::new(&backend::device())
}

#[test]
fn what_pytorch_saved_computes_the_same_in_burn() {
    let directory = tempfile::tempdir().unwrap();
    let (inputs, outputs) = saved_by_pytorch(directory.path());
    for (name, more) in FILES {
        let out = directory.path().join(format!("{name}.ckpt"));
        let printed = stdout(&import(&directory.path().join(name), &out, more));
        let size = std::fs::metadata(&out).unwrap().len();
        let digest = sha256sum(&out).unwrap();
        assert_eq!(printed, format!("{}: 21 tensors, {size} bytes, sha256:{digest}\n", out.display()));
        let checkpoint = Checkpoint::open(&out).unwrap();
        checkpoint.verify().unwrap();
        assert_eq!(metadata(&out)["reason"], format!("imported: {name}"));
        let net = checkpoint.load_into(fresh()).unwrap();
        assert_same_outputs(&net.outputs(&inputs), &outputs);
    }
}

#[test]
fn with_a_checkpoint_of_the_model_tensors_are_converted_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (inputs, outputs) = saved_by_pytorch(directory.path());
    let like =
        save_as_model(directory.path(), "like.ckpt", &json!({ "a": 1 }), Section::from_module(&fresh()));
    let out = directory.path().join("out.ckpt");
    for (name, more) in FILES {
        let like = ["--force", "--like", like.to_str().unwrap()];
        let output = import(&directory.path().join(name), &out, &[&like, more].concat());
        stdout(&output);
        assert!(!stderr(&output).contains("hyperparameters"), "{}", stderr(&output));
        let checkpoint = Checkpoint::open(&out).unwrap();
        assert_eq!(checkpoint.hparams::<Value>().unwrap(), json!({ "a": 1 }));
        let section = checkpoint.section("model").unwrap();
        assert_eq!(section.layout().unwrap(), TensorLayout::Burn);
        assert_eq!(section.module_types().unwrap().of("square.weight"), Some("Linear"));
        let net = checkpoint.load_into(fresh()).unwrap();
        assert_same_outputs(&net.outputs(&inputs), &outputs);
    }
    // And back: to PyTorch again, from what was imported.
    let exported = directory.path().join("again.safetensors");
    let words = ["export", out.to_str().unwrap(), exported.to_str().unwrap(), "--layout", "pytorch"];
    stdout(&burn_ckpt_command().args(words).output().unwrap());
    let given = directory.path().join("inputs.json");
    let theirs: Vec<f64> =
        serde_json::from_value(run_script("load_exported.py", &[&exported, &given])).unwrap();
    assert_same_outputs(&theirs, &outputs);
}

#[test]
fn what_was_exported_comes_back_with_names_bytes_and_hyperparameters() {
    let directory = tempfile::tempdir().unwrap();
    let hparams = json!({ "layers": [4, 6], "rate": 0.1, "name": "ä\"\n" });
    let before = save_as_model(directory.path(), "net.ckpt", &hparams, Section::from_module(&Net::trained()));
    let [file, after] = ["net.safetensors", "back.ckpt"].map(|name| directory.path().join(name));
    stdout(&burn_ckpt(&[&"export", &before, &file]));
    let output = import(&file, &after, &[]);
    stdout(&output);
    assert!(stderr(&output).contains("burn"), "{}", stderr(&output));

    let tensors = |path: &Path| {
        let mut tensors: Vec<(String, Value)> =
            serde_json::from_value::<serde_json::Map<String, Value>>(metadata(path)["tensors"].clone())
                .unwrap()
                .into_iter()
                .collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    };
    assert_eq!(tensors(&before), tensors(&after));
    let [before, after] = [before, after].map(|path| Checkpoint::open(path).unwrap());
    assert_eq!(after.hparams::<Value>().unwrap(), hparams);
    let types = |checkpoint: &Checkpoint| checkpoint.section("model").unwrap().module_types().unwrap();
    assert_eq!(types(&before), types(&after));
    let inputs = Inputs::new();
    let outputs = |checkpoint: &Checkpoint| checkpoint.load_into(fresh()).unwrap().outputs(&inputs);
    assert_eq!(outputs(&before), outputs(&after));
}

#[test]
fn every_type_and_every_way_to_store_it_arrives_as_python_sees_it() {
    let directory = tempfile::tempdir().unwrap();
    let names = run_script("save_types.py", &[directory.path()]);
    let described = run_script("describe.py", &[&directory.path().join("types.safetensors")]);
    let described = described["tensors"].as_object().unwrap();
    assert_eq!(names.as_array().unwrap().len(), described.len());
    for name in ["types.pt", "types.safetensors"] {
        let out = directory.path().join(format!("{name}.ckpt"));
        stdout(&import(&directory.path().join(name), &out, &[]));
        let metadata = metadata(&out);
        let tensors = metadata["tensors"].as_object().unwrap();
        assert_eq!(tensors.len(), described.len());
        for (name, theirs) in described {
            let ours = &tensors[&format!("model.{name}")];
            let digits = theirs["bytes"].as_str().unwrap();
            let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
            let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
            assert_eq!(ours["blake3"], burn_ckpt::plumbing::blake3_hex(&bytes), "{name}");
            assert_eq!(ours["shape"], theirs["shape"], "{name}");
            let dtype = theirs["dtype"].as_str().unwrap();
            let short =
                dtype.replace("bfloat", "bf").replace("float", "f").replace("uint", "u").replace("int", "i");
            assert_eq!(ours["dtype"], short, "{name}");
        }
    }
}

#[test]
fn a_file_with_more_than_weights_is_said_to_have_it() {
    let directory = tempfile::tempdir().unwrap();
    saved_by_pytorch(directory.path());
    let out = directory.path().join("out.ckpt");
    let nested = directory.path().join("nested.pth");
    let output = import(&nested, &out, &[]);
    stdout(&output);
    assert!(stderr(&output).contains("--top-level-key"), "{}", stderr(&output));
    let output = import(&nested, &out, &["--force", "--top-level-key", "epochs"]);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.contains("epochs") && error.contains("state_dict"), "{error}");
    let output = import(&nested, &out, &["--force", "--top-level-key", "state_dict", "--hparams", "{}"]);
    stdout(&output);
    assert_eq!(stderr(&output), "");
}

#[test]
fn names_are_replaced_and_layers_counted_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    saved_by_pytorch(directory.path());
    let out = directory.path().join("out.ckpt");
    let names = |more: &[&str]| {
        let output = import(&directory.path().join("state.pt"), &out, &[more, &["--force"]].concat());
        stdout(&output);
        let section = Checkpoint::open(&out).unwrap().section("model").unwrap();
        section.tensors.into_iter().map(|tensor| tensor.name).collect::<Vec<_>>()
    };
    let has = |names: &[String], name: &str| names.iter().any(|there| there == name);
    let plain = names(&[]);
    assert!(has(&plain, "layers.1.weight") && !has(&plain, "layers.2.weight"), "{plain:?}");
    // Not a parameter in burn.
    assert!(!plain.iter().any(|name| name.contains("num_batches_tracked")), "{plain:?}");
    let kept = names(&["--keep-indices"]);
    assert!(has(&kept, "layers.2.weight") && !has(&kept, "layers.1.weight"), "{kept:?}");
    let renamed = names(&["--rename", "^layers=body", "--rename", r"^body\.(\d)=head.$1.x"]);
    assert!(has(&renamed, "head.1.x.weight"), "{renamed:?}");

    let output =
        import(&directory.path().join("state.pt"), &out, &["--rename", "^layer\\.=body.", "--force"]);
    stdout(&output);
    assert!(stderr(&output).contains("--rename ^layer\\.=body. changes no name"), "{}", stderr(&output));

    let output = import(&directory.path().join("state.pt"), &out, &["--rename", "bias|weight=p", "--force"]);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.contains("would both be called") && error.contains(".bias"), "{error}");
}

#[test]
fn hyperparameters_come_from_the_command_line_or_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.safetensors");
    write_safetensors(&file, r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]);
    let out = directory.path().join("a.ckpt");
    let output = import(&file, &out, &[]);
    stdout(&output);
    let said = stderr(&output);
    assert!(said.contains("--hparams") && said.contains("--like"), "{said}");
    assert!(said.contains("PyTorch") && said.contains("--layout burn"), "{said}");
    assert_eq!(Checkpoint::open(&out).unwrap().hparams::<Value>().unwrap(), Value::Null);

    let given = directory.path().join("hparams.json");
    std::fs::write(&given, r#"{"a": 2}"#).unwrap();
    for (text, value) in [(r#"{"a": 1}"#.to_owned(), 1), (format!("@{}", given.display()), 2)] {
        let output = import(&file, &out, &["--force", "--layout", "burn", "--hparams", &text]);
        stdout(&output);
        assert_eq!(stderr(&output), "");
        assert_eq!(Checkpoint::open(&out).unwrap().hparams::<Value>().unwrap(), json!({ "a": value }));
    }
}

#[test]
fn tensors_that_do_not_fit_are_listed_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    saved_by_pytorch(directory.path());
    let linear = LinearConfig::new(4, 3).init(&backend::device());
    let like = save_as_model(directory.path(), "linear.ckpt", &json!(null), Section::from_module(&linear));
    let file = directory.path().join("other.safetensors");
    let header = r#"{"weight":{"dtype":"F32","shape":[4,3],"data_offsets":[0,48]},
        "scale":{"dtype":"F32","shape":[1],"data_offsets":[48,52]}}"#;
    write_safetensors(&file, header, &[0; 52]);
    let before = files(directory.path());
    let output = import(&file, &directory.path().join("o.ckpt"), &["--like", like.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    // As PyTorch has it: a linear layer from 4 to 3 is 3 rows of 4.
    for fact in ["missing: bias [3]", "weight is [4, 3] and should be [3, 4]", "unused: \"scale\" [1]"] {
        assert!(error.contains(fact), "{fact}: {error}");
    }
    assert_eq!(files(directory.path()), before);

    // A checkpoint that does not know its modules cannot say what is transposed.
    let blind = Section::new().with_tensors(Section::from_module(&linear).tensors);
    let blind = save_as_model(directory.path(), "blind.ckpt", &json!(null), blind);
    let output = import(&file, &directory.path().join("o.ckpt"), &["--like", blind.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("blind.ckpt"), "{}", stderr(&output));
}

#[test]
fn a_checkpoint_that_is_there_is_replaced_on_request_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.safetensors");
    write_safetensors(&file, r#"{"a":{"dtype":"U16","shape":[2],"data_offsets":[0,4]}}"#, &[1, 2, 3, 4]);
    let out = save_as_model(directory.path(), "a.ckpt", &json!(null), Section::from_module(&fresh()));
    let before = std::fs::read(&out).unwrap();
    let output = import(&file, &out, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--force"), "{}", stderr(&output));
    assert_eq!(std::fs::read(&out).unwrap(), before);
    stdout(&import(&file, &out, &["--force"]));
    let tensors = Checkpoint::open(&out).unwrap().section("model").unwrap().tensors;
    assert_eq!(tensors[0].to_bytes().unwrap()[..], [1, 2, 3, 4]);
    assert_eq!(files(directory.path()), ["a.ckpt", "a.ckpt.metadata.json", "a.safetensors"]);

    // Neither the file that is read nor the one that gives the outline.
    let output = import(&file, &file, &["--force"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is not the name of a checkpoint"), "{}", stderr(&output));
    let output = import(&file, &out, &["--force", "--like", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("while it is read"), "{}", stderr(&output));
}
