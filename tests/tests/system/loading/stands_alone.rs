//! A checkpoint of version 2 stands on its own: one file is enough to verify it, and each of its bytes is
//! covered.

use std::path::{Path, PathBuf};

use burn::nn::{Linear, LinearConfig};
use burn_ckpt::burn_pack::{Scalar, TENSOR_ALIGNMENT};
use burn_ckpt::plumbing::Limits;
use burn_ckpt::{Catalog, Checkpoint, Contents, Error, ErrorKind, Metadata, Section};
use jiff::Timestamp;
use serde_json::{Value, json};
use system_tests::backend;
use system_tests::run_files::{files, metadata_path};

/// Length of the entry behind the metadata: 8 bytes, a length, a digest.
const SEAL: usize = 48;

fn linear() -> Linear {
    LinearConfig::new(4, 2).init(&backend::device())
}

fn contents(model: &Linear) -> Contents {
    let decay = Section::new().with_scalars([("decay".to_owned(), Scalar::Float(0.5))].into());
    Contents::new(&json!({ "inputs": 4 }))
        .unwrap()
        .with_trainer_state(json!({ "epoch": 3 }))
        .with_section("model", Section::from_module(model))
        .with_section("user.ema", decay)
}

fn described() -> Metadata {
    Metadata::new(Timestamp::now()).with_run_id("a").with_metrics([("loss", f64::NAN)]).with_reason("best")
}

/// A checkpoint without the file beside it, and the text of that file.
fn lone(directory: &Path) -> (PathBuf, String) {
    let path = directory.join("linear.ckpt");
    contents(&linear()).save(&path, described()).unwrap();
    let beside = std::fs::read_to_string(metadata_path(&path)).unwrap();
    std::fs::remove_file(metadata_path(&path)).unwrap();
    (path, beside)
}

fn verified(path: &Path) -> Result<Metadata, Error> {
    Checkpoint::open(path)?.verify()
}

#[test]
fn one_file_loads_verified_and_says_all_that_the_file_beside_it_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("linear.ckpt");
    let model = linear();
    contents(&model).save(&path, described()).unwrap();
    let beside = std::fs::read_to_string(metadata_path(&path)).unwrap();
    std::fs::remove_file(metadata_path(&path)).unwrap();

    let checkpoint = Checkpoint::open(&path).unwrap();
    let loaded = checkpoint.load_into(linear()).unwrap();
    assert_eq!(loaded.weight.val().into_data(), model.weight.val().into_data());
    // With the SHA-256 that a verification computes, byte for byte.
    assert_eq!(checkpoint.verify().unwrap().to_json().unwrap(), beside);
    assert_eq!(checkpoint.metadata().unwrap().checkpoint_checksum, "");
    let catalog = Catalog::scan_directory(directory.path()).unwrap();
    assert_eq!(catalog.entries.len(), 1, "{:?}", catalog.broken);
    assert_eq!(catalog.entries[0].metadata.run_id, "a");
}

#[test]
fn any_flipped_bit_is_found_from_the_file_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = lone(directory.path());
    let whole = std::fs::read(&path).unwrap();
    verified(&path).unwrap();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        std::fs::write(&path, &bytes).unwrap();
        match verified(&path) {
            Ok(_) => panic!("byte {place} of {} is not covered", whole.len()),
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    ErrorKind::Damaged | ErrorKind::NotACheckpoint | ErrorKind::NewerFormat
                ),
                "{place}: {error:?}"
            ),
        }
    }
}

#[test]
fn a_file_that_is_cut_or_longer_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = lone(directory.path());
    let whole = std::fs::read(&path).unwrap();
    let lengths = (0..whole.len()).step_by(256).chain([whole.len() - 1]);
    for bytes in lengths.map(|length| whole[..length].to_vec()).chain([[&whole[..], &[0]].concat()]) {
        std::fs::write(&path, &bytes).unwrap();
        let error = verified(&path).unwrap_err();
        let kinds = [ErrorKind::Damaged, ErrorKind::NotACheckpoint];
        assert!(kinds.contains(&error.kind()), "{} bytes: {error:?}", bytes.len());
        let found = Catalog::scan_directory(directory.path()).unwrap();
        assert_eq!((found.entries.len(), found.broken.len()), (0, 1), "{} bytes", bytes.len());
    }
}

/// The length of the metadata entry, with the spaces at its end.
fn metadata_length(whole: &[u8]) -> usize {
    let seal = whole.len() - SEAL;
    u64::from_le_bytes(whole[seal + 8..seal + 16].try_into().unwrap()) as usize
}

/// The same file with another metadata entry, whose digest is right.
fn with_ending(whole: &[u8], change: impl FnOnce(&mut Value) -> Vec<u8>) -> Vec<u8> {
    let (seal, length) = (whole.len() - SEAL, metadata_length(whole));
    let start = seal - length.next_multiple_of(TENSOR_ALIGNMENT as usize);
    let mut stored: Value = serde_json::from_slice(&whole[start..start + length]).unwrap();
    let mut entry = change(&mut stored);
    let mut sealed = b"BURNCKPT".to_vec();
    sealed.extend((entry.len() as u64).to_le_bytes());
    sealed.extend(
        burn_ckpt::plumbing::blake3_hex(&entry)
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()),
    );
    entry.resize(entry.len().next_multiple_of(TENSOR_ALIGNMENT as usize), 0);
    [&whole[..start], &entry, &sealed].concat()
}

