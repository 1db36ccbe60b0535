//! Saved, opened, loaded and verified through `Contents` and `Checkpoint`, and judged by programs that are
//! not ours.

use std::path::{Path, PathBuf};

use burn::nn::{Linear, LinearConfig};
use burn_ckpt::burn_pack::{Bytes, DType, Reader, Scalar, Tensor};
use burn_ckpt::chain;
use burn_ckpt::plumbing::Limits;
use burn_ckpt::{Catalog, Checkpoint, Contents, Error, ErrorKind, FromCheckpoint, Metadata, Section};
use jiff::Timestamp;
use serde_json::json;
use system_tests::backend;
use system_tests::models::inference_net::{Net, NetConfig};
use system_tests::programs::commands::sha256sum;
use system_tests::run_files::{files, metadata_path};

/// 256 KiB of weights and 1 KiB of biases.
const WIDTH: usize = 256;
/// Too small for weights and biases together.
const MAX_FILE_BYTES: u64 = 263_000;

fn linear() -> Linear {
    LinearConfig::new(WIDTH, WIDTH).init(&backend::device())
}

fn contents(model: &Linear) -> Contents {
    let decay = Section::new().with_scalars([("decay".to_owned(), Scalar::Float(0.5))].into());
    Contents::new(&json!({ "inputs": WIDTH }))
        .unwrap()
        .with_trainer_state(json!({ "epoch": 3 }))
        .with_section("model", Section::from_module(model))
        .with_section("user.ema", decay)
}

fn described() -> Metadata {
    Metadata::new(Timestamp::now()).with_run_id("a").with_reason("best")
}

/// A checkpoint of three files.
fn saved(directory: &Path, model: &Linear) -> PathBuf {
    let path = directory.join("a.ckpt");
    contents(model).with_max_file_bytes(MAX_FILE_BYTES).save(&path, described()).unwrap();
    path
}

fn shards(directory: &Path) -> [PathBuf; 2] {
    [1, 2].map(|number| directory.join(format!("a.shards/state-0000{number}-of-00002.ckpt")))
}

#[test]
fn a_state_that_exceeds_a_file_is_saved_in_several_and_loads_verified() {
    let directory = tempfile::tempdir().unwrap();
    let model = linear();
    let path = saved(directory.path(), &model);
    assert_eq!(
        files(directory.path()),
        [
            "a.ckpt",
            "a.ckpt.metadata.json",
            "a.shards/state-00001-of-00002.ckpt",
            "a.shards/state-00002-of-00002.ckpt"
        ]
    );
    let checkpoint = Checkpoint::open(&path).unwrap();
    let loaded = checkpoint.load_into(linear()).unwrap();
    assert_eq!(loaded.weight.val().into_data(), model.weight.val().into_data());
    assert_eq!(loaded.bias.unwrap().val().into_data(), model.bias.unwrap().val().into_data());
    assert_eq!(checkpoint.section("user.ema").unwrap().scalars["decay"], Scalar::Float(0.5));
    let metadata = checkpoint.verify().unwrap();
    checkpoint.verify_checksum().unwrap();
    assert_eq!(metadata.tensors.keys().collect::<Vec<_>>(), ["model.weight", "model.bias"]);
    let sizes: u64 = files(directory.path())
        .iter()
        .filter(|name| name.ends_with(".ckpt"))
        .map(|name| std::fs::metadata(directory.path().join(name)).unwrap().len())
        .sum();
    assert_eq!(metadata.total_bytes(), sizes);
    // Each file is within the limit.
    assert!(metadata.shards.iter().all(|shard| shard.size_bytes <= MAX_FILE_BYTES));
    let catalog = Catalog::scan_directory(directory.path()).unwrap();
    assert_eq!((catalog.entries.len(), catalog.broken.len()), (1, 0));
    assert_eq!(catalog.entries[0].metadata, metadata);
}

#[test]
fn other_programs_agree_with_the_metadata_and_read_each_shard() {
    let directory = tempfile::tempdir().unwrap();
    let path = saved(directory.path(), &linear());
    let metadata = Metadata::read(metadata_path(&path)).unwrap();
    assert_eq!(format!("sha256:{}", sha256sum(&path).unwrap()), metadata.checkpoint_checksum);
    for ((shard, info), name) in
        shards(directory.path()).iter().zip(&metadata.shards).zip(["model.weight", "model.bias"])
    {
        assert_eq!(format!("sha256:{}", sha256sum(shard).unwrap()), info.checksum);
        assert_eq!(std::fs::metadata(shard).unwrap().len(), info.size_bytes);
        let tensors = Reader::from_file(shard).unwrap().into_tensors().unwrap();
        assert_eq!(tensors.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(), [name]);
    }
    // The index alone says all but the tensors' values.
    std::fs::remove_file(metadata_path(&path)).unwrap();
    assert_eq!(Checkpoint::open(&path).unwrap().verify().unwrap(), metadata);
}

