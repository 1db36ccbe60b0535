//! The container: what is written comes back, and any other bytes are an error, never a panic.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn_ckpt::{Checkpoint, Contents, Error, ErrorKind, Metadata, Section};
use jiff::Timestamp;
use proptest::prelude::*;
use system_tests::backend;
use system_tests::programs::commands::workspace;
use system_tests::run_files::metadata_path;

fn linear() -> Linear {
    LinearConfig::new(4, 2).init(&backend::device())
}

fn save(directory: &Path) -> PathBuf {
    let path = directory.join("linear.ckpt");
    let contents = Contents::new(&serde_json::json!({ "inputs": 4 })).unwrap();
    let contents = contents.with_section("model", Section::from_module(&linear()));
    contents.save(&path, Metadata::new(Timestamp::now())).unwrap();
    path
}

/// A checkpoint and its metadata, for the many tests of a property that change a copy.
static SAVED: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let path = save(directory.path());
    (std::fs::read(&path).unwrap(), std::fs::read(metadata_path(&path)).unwrap())
});

/// Everything that a user may do with a checkpoint, on a file that may not be one.
fn use_all(path: &Path) -> Result<(), Error> {
    let checkpoint = Checkpoint::open(path)?;
    checkpoint.hparams::<serde_json::Value>()?;
    checkpoint.trainer_state::<serde_json::Value>()?;
    checkpoint.load_into(linear())?;
    checkpoint.verify()?;
    Ok(())
}

/// Where the header of a container ends, which names the tensors; their bytes follow.
fn end_of_header(container: &[u8]) -> usize {
    10 + u32::from_le_bytes(container[6..10].try_into().unwrap()) as usize
}

/// Whether an error says what a damaged header makes of a checkpoint. Its names and versions may have become
/// others.
fn is_of_a_damaged_header(error: &Error) -> bool {
    matches!(
        error,
        Error::NotACheckpoint { .. }
            | Error::NewerFormat { .. }
            | Error::Checksum { .. }
            | Error::MissingSection { .. }
            | Error::Mismatch { .. }
            | Error::Hparams { .. }
            | Error::TrainerState { .. }
            | Error::Damaged { .. }
    )
}

/// Whether the message names the file.
fn names(error: &Error, path: &Path) -> bool {
    error.to_string().contains(path.to_str().unwrap())
}

#[test]
fn what_is_saved_comes_back_bit_for_bit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    let model = linear();
    let extra = Section::new()
        .with_strings([("vocabulary".to_owned(), "a b c".to_owned())].into())
        .with_scalars([("decay".to_owned(), burn_ckpt::burn_pack::Scalar::Float(0.999))].into());
    let contents = Contents::new(&LinearConfig::new(4, 2)).unwrap();
    let contents =
        contents.with_section("model", Section::from_module(&model)).with_section("user.ema", extra);
    let size = contents.save(&path, Metadata::new(Timestamp::now())).unwrap();
    assert_eq!(size, std::fs::metadata(&path).unwrap().len());

    let checkpoint = Checkpoint::open(&path).unwrap();
    let metadata = checkpoint.verify().unwrap();
    assert_eq!(checkpoint.sections(), ["model", "user.ema"]);
    let config: LinearConfig = checkpoint.hparams().unwrap();
    let loaded = checkpoint.load_into(config.init(&backend::device())).unwrap();
    assert_eq!(loaded.weight.val().into_data(), model.weight.val().into_data());
    assert_eq!(loaded.weight.id, model.weight.id, "an optimizer finds its state by it");
    let extra = checkpoint.section("user.ema").unwrap();
    assert_eq!(extra.strings["vocabulary"], "a b c");
    let weight = model.weight.val().into_data();
    let digest = burn_ckpt::plumbing::blake3_hex(weight.bytes());
    assert_eq!(metadata.tensors["model.weight"].blake3, digest);
    assert_eq!(metadata.tensors["model.weight"].shape, [4, 2]);
}

#[test]
fn a_section_that_is_not_there_is_an_error_that_lists_those_that_are() {
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(save(directory.path())).unwrap();
    let error = checkpoint.section("optimizer").unwrap_err().to_string();
    assert!(error.contains("optimizer") && error.contains("it has: model"), "{error}");
}