/// The same file whose seal states another length of the metadata.
fn with_length(whole: &[u8], length: u64) -> Vec<u8> {
    let (mut bytes, seal) = (whole.to_vec(), whole.len() - SEAL);
    bytes[seal + 8..seal + 16].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// Whether the file is damaged with these bytes.
fn assert_damaged(path: &Path, what: &str, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    let error = verified(path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error:?}");
}

#[test]
fn metadata_in_the_file_that_lies_is_an_error_even_if_its_digest_is_right() {
    type Lie = fn(&mut Value);
    let lies: [(&str, Lie); 8] = [
        ("another length", |stored| stored["metadata"]["run_id"] = json!("abcd")),
        ("a block longer", |stored| stored["metadata"]["run_id"] = json!("x".repeat(999))),
        ("without metadata", |stored| _ = stored.as_object_mut().unwrap().remove("metadata")),
        ("other hyperparameters", |stored| stored["metadata"]["hparams"]["inputs"] = json!(5)),
        ("another shape", |stored| stored["metadata"]["tensors"]["model.weight"]["shape"] = json!([2, 4])),
        ("another digest", |stored| {
            stored["metadata"]["tensors"]["model.weight"]["blake3"] = json!("0".repeat(64));
        }),
        ("another header", |stored| stored["header_blake3"] = json!("0".repeat(64))),
        ("fewer tensors", |stored| {
            _ = stored["metadata"]["tensors"].as_object_mut().unwrap().remove("model.bias");
        }),
    ];
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = lone(directory.path());
    let whole = std::fs::read(&path).unwrap();
    let same = with_ending(&whole, |stored| {
        let mut entry = stored.to_string().into_bytes();
        entry.resize(metadata_length(&whole), b' ');
        entry
    });
    assert!(same == whole, "an unchanged ending is the same");
    for (what, lie) in lies {
        let lied = |stored: &mut Value| {
            lie(stored);
            stored.to_string().into_bytes()
        };
        assert_damaged(&path, what, &with_ending(&whole, lied));
    }
    assert_damaged(&path, "not JSON", &with_ending(&whole, |_| b"nonsense".to_vec()));
    assert_damaged(&path, "empty", &with_ending(&whole, |_| Vec::new()));
    assert_damaged(&path, "too long", &with_length(&whole, u64::MAX));
    assert_damaged(&path, "longer than the file", &with_length(&whole, 1_000_000));
}

#[test]
fn metadata_beside_that_is_anothers_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = lone(directory.path());
    let other = directory.path().join("other.ckpt");
    contents(&linear()).save(&other, described().with_run_id("b").with_global_step(9)).unwrap();
    std::fs::copy(metadata_path(&other), metadata_path(&path)).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    checkpoint.load_into(linear()).unwrap();
    let metadata = checkpoint.verify().unwrap();
    assert_eq!((metadata.run_id.as_str(), metadata.global_step), ("a", 0));
    assert_eq!(metadata.checkpoint_path, "linear.ckpt");
    let found = Metadata::of_checkpoint(&path).unwrap();
    assert_eq!((found.run_id.as_str(), found.checkpoint_checksum.as_str()), ("a", ""));
}

#[test]
fn what_no_reader_would_open_is_an_error_before_a_byte_is_written() {
    let reader = Limits::READER;
    let limits = [
        ("the tensor model.weight", "bytes", "save a smaller type", Limits { tensor_bytes: 31, ..reader }),
        ("the checkpoint", "tensors", "save_weights_only", Limits { state_tensors: 1, ..reader }),
        ("the section model", "tensors", "save_weights_only", Limits { section_tensors: 1, ..reader }),
        (
            "the header of a file with the tensor model.weight",
            "bytes",
            "shorten the hyperparameters",
            Limits { header_bytes: 100, ..reader },
        ),
        (
            "the checkpoint's metadata",
            "bytes",
            "shorten the hyperparameters",
            Limits { metadata_bytes: 100, ..reader },
        ),
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    for (expected, of, advice, limits) in limits {
        let error = contents(&linear()).with_limits(limits).save(&path, described()).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(&error, Error::TooLarge { what, unit, found, limit, .. } if what == expected && *unit == of && found > limit),
            "{error:?}"
        );
        assert!(text.contains("a reader accepts") && text.contains(advice), "{text}");
        assert_eq!(files(directory.path()), [""; 0]);
    }
    // The two of the model, and the two of the checkpoint's own.
    let enough = Limits { tensor_bytes: 800, tensors: 4, ..reader };
    contents(&linear()).with_limits(enough).save(&path, described()).unwrap();
    verified(&path).unwrap();
    assert_eq!(files(directory.path()), ["a.ckpt", "a.ckpt.metadata.json"]);
}