#[test]
fn hyperparameters_are_read_from_the_index_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, config) = (directory.path().join("a.ckpt"), NetConfig::new(8));
    let net = Net::trained(&config);
    let contents = Contents::new(&config).unwrap().with_section("model", Section::from_module(&net));
    let contents = contents.with_limits(Limits { tensors: 4, ..Limits::READER });
    contents.save(&path, described()).unwrap();
    let loaded = Net::from_checkpoint(&path, &backend::device()).unwrap();
    assert!(loaded.equals(&net));
    std::fs::rename(directory.path().join("a.shards"), directory.path().join("elsewhere")).unwrap();
    assert_eq!(Net::hparams_from_checkpoint(&path).unwrap(), config);
    assert_eq!(Metadata::of_checkpoint(&path).unwrap().run_id, "a");
    assert!(matches!(Checkpoint::open(&path), Err(Error::Damaged { .. })));
}

#[test]
fn a_limit_that_one_tensor_or_the_index_exceeds_is_an_error_with_both_numbers_before_a_byte_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    for (limit, expected) in [(200_000, "a file with the tensor model.weight"), (500, "model.weight")] {
        let error = contents(&linear()).with_max_file_bytes(limit).save(&path, described()).unwrap_err();
        let Error::FileLimit { what, needed, limit: said } = &error else { panic!("{error:?}") };
        assert!(what.contains(expected) && *said == limit && *needed > 262_144, "{error}");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(files(directory.path()), [""; 0]);
        // What it names is enough.
        let (path, enough) = (directory.path().join("b.ckpt"), *needed);
        contents(&linear()).with_max_file_bytes(enough).save(&path, described()).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(metadata_path(&path)).unwrap();
        std::fs::remove_dir_all(path.with_extension("shards")).unwrap();
    }
    let small = Contents::new(&json!({ "text": "a".repeat(2000) })).unwrap();
    let section = Section::from_module::<Linear>(&LinearConfig::new(2, 2).init(&backend::device()));
    let small = small.with_section("model", section).with_max_file_bytes(1000);
    let error = small.save(&path, described()).unwrap_err();
    assert!(
        matches!(&error, Error::FileLimit { what, limit: 1000, .. } if what == "the index of the checkpoint"),
        "{error:?}"
    );
    let limits = Limits { tensors: 2, shards: 1, ..Limits::READER };
    let many = contents(&linear()).with_section("user.copy", Section::from_module(&linear()));
    let error = many.with_limits(limits).save(&path, described()).unwrap_err();
    assert!(matches!(&error, Error::FileLimit { .. }), "{error:?}");
    assert!(chain(&error).contains("max_file_bytes"), "{}", chain(&error));
    assert_eq!(files(directory.path()), [""; 0]);
}

#[test]
fn a_limit_that_several_parts_exceed_names_the_one_that_needs_most_and_what_is_enough_for_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(format!("{name}.ckpt"));
    let tensors = [("a", 3000), ("b", 9000), ("c", 6000)].map(|(name, bytes)| {
        Tensor::new(name.to_owned(), DType::U8, vec![bytes], None, Bytes::from_bytes_vec(vec![1; bytes]))
    });
    let notes = "n".repeat(20_000);
    for (hparams, expected) in [(json!({}), "tensor model.b"), (json!({ "notes": notes }), "index")] {
        let contents = || {
            let section = Section::new().with_tensors(tensors.to_vec());
            Contents::new(&hparams).unwrap().with_section("model", section)
        };
        let error = contents().with_max_file_bytes(1000).save(path(expected), described()).unwrap_err();
        let Error::FileLimit { what, needed, limit: 1000 } = &error else { panic!("{error:?}") };
        assert!(what.contains(expected), "{error}");
        contents().with_max_file_bytes(*needed).save(path(expected), described()).unwrap();
        // Nearly the least: the lengths of headers depend on the limit.
        let less = contents().with_max_file_bytes(*needed - 500).save(path("less"), described());
        assert!(matches!(less, Err(Error::FileLimit { .. })), "{needed}");
    }
}

#[test]
fn a_shard_is_not_a_checkpoint_and_names_the_index() {
    let directory = tempfile::tempdir().unwrap();
    let path = saved(directory.path(), &linear());
    let [first, _] = shards(directory.path());
    let error = Checkpoint::open(&first).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotACheckpoint);
    assert!(error.to_string().ends_with(&format!("name {}", path.display())), "{error}");
}

