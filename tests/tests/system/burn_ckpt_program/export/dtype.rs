//! `burn-ckpt export --dtype`: the numbers that PyTorch makes of the same tensors, and no number that becomes
//! infinite.

use std::path::Path;
use std::process::Output;

use burn::tensor::{Bytes, DType};
use burn_ckpt::{Section, burn_pack};
use serde_json::json;
use system_tests::hand_made_files::save_as_model;
use system_tests::models::pytorch_twin::Net;
use system_tests::programs::commands::{burn_ckpt_command, stderr, stdout};
use system_tests::programs::python::run_script;
use system_tests::run_files::files;

fn export(checkpoint: &Path, out: &Path, more: &[&str]) -> Output {
    let words = ["export", checkpoint.to_str().unwrap(), out.to_str().unwrap()];
    burn_ckpt_command().args([&words, more].concat()).output().unwrap()
}

fn tensor(name: &str, dtype: DType, bytes: Vec<u8>) -> burn_pack::Tensor {
    let shape = vec![bytes.len() / dtype.size()];
    burn_pack::Tensor::new(name.to_owned(), dtype, shape, None, Bytes::from_bytes_vec(bytes))
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn tensors_of_floats_are_cast_as_pytorch_does_and_the_others_stay() {
    let directory = tempfile::tempdir().unwrap();
    let mut section = Section::from_module(&Net::trained());
    // Halves between two numbers, the smallest ones, and what is not finite.
    let special = [
        1.0 + 1.0 / 256.0,
        1.0 + 3.0 / 256.0,
        1e-40,
        6e-8,
        3e-8,
        -0.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        2049.0,
    ];
    let doubles = [0.1f64, 1.0 + 1e-9, -3.5].iter().flat_map(|value| value.to_le_bytes()).collect();
    section.tensors.push(tensor("special", DType::F32, floats(&special)));
    section.tensors.push(tensor("double", DType::F64, doubles));
    section.tensors.push(tensor("half", DType::F16, vec![0, 0x3c, 1, 0]));
    section.tensors.push(tensor("whole", DType::I64, vec![1; 16]));
    section.tensors.push(tensor("byte", DType::U8, vec![200]));
    let checkpoint = save_as_model(directory.path(), "net.ckpt", &json!(null), section);
    let plain = directory.path().join("plain.safetensors");
    stdout(&export(&checkpoint, &plain, &["--layout", "pytorch"]));
    for (name, theirs) in [("bf16", "bfloat16"), ("f16", "float16"), ("f32", "float32"), ("f64", "float64")] {
        let out = directory.path().join(format!("{name}.safetensors"));
        stdout(&export(&checkpoint, &out, &["--layout", "pytorch", "--dtype", name]));
        let cast = run_script("cast.py", &[&plain, Path::new(theirs)]);
        assert_eq!(run_script("describe.py", &[&out])["tensors"], cast, "{name}");
        assert_eq!((&cast["special"]["dtype"], &cast["whole"]["dtype"]), (&json!(theirs), &json!("int64")));
    }
    let sizes = ["bf16", "plain"]
        .map(|name| std::fs::metadata(directory.path().join(format!("{name}.safetensors"))).unwrap().len());
    assert!(sizes[0] < sizes[1]);
}

#[test]
fn a_number_that_the_type_does_not_reach_is_an_error_that_names_the_tensor() {
    let directory = tempfile::tempdir().unwrap();
    let tensors =
        vec![tensor("fine", DType::F32, floats(&[1.0])), tensor("large", DType::F32, floats(&[1.0, 1e5]))];
    let section = Section::new().with_tensors(tensors);
    let checkpoint = save_as_model(directory.path(), "a.ckpt", &json!(null), section);
    let before = files(directory.path());
    let output = export(&checkpoint, &directory.path().join("out.safetensors"), &["--dtype", "f16"]);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.contains("large") && error.contains("infinite in f16"), "{error}");
    assert_eq!(files(directory.path()), before);
    stdout(&export(&checkpoint, &directory.path().join("out.safetensors"), &["--dtype", "bf16"]));
    let output = export(&checkpoint, &directory.path().join("o.safetensors"), &["--dtype", "i8"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}
