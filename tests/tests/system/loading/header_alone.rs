//! The hyperparameters of a checkpoint cost its header, whatever the file's size.

use std::fs::File;
use std::path::{Path, PathBuf};

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use burn_ckpt::{Contents, FromCheckpoint, Metadata, Section};
use ciborium::Value;
use jiff::Timestamp;
use system_tests::backend;
use system_tests::bytes_read::bytes_read;
use system_tests::models::inference_net::NetConfig;

/// A model of one matrix.
#[derive(Module, Debug)]
struct Matrix {
    weight: Param<Tensor<2>>,
}

impl FromCheckpoint for Matrix {
    type Hparams = NetConfig;

    fn from_hparams(hparams: &NetConfig, device: &Device) -> Self {
        Self { weight: Param::from_tensor(Tensor::zeros([hparams.width, hparams.width], device)) }
    }
}

/// A checkpoint of 1 MB.
fn small(directory: &Path) -> PathBuf {
    let path = directory.join("small.ckpt");
    let config = NetConfig::new(512);
    let matrix = Matrix::from_hparams(&config, &backend::device());
    let contents =
        Contents::new(&config).unwrap().with_section(Section::MODEL, Section::from_module(&matrix));
    contents.save(&path, Metadata::new(Timestamp::now())).unwrap();
    path
}

/// The same with a matrix of 4 GB, of which the file system keeps only the header.
fn large(small: &Path, directory: &Path) -> PathBuf {
    let bytes = std::fs::read(small).unwrap();
    let length = u32::from_le_bytes(bytes[6..10].try_into().unwrap()) as usize;
    let mut header: Value = ciborium::from_reader(&bytes[10..10 + length]).unwrap();
    // The two entries of the checkpoint's own have no bytes here: the hyperparameters do not need them.
    for own in ["burn-ckpt.metadata", "burn-ckpt.seal"] {
        let own = entry(entry(&mut header, "tensors"), own);
        *entry(own, "shape") = Value::Array(vec![0.into()]);
        *entry(own, "data_offsets") = Value::Array(vec![0.into(), 0.into()]);
    }
    let weight = entry(entry(&mut header, "tensors"), "model.weight");
    // The largest that needs as many digits in the header as those of the small one.
    let (rows, columns) = (32_767_u64, 32_768_u64);
    *entry(weight, "shape") = Value::Array(vec![rows.into(), columns.into()]);
    *entry(weight, "data_offsets") = Value::Array(vec![0.into(), (4 * rows * columns).into()]);
    let mut bytes = bytes[..10].to_vec();
    ciborium::into_writer(&header, &mut bytes).unwrap();
    // As long as before.
    assert!(bytes.len() <= 10 + length);
    let strings = entry(&mut header, "metadata").as_map_mut().unwrap();
    strings.push((Value::Text("padding".to_owned()), Value::Text(String::new())));
    bytes.truncate(10);
    ciborium::into_writer(&header, &mut bytes).unwrap();
    let missing = 10 + length - bytes.len();
    assert!(missing < 24, "one byte says how long the text is: {missing}");
    *entry(entry(&mut header, "metadata"), "padding") = Value::Text("x".repeat(missing));
    bytes.truncate(10);
    ciborium::into_writer(&header, &mut bytes).unwrap();
    assert_eq!(bytes.len(), 10 + length);
    let path = directory.join("large.ckpt");
    std::fs::write(&path, &bytes).unwrap();
    let data = (10 + length as u64).next_multiple_of(256);
    File::options().write(true).open(&path).unwrap().set_len(data + 4 * rows * columns).unwrap();
    path
}

fn entry<'a>(map: &'a mut Value, key: &str) -> &'a mut Value {
    let entries = map.as_map_mut().unwrap();
    &mut entries.iter_mut().find(|(name, _)| name.as_text() == Some(key)).unwrap().1
}

/// Bytes that reading the hyperparameters takes.
fn cost(path: &Path) -> u64 {
    let (hparams, cost) = bytes_read(|| Matrix::hparams_from_checkpoint(path).unwrap());
    assert_eq!(hparams.width, 512);
    cost
}

#[test]
fn hyperparameters_of_4_gb_cost_the_bytes_that_those_of_1_mb_cost() {
    let directory = tempfile::tempdir().unwrap();
    let small = small(directory.path());
    let large = large(&small, directory.path());
    assert!(std::fs::metadata(&small).unwrap().len() < 1_100_000);
    assert!(std::fs::metadata(&large).unwrap().len() > 4_200_000_000);
    assert_eq!(cost(&small), cost(&large));
    assert!((200..2_000).contains(&cost(&large)), "{} bytes", cost(&large));
}