#[test]
fn a_missing_or_foreign_shard_is_an_error_that_names_it_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = saved(directory.path(), &linear());
    let [first, second] = shards(directory.path());
    let whole = std::fs::read(&second).unwrap();
    let failed = |change: &dyn Fn()| {
        change();
        let error = Checkpoint::open(&path).unwrap_err();
        std::fs::write(&second, &whole).unwrap();
        Checkpoint::open(&path).unwrap().verify().unwrap();
        error
    };
    for (change, expected) in [
        (&(|| std::fs::remove_file(&second).unwrap()) as &dyn Fn(), "is missing"),
        (&|| std::fs::write(&second, &whole[..whole.len() - 1]).unwrap(), "should have"),
        (&|| std::fs::write(&second, [&whole[..], b"a"].concat()).unwrap(), "should have"),
    ] {
        let error = failed(change);
        assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
        let text = chain(&error);
        assert!(text.contains("state-00002-of-00002.ckpt") && text.contains(expected), "{text}");
        assert!(text.contains("together with its directory a.shards"), "{text}");
    }
    // One of a later state, of the same size.
    let other = tempfile::tempdir().unwrap();
    saved(other.path(), &linear());
    let error = failed(&|| _ = std::fs::copy(&shards(other.path())[1], &second).unwrap());
    assert!(matches!(&error, Error::Checksum { path, .. } if *path == second), "{error:?}");
    // Exchanged with each other.
    let error = failed(&|| _ = std::fs::copy(&first, &second).unwrap());
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
}

#[test]
fn any_flipped_bit_of_a_small_shard_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    let model: Linear = LinearConfig::new(2, 2).init(&backend::device());
    let section = Section::from_module(&model);
    let limits = Limits { tensors: 2, ..Limits::READER };
    let contents = Contents::new(&()).unwrap().with_section("model", section).with_limits(limits);
    contents.save(&path, described()).unwrap();
    let shard = directory.path().join("a.shards/state-00001-of-00001.ckpt");
    let whole = std::fs::read(&shard).unwrap();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        std::fs::write(&shard, &bytes).unwrap();
        let error = Checkpoint::open(&path).and_then(|checkpoint| checkpoint.verify()).unwrap_err();
        let is_named = chain(&error).contains("state-00001-of-00001.ckpt");
        assert!(is_named, "byte {place} of {}: {}", whole.len(), chain(&error));
        assert!(
            matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotACheckpoint | ErrorKind::NewerFormat),
            "byte {place}: {error:?}"
        );
    }
}

#[test]
fn what_was_opened_stays_readable_when_it_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let model = linear();
    let path = saved(directory.path(), &model);
    let checkpoint = Checkpoint::open(&path).unwrap();
    burn_ckpt::plumbing::remove_checkpoint(&path).unwrap();
    assert_eq!(files(directory.path()), [""; 0]);
    assert!(!directory.path().join("a.shards").exists());
    checkpoint.verify().unwrap();
    let loaded = checkpoint.load_into(linear()).unwrap();
    assert_eq!(loaded.weight.val().into_data(), model.weight.val().into_data());
}

#[test]
fn one_file_replaces_several_and_several_replace_one_but_not_several() {
    let directory = tempfile::tempdir().unwrap();
    let (model, path) = (linear(), directory.path().join("a.ckpt"));
    let one_file = || contents(&model).save(&path, described()).unwrap();
    one_file();
    saved(directory.path(), &model);
    assert!(directory.path().join("a.shards").is_dir());
    Checkpoint::open(&path).unwrap().verify().unwrap();
    let before = files(directory.path());
    let again = contents(&model).with_max_file_bytes(MAX_FILE_BYTES).save(&path, described());
    let error = again.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(chain(&error).contains("choose another name"), "{}", chain(&error));
    assert_eq!(files(directory.path()), before);
    Checkpoint::open(&path).unwrap().verify().unwrap();
    one_file();
    assert!(!directory.path().join("a.shards").exists());
    Checkpoint::open(&path).unwrap().verify().unwrap();
}

/// The state of a mixture of experts with 60 layers and Adam: 46,080 tensors, and two for each.
#[test]
fn a_state_of_138240_tensors_is_saved_in_two_files_and_read() {
    let section = |names: &[&str], count: usize| {
        let mut tensors = Vec::new();
        for number in 0..count {
            for name in names {
                let bytes = Bytes::from_bytes_vec(vec![number as u8; 4]);
                let name = format!("layers.{}.experts.{}.{name}", number / 768, number % 768);
                tensors.push(Tensor::new(name, DType::F32, [1], Some(number as u64), bytes));
            }
        }
        Section::new().with_tensors(tensors)
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    let contents = Contents::new(&json!({}))
        .unwrap()
        .with_section("model", section(&["weight"], 46_080))
        .with_section("optimizer", section(&["weight.moment_1", "weight.moment_2"], 46_080));
    contents.save(&path, described()).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let metadata = checkpoint.metadata().unwrap();
    assert_eq!((metadata.shards.len(), metadata.tensors.len()), (2, 138_240));
    assert_eq!(Metadata::read(metadata_path(&path)).unwrap(), metadata);
    let optimizer = checkpoint.verified_section("optimizer").unwrap().tensors;
    assert_eq!(optimizer.len(), 92_160);
    for tensor in [&optimizer[0], &optimizer[92_159]] {
        assert_eq!(tensor.to_bytes().unwrap().len(), 4);
    }
}
