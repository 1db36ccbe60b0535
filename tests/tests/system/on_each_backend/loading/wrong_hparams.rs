//! Hyperparameters and files that do not fit: errors that a newcomer understands.

use std::path::Path;

use burn::config::Config;
use burn::module::Module;
use burn_ckpt::chain;
use burn_ckpt::{Contents, Error, ErrorKind, FromCheckpoint, Metadata, Section};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use system_tests::backend;
use system_tests::models::inference_net::{Net, NetConfig, save};
use system_tests::run_files::{checkpoints, metadata_path, run_dir};
use system_tests::{config, train};

/// Loads the net of `path` with other hyperparameters than its own, which fails.
fn error_of<H>(path: &Path) -> String
where
    H: Serialize + for<'de> Deserialize<'de> + std::fmt::Debug,
{
    let error = burn_ckpt::Checkpoint::open(path).unwrap().hparams::<H>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidHparams, "{error:?}");
    let text = chain(&error);
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    text
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn a_type_that_differs_from_what_was_saved_is_an_error_that_names_the_field() {
    #[derive(Config, Debug)]
    struct WithoutDropout {
        width: usize,
    }
    #[derive(Config, Debug)]
    struct DropoutAsText {
        width: usize,
        dropout: String,
    }
    #[derive(Config, Debug)]
    struct WithMomentum {
        width: usize,
        dropout: f64,
        momentum: f64,
    }
    /// burn's defaults are those of `new`, not of reading.
    #[derive(Config, Debug)]
    struct WithDefaultMomentum {
        width: usize,
        dropout: f64,
        #[config(default = 0.1)]
        momentum: f64,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct WithSerdesDefault {
        width: u64,
        dropout: f64,
        #[serde(default)]
        momentum: f64,
    }
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig::new(8);
    let path = save(directory.path(), &Net::trained(&config), &config);

    assert_has(&error_of::<WithoutDropout>(&path), &["WithoutDropout", "field `dropout`", "lacks"]);
    let text = error_of::<DropoutAsText>(&path);
    assert_has(&text, &["DropoutAsText", "field `dropout`", "0.5", "expected a string"]);
    assert_has(&error_of::<WithMomentum>(&path), &["WithMomentum", "missing field `momentum`"]);
    assert_has(&error_of::<WithDefaultMomentum>(&path), &["missing field `momentum`"]);
    let checkpoint = burn_ckpt::Checkpoint::open(&path).unwrap();
    let hparams: WithSerdesDefault = checkpoint.hparams().unwrap();
    assert_eq!((hparams.width, hparams.dropout, hparams.momentum), (8, 0.5, 0.0));
    assert_eq!(checkpoint.hparams::<Value>().unwrap(), json!({ "width": 8, "dropout": 0.5 }));
}

#[test]
fn a_field_in_a_part_of_the_hyperparameters_is_named_with_its_way() {
    #[derive(Debug, Serialize, Deserialize)]
    #[allow(dead_code)]
    struct Nested {
        encoder: Vec<Encoder>,
    }
    #[derive(Debug, Serialize, Deserialize)]
    #[allow(dead_code)]
    struct Encoder {
        width: usize,
    }
    let directory = tempfile::tempdir().unwrap();
    let save = |hparams: Value| {
        let path = directory.path().join("nested.ckpt");
        Contents::new(&hparams).unwrap().save(&path, Metadata::new(Timestamp::now())).unwrap();
        path
    };
    let path = save(json!({ "encoder": [{ "width": 1 }, { "width": -1 }] }));
    assert_has(&error_of::<Nested>(&path), &["field `encoder[1].width`", "-1"]);
    let path = save(json!({ "encoder": [{ "width": 1, "depth": 2 }] }));
    assert_has(&error_of::<Nested>(&path), &["encoder.0.depth", "lacks"]);
    let path = save(Value::Null);
    assert_has(&error_of::<Nested>(&path), &["the checkpoint has none"]);
}

#[test]
fn a_changed_shape_is_an_error_that_names_the_tensors_and_both_shapes() {
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig::new(8);
    let path = save(directory.path(), &Net::trained(&config), &config);
    let error = Net::from_checkpoint_with(&path, &backend::device(), |mut hparams| {
        hparams.width = 16;
        hparams
    });
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
    let expected = [
        path.to_str().unwrap(),
        "hidden.weight is [4, 8] in the checkpoint and [4, 16] in the model",
        "norm.running_mean is [8] in the checkpoint and [16] in the model",
        "output.weight is [8, 1] in the checkpoint and [16, 1] in the model",
        "update_hparams",
    ];
    assert_has(&error.to_string(), &expected);
}

#[test]
fn a_file_that_is_not_a_checkpoint_is_an_error_that_says_what_it_is_and_what_to_name_instead() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let (run, directory) = (run_dir(root.path()), checkpoints(root.path()));
    let write = |name: &str, bytes: &[u8]| {
        let path = root.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let burnpack = root.path().join("model.bpk");
    Net::trained(&NetConfig::new(8)).save_file(&burnpack).unwrap();
    std::os::unix::fs::symlink("gone.ckpt", directory.join("lost.ckpt")).unwrap();
    let last = directory.join("last.ckpt");
    for (path, expected) in [
        (metadata_path(&last), &["it is a metadata file", "last.ckpt, which it describes"][..]),
        (run.clone(), &["it is a run's directory", "r1/best_val_loss", "r1/last"]),
        (directory.clone(), &["it is a run's directory", "checkpoint/last"]),
        (root.path().to_path_buf(), &["it is a directory"]),
        (burnpack, &["burnpack file", "load_file"]),
        (write("a.safetensors", b"\x02\0\0\0\0\0\0\0{}"), &["safetensors", "burn-ckpt import"]),
        (write("a.pt", b"PK\x03\x04..........."), &["ZIP", "PyTorch", "burn-ckpt import"]),
        (write("a.pth", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."), &["pickle", "burn-ckpt import"]),
        (run.join("best_val_los"), &["best_val_los", "best_val_loss, last are there"]),
        (run.join("lost"), &["lost"]),
        (directory.join("lost.ckpt"), &["points to a missing file"]),
        (root.path().join("nothing.ckpt"), &["cannot open", "nothing.ckpt"]),
    ] {
        let error = Net::from_checkpoint(&path, &backend::device()).unwrap_err().to_string();
        assert_has(&error, expected);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(error.contains(name), "no {name} in {error}");
        assert_eq!(Net::hparams_from_checkpoint(&path).unwrap_err().to_string(), error);
    }
}

#[test]
fn the_best_of_several_metrics_has_to_be_named() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let directory = checkpoints(root.path());
    let target = std::fs::read_link(directory.join("best_val_loss.ckpt")).unwrap();
    std::os::unix::fs::symlink(target, directory.join("best_val_score.ckpt")).unwrap();
    let error = Net::hparams_from_checkpoint(run_dir(root.path()).join("best")).unwrap_err().to_string();
    assert_has(&error, &["best_val_loss.ckpt", "best_val_score.ckpt"]);
}

#[test]
fn a_checkpoint_of_a_newer_format_is_an_error_with_both_versions() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("newer.ckpt");
    let section = Section::from_module(&Net::trained(&NetConfig::new(8)));
    let writer = burn_ckpt::burn_pack::Writer::new(section.tensors).auto_extension(false);
    writer.with_metadata("burn-ckpt.format", "3").write_to_file(&path).unwrap();
    let error = Net::from_checkpoint(&path, &backend::device()).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 3, supported: 2, .. }), "{error:?}");
    assert_has(&error.to_string(), &["format 3", "up to 2", "update burn-ckpt"]);
}

#[test]
fn a_checkpoint_without_weights_says_which_sections_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("empty.ckpt");
    let contents = Contents::new(&NetConfig::new(8)).unwrap().with_section("user.ema", Section::default());
    contents.save(&path, Metadata::new(Timestamp::now())).unwrap();
    let error = Net::from_checkpoint(&path, &backend::device()).unwrap_err().to_string();
    assert_has(&error, &[Section::MODEL, "it has: user.ema"]);
}