#[test]
fn sections_have_the_names_that_the_format_knows() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["", "models", "user", "user.", "user.a.b", "ema"] {
        let contents = Contents::new(&()).unwrap().with_section(name, Section::default());
        let saved = contents.save(directory.path().join("a.ckpt"), Metadata::new(Timestamp::now()));
        assert!(matches!(saved, Err(Error::Name { .. })), "{name:?}: {saved:?}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_checkpoint_without_metadata_does_not_pass_a_verification() {
    let directory = tempfile::tempdir().unwrap();
    // Of version 1: later ones have it themselves.
    let path = directory.path().join("digits.ckpt");
    std::fs::copy(workspace().join("tests/golden/v1/imported/digits.ckpt"), &path).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert!(matches!(checkpoint.verify(), Err(Error::Io { .. })));
}

#[test]
fn a_newer_format_is_an_error_with_both_versions() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("newer.ckpt");
    let writer = burn_ckpt::burn_pack::Writer::new(Vec::new()).auto_extension(false);
    writer.with_metadata("burn-ckpt.format", "7").write_to_file(&path).unwrap();
    match Checkpoint::open(&path) {
        Err(Error::NewerFormat { found: 7, supported: 2, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn other_files_are_not_checkpoints() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let burnpack = directory.path().join("model.bpk");
    linear().save_file(&burnpack).unwrap();
    for path in [
        write("empty", b""),
        write("text", b"hello, this is a text and no checkpoint"),
        write("safetensors", b"\x10\0\0\0\0\0\0\0{\"__metadata__\":{}}"),
        burnpack,
        directory.path().to_path_buf(),
    ] {
        match Checkpoint::open(&path) {
            Err(error @ Error::NotACheckpoint { .. }) => {
                assert!(error.to_string().contains(path.to_str().unwrap()))
            }
            other => panic!("{}: {other:?}", path.display()),
        }
    }
    // A header that claims 4 GB of metadata in a file of 10 bytes.
    let greedy = [b"NRUB".as_slice(), &1u16.to_le_bytes(), &u32::MAX.to_le_bytes()].concat();
    let error = Checkpoint::open(write("greedy", &greedy)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error:?}");
    // What a newer burn may write.
    let newer = [b"NRUB".as_slice(), &2u16.to_le_bytes(), &0u32.to_le_bytes()].concat();
    let error = Checkpoint::open(write("newer", &newer)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NewerFormat, "{error:?}");
    assert!(error.to_string().contains("burnpack format 2"), "{error}");
    let error = Checkpoint::open(directory.path().join("gone")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    // Opening a pipe without a writer would wait forever.
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(matches!(Checkpoint::open(&pipe), Err(Error::NotACheckpoint { .. })));
}

#[test]
fn every_truncation_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = save(directory.path());
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = use_all(&path).unwrap_err();
        let shown = format!("{length} of {} bytes: {error}", whole.len());
        let is_right = matches!(error, Error::NotACheckpoint { .. } | Error::Damaged { .. });
        assert!(is_right && names(&error, &path), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_flipped_bit_is_an_error(place in any::<prop::sample::Index>(), bit in 0u8..8) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("linear.ckpt");
        let (mut bytes, metadata) = SAVED.clone();
        std::fs::write(metadata_path(&path), metadata).unwrap();
        let place = place.index(bytes.len());
        let header = end_of_header(&bytes);
        bytes[place] ^= 1 << bit;
        std::fs::write(&path, bytes).unwrap();
        let error = use_all(&path).unwrap_err();
        let is_right = if place < header { is_of_a_damaged_header(&error) } else { matches!(error, Error::Checksum { .. } | Error::Damaged { .. }) };
        prop_assert!(is_right && names(&error, &path), "bit {} of byte {}: {:?}", bit, place, error);
    }

    #[test]
    fn random_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2000), with_magic in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("random.ckpt");
        let bytes = if with_magic { [b"NRUB\x01\0".to_vec(), bytes].concat() } else { bytes };
        std::fs::write(&path, bytes).unwrap();
        let error = use_all(&path).unwrap_err();
        let is_right = matches!(error, Error::NotACheckpoint { .. } | Error::Damaged { .. });
        prop_assert!(is_right && names(&error, &path), "{:?}", error);
    }
}

#[test]
fn a_flipped_bit_in_a_version_is_damage_and_not_a_newer_version() {
    let directory = tempfile::tempdir().unwrap();
    let path = save(directory.path());
    let whole = std::fs::read(&path).unwrap();
    let key = b"burn-ckpt.format";
    let format = whole.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 1;
    assert_eq!(whole[format], b'2');
    // The text of the checkpoint's version, and the number of burnpack's.
    for place in [format, 4, 5] {
        let mut bytes = whole.clone();
        bytes[place] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        let error = Checkpoint::open(&path).unwrap_err();
        assert!(matches!(error, Error::Checksum { .. }), "{place}: {error:?}");
    }
}
