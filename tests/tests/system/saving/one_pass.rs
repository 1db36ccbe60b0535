//! A checkpoint is written once and read never: its digests are taken of the bytes on their way to the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Bytes, DType};
use burn_ckpt::burn_pack::{Reader, Scalar, Tensor, Writer};
use burn_ckpt::chain;
use burn_ckpt::plumbing::Limits;
use burn_ckpt::{Checkpoint, Contents, ErrorKind, Metadata, Section};
use jiff::Timestamp;
use system_tests::backend;
use system_tests::bytes_read::bytes_read;
use system_tests::programs::commands::sha256sum;
use system_tests::run_files::files;

/// What is a window and a bit, less than one, and nothing.
const LENGTHS: [usize; 5] = [3 * 1024 * 1024 + 7, 1, 255, 0, 4096];

fn bytes(length: usize) -> Bytes {
    Bytes::from_bytes_vec((0..length).map(|place| (place * 31 % 251) as u8).collect())
}

/// Tensors of [`LENGTHS`] in the order of their names.
fn section() -> Section {
    let tensor = |(index, length): (usize, &usize)| {
        Tensor::new(format!("t{index}"), DType::U8, vec![*length], Some(index as u64), bytes(*length))
    };
    Section::new()
        .with_tensors(LENGTHS.iter().enumerate().map(tensor).collect())
        .with_scalars([("decay".to_owned(), Scalar::Float(0.5))].into())
        .with_strings([("vocabulary".to_owned(), "a b".to_owned())].into())
}

fn contents(section: Section) -> Contents {
    Contents::new(&serde_json::json!({ "width": 3 })).unwrap().with_section("user.part", section)
}

#[test]
fn the_file_is_the_one_that_burnpacks_own_writer_makes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    contents(section()).save(&path, Metadata::new(Timestamp::now())).unwrap();

    let reader = Reader::from_file_exact(&path).unwrap();
    let (scalars, strings) = (reader.scalars().clone(), reader.metadata().clone());
    let mut tensors = reader.into_tensors().unwrap();
    // By name. In the file the metadata and the seal are behind the others.
    tensors.rotate_left(2);
    for (tensor, length) in tensors.iter().zip(LENGTHS) {
        assert_eq!(tensor.to_bytes().unwrap()[..], bytes(length)[..], "{}", tensor.name);
    }
    let mut writer = Writer::new(tensors);
    for (name, value) in scalars {
        writer = writer.with_scalar(&name, value);
    }
    for (name, value) in &strings {
        writer = writer.with_metadata(name, value);
    }
    assert!(std::fs::read(&path).unwrap() == writer.into_bytes().unwrap()[..], "other bytes");
}

#[test]
fn its_digests_are_those_of_the_finished_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    contents(section()).save(&path, Metadata::new(Timestamp::now())).unwrap();
    let metadata = Checkpoint::open(&path).unwrap().verify().unwrap();
    assert_eq!(metadata.checkpoint_checksum, format!("sha256:{}", sha256sum(&path).unwrap()));
    for (index, length) in LENGTHS.into_iter().enumerate() {
        let digest = burn_ckpt::plumbing::blake3_hex(&bytes(length));
        assert_eq!(metadata.tensors[&format!("user.part.t{index}")].blake3, digest);
    }
}

#[test]
fn nothing_but_its_header_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    let model: Linear = LinearConfig::new(2048, 2048).init(&backend::device());
    let contents = contents(Section::from_module(&model));
    let (size, read) = bytes_read(|| contents.save(&path, Metadata::new(Timestamp::now())).unwrap());
    assert!(size > 16_000_000);
    assert!(read < 10_000, "{read} bytes were read while {size} were written");
}

#[test]
fn a_disk_that_is_too_small_is_an_error_before_a_tensor_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    let asked = Arc::new(AtomicUsize::new(0));
    // 10 TB, 4000 times: more than any disk has.
    let length = 10_000_000_000_000;
    let tensors = (0..4000).map(|index| {
        let asked = Arc::clone(&asked);
        let read = move || {
            asked.fetch_add(1, Ordering::Relaxed);
            Ok(bytes(1))
        };
        Tensor::deferred(format!("t{index}"), DType::U8, vec![length], None, length, read)
    });
    let section = Section::new().with_tensors(tensors.collect());
    let limits = Limits { tensor_bytes: u64::MAX, file_bytes: u64::MAX, ..Limits::READER };
    let contents = contents(section).with_limits(limits);
    let error = contents.save(&path, Metadata::new(Timestamp::now())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error:?}");
    let text = chain(&error);
    assert!(text.contains("cannot reserve the space for") && text.contains(": it needs "), "{text}");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert_eq!(files(directory.path()), [""; 0], "and nothing is left");
}

#[test]
fn a_tensor_that_cannot_be_read_is_named_and_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    let mut section = section();
    let fails = || Err(burn_ckpt::burn_pack::Error::IoError("the device is gone".to_owned()));
    section.tensors.push(Tensor::deferred("t9".to_owned(), DType::U8, vec![7], None, 7, fails));
    let error = contents(section).save(&path, Metadata::new(Timestamp::now())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
    let text = chain(&error);
    assert!(text.ends_with("the tensor user.part.t9 cannot be read: the device is gone"), "{text}");
    assert_eq!(files(directory.path()), [""; 0]);
}

#[test]
fn a_tensor_that_gives_other_bytes_than_it_said_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    let mut section = section();
    let short = || Ok(bytes(6));
    section.tensors.push(Tensor::deferred("t9".to_owned(), DType::U8, vec![7], None, 7, short));
    let error = contents(section).save(&path, Metadata::new(Timestamp::now())).unwrap_err().to_string();
    assert!(error.contains("user.part.t9"), "{error}");
    assert_eq!(files(directory.path()), [""; 0]);
}
