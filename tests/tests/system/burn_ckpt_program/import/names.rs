//! `burn-ckpt import`: tied weights, prefixes of all names, and one number as `[]` or `[1]`.

use std::path::{Path, PathBuf};
use std::process::Output;

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use burn_ckpt::{Checkpoint, Section, TensorLayout};
use serde_json::json;
use system_tests::backend;
use system_tests::hand_made_files::{save_as_model, write_safetensors};
use system_tests::programs::commands::{burn_ckpt_command, stderr, stdout};
use system_tests::run_files::files;

/// A language model without layers: weights that programs of PyTorch tie, and a number.
#[derive(Module, Debug)]
struct Tied {
    wte: Embedding,
    head: Linear,
    scale: Param<Tensor<1>>,
}

impl Tied {
    fn new(device: &Device) -> Self {
        Self {
            wte: EmbeddingConfig::new(3, 2).init(device),
            head: LinearConfig::new(2, 3).with_bias(false).init(device),
            scale: Param::from_tensor(Tensor::from_floats([1.0], device)),
        }
    }
}

fn import(file: &Path, out: &Path, more: &[&str]) -> Output {
    let words = ["import", file.to_str().unwrap(), out.to_str().unwrap()];
    burn_ckpt_command().args([&words, more].concat()).output().unwrap()
}

/// A file with these tensors of f32, and 0, 1, 2, .. in all of them together.
fn write(directory: &Path, tensors: &[(&str, &[usize])]) -> PathBuf {
    let (mut header, mut count) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors {
        let end = count + shape.iter().product::<usize>();
        let info = json!({ "dtype": "F32", "shape": shape, "data_offsets": [4 * count, 4 * end] });
        header.insert((*name).to_owned(), info);
        count = end;
    }
    let data: Vec<u8> = (0..count).flat_map(|value| (value as f32).to_le_bytes()).collect();
    let path = directory.join("in.safetensors");
    write_safetensors(&path, &serde_json::Value::from(header).to_string(), &data);
    path
}

