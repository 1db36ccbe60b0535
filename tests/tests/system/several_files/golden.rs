//! A checkpoint of several files that an earlier version wrote.

use std::path::PathBuf;
use std::process::Command;

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData};
use burn_ckpt::Checkpoint;
use serde_json::json;
use system_tests::backend;
use system_tests::programs::commands::workspace;

const WIDTH: usize = 32;

fn golden() -> PathBuf {
    workspace().join("tests/golden/v2-shards")
}

/// Values that each processor computes exactly.
fn values<const D: usize>(shape: [usize; D]) -> Param<Tensor<D>> {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|number| number as f32 / 8.0 - 1.0).collect();
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &backend::device()))
}

fn linear() -> Linear {
    Linear { weight: values([WIDTH, WIDTH]), bias: Some(values([WIDTH])) }
}

#[test]
fn it_is_as_it_was_written_and_loads() {
    let sums = Command::new("sha256sum").args(["--quiet", "-c", "SHA256SUMS"]).current_dir(golden()).status();
    assert!(sums.unwrap().success());
    let checkpoint = Checkpoint::open(golden().join("linear.ckpt")).unwrap();
    let metadata = checkpoint.verify().unwrap();
    assert_eq!((metadata.shards.len(), metadata.run_id.as_str(), metadata.global_step), (2, "golden", 7));
    assert_eq!(checkpoint.hparams::<serde_json::Value>().unwrap(), json!({ "width": WIDTH }));
    let empty = Linear { weight: Param::from_tensor(linear().weight.val().zeros_like()), ..linear() };
    let loaded = checkpoint.load_into(empty).unwrap();
    assert_eq!(loaded.weight.val().into_data(), linear().weight.val().into_data());
}