fn assert_tied(out: &Path) {
    let model = Checkpoint::open(out).unwrap().load_into(Tied::new(&backend::device())).unwrap();
    let values = |tensor: Tensor<2>| tensor.into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(values(model.wte.weight.val()), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(values(model.head.weight.val()), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    assert_eq!(model.scale.val().into_data().try_to_vec::<f32>().unwrap(), [6.0]);
}

fn like(directory: &Path) -> PathBuf {
    let section = Section::from_module(&Tied::new(&backend::device()));
    save_as_model(directory, "like.ckpt", &json!({}), section)
}

fn failed(output: &Output, facts: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{}", stderr(output));
    for fact in facts {
        assert!(stderr(output).contains(fact), "no {fact:?} in {}", stderr(output));
    }
}

#[test]
fn weights_that_are_tied_are_pointed_out_and_copied() {
    let directory = tempfile::tempdir().unwrap();
    let like = like(directory.path());
    let like = ["--like", like.to_str().unwrap()];
    let file = write(directory.path(), &[("wte.weight", &[3, 2]), ("scale", &[1])]);
    let out = directory.path().join("out.ckpt");
    let before = files(directory.path());
    failed(
        &import(&file, &out, &like),
        &["missing: head.weight [3, 2]; wte.weight has its shape", "--copy wte.weight=head.weight"],
    );
    assert_eq!(files(directory.path()), before);
    let copy = ["--copy", "wte.weight=head.weight"];
    stdout(&import(&file, &out, &[&like[..], &copy].concat()));
    assert_tied(&out);

    // Without the model at hand, loading says the same.
    stdout(&import(&file, &out, &["--force"]));
    let error = Checkpoint::open(&out).unwrap().load_into(Tied::new(&backend::device())).unwrap_err();
    assert!(error.to_string().contains("--copy wte.weight=head.weight"), "{error}");
    stdout(&import(&file, &out, &[&["--force"][..], &copy].concat()));
    assert_tied(&out);

    for (copy, fact) in [
        (
            "wpe.weight=head.weight",
            "no tensor \"wpe.weight\"; after --rename, and with contiguous layer numbers, there are",
        ),
        ("wte.weight=scale", "there is a tensor \"scale\" already"),
    ] {
        failed(&import(&file, &out, &["--force", "--copy", copy]), &[fact, copy]);
    }
    let output = import(&file, &out, &["--copy", "wte.weight"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn a_tensor_that_many_others_look_like_gets_no_hint() {
    let directory = tempfile::tempdir().unwrap();
    let layers: Vec<Linear> = (0..5).map(|_| LinearConfig::new(2, 2).init(&backend::device())).collect();
    let like = save_as_model(directory.path(), "like.ckpt", &json!(null), Section::from_module(&layers));
    let names: Vec<String> = (0..4).flat_map(|i| [format!("{i}.weight"), format!("{i}.bias")]).collect();
    let shapes: [&[usize]; 2] = [&[2, 2], &[2]];
    let tensors: Vec<_> =
        names.iter().zip(shapes.iter().cycle()).map(|(name, shape)| (name.as_str(), *shape)).collect();
    let file = write(directory.path(), &tensors);
    let output = import(&file, &directory.path().join("o.ckpt"), &["--like", like.to_str().unwrap()]);
    failed(&output, &["missing: 4.weight [2, 2]\n", "missing: 4.bias [2]\n"]);
}

#[test]
fn one_number_fits_with_and_without_a_dimension() {
    let directory = tempfile::tempdir().unwrap();
    let like_file = like(directory.path());
    let out = directory.path().join("out.ckpt");
    let copy = ["--force", "--copy", "wte.weight=head.weight"];
    for shape in [&[][..], &[1]] {
        let file = write(directory.path(), &[("wte.weight", &[3, 2]), ("scale", shape)]);
        stdout(&import(&file, &out, &copy));
        assert_tied(&out);
        stdout(&import(&file, &out, &[&copy[..], &["--like", like_file.to_str().unwrap()]].concat()));
        assert_tied(&out);
    }
    // The other way around: a checkpoint that has it without a dimension.
    let file = write(directory.path(), &[("wte.weight", &[3, 2]), ("scale", &[])]);
    let without = directory.path().join("without.ckpt");
    stdout(&import(&file, &without, &copy));
    let file = write(directory.path(), &[("wte.weight", &[3, 2]), ("scale", &[1])]);
    stdout(&import(&file, &out, &[&copy[..], &["--like", without.to_str().unwrap()]].concat()));
    let section = Checkpoint::open(&out).unwrap().section(Section::MODEL).unwrap();
    assert_eq!(section.layout().unwrap(), TensorLayout::PyTorch);
    assert!(section.tensors.iter().any(|tensor| tensor.name == "scale" && tensor.shape.is_empty()));
    assert_tied(&out);
    // Other shapes of one number are other shapes.
    let file = write(directory.path(), &[("wte.weight", &[3, 2]), ("scale", &[1, 1])]);
    let output = import(&file, &out, &[&copy[..], &["--like", like_file.to_str().unwrap()]].concat());
    failed(&output, &["scale is [1, 1] and should be [1]"]);
}

#[test]
fn a_prefix_of_all_names_is_pointed_out_with_the_flag_that_removes_it() {
    let directory = tempfile::tempdir().unwrap();
    let like = like(directory.path());
    let out = directory.path().join("out.ckpt");
    let flags = ["--like", like.to_str().unwrap()];
    for prefix in ["model.", "module.", "_orig_mod.", "_orig_mod.module.", "my-net."] {
        let names = ["wte.weight", "head.weight", "scale"].map(|name| format!("{prefix}{name}"));
        let file = write(directory.path(), &[(&names[0], &[3, 2]), (&names[1], &[3, 2]), (&names[2], &[])]);
        let output = import(&file, &out, &flags);
        failed(&output, &[&format!("all names in the file begin with {prefix}: --rename '")]);
        let error = stderr(&output);
        let flag =
            error.rsplit_once("--rename '").and_then(|(_, rest)| rest.split_once('\'')).unwrap().0.to_owned();
        stdout(&import(&file, &out, &[&flags[..], &["--force", "--rename", &flag]].concat()));
        // Without the model at hand it is a note, for what programs are known to put there.
        let output = import(&file, &out, &["--force"]);
        stdout(&output);
        let noted = stderr(&output).contains(&format!("all names begin with {prefix}"));
        assert_eq!(noted, prefix != "my-net.", "{}", stderr(&output));
        std::fs::remove_file(&out).unwrap();
        let file =
            write(directory.path(), &[("wte.weight", &[3, 2]), ("head.weight", &[3, 2]), ("scale", &[])]);
        let output = import(&file, &out, &[]);
        stdout(&output);
        assert!(!stderr(&output).contains("--rename"), "{}", stderr(&output));
        std::fs::remove_file(&out).unwrap();
    }
}

#[test]
fn another_kind_of_values_does_not_fit() {
    let directory = tempfile::tempdir().unwrap();
    let like_file = like(directory.path());
    let file = directory.path().join("in.safetensors");
    let header = json!({
        "wte.weight": { "dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24] },
        "scale": { "dtype": "I32", "shape": [1], "data_offsets": [24, 28] },
    });
    write_safetensors(&file, &header.to_string(), &[0; 28]);
    let more = ["--copy", "wte.weight=head.weight", "--like", like_file.to_str().unwrap()];
    let output = import(&file, &directory.path().join("out.ckpt"), &more);
    failed(&output, &["other kind of values: scale is "]);
}
