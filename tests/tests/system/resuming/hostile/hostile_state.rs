//! What a checkpoint says of its run is not believed: a state or a history that cannot be is an error that
//! names the file, before anything is counted with it.

use std::path::{Path, PathBuf};

use burn_ckpt::{Checkpoint, Contents, Section};
use burn_trainer::Error;
use burn_trainer::burn_ckpt::burn_pack::Tensor;
use serde_json::{Value, json};
use system_tests::models::small::{BATCH, Script, learner, shuffling};
use system_tests::run_files::checkpoints;
use system_tests::{config, train};

/// A run of one epoch, and a copy of its checkpoint with another state and history, which is complete by its
/// digests.
pub(super) fn forged(root: &Path, state: &Value, history: Option<&str>) -> PathBuf {
    train(config(root, 1)).unwrap();
    let checkpoint = Checkpoint::open(checkpoints(root).join("last.ckpt")).unwrap();
    let mut contents = Contents::new(&checkpoint.hparams::<Value>().unwrap()).unwrap();
    contents.trainer_state = checkpoint.trainer_state().unwrap();
    for (key, value) in state.as_object().unwrap() {
        contents.trainer_state[key] = value.clone();
    }
    for name in checkpoint.sections() {
        let mut section = checkpoint.section(name).unwrap();
        if let (Some(json), "history") = (history, name.as_str()) {
            section = bytes("metrics", json);
        }
        contents = contents.with_section(name, section);
    }
    let path = root.join("forged.ckpt");
    contents.save(&path, checkpoint.metadata().unwrap()).unwrap();
    path
}

fn bytes(name: &str, text: &str) -> Section {
    let tensor = Tensor::new(
        name.to_owned(),
        burn::tensor::DType::U8,
        [text.len()],
        None,
        burn::tensor::Bytes::from_bytes_vec(text.as_bytes().to_vec()),
    );
    Section::new().with_tensors(vec![tensor])
}

pub(super) fn resumed(root: &Path, path: &Path, epochs: usize) -> burn_trainer::Result<u64> {
    let config = config(root, epochs).with_run_id("r2");
    let trainer = burn_trainer::Trainer::new(
        config.with_ckpt_path(path.to_str().unwrap()),
        &Script::default().hparams(),
    )?;
    let training = trainer.training(shuffling(BATCH), shuffling(BATCH));
    let training = training.metrics((burn::train::metric::LossMetric::new(),));
    Ok(trainer.fit(training, learner(Script::default()))?.global_step)
}

#[test]
fn counts_that_no_run_gets_to_are_an_error() {
    for state in [
        json!({ "epoch": u64::MAX }),
        json!({ "epoch": u64::MAX - 1 }),
        json!({ "epoch": 1_000_000_000_000_000_u64 }),
        json!({ "batches": u64::MAX, "trained": true, "epoch_complete": false }),
        json!({ "batches": u64::MAX }),
        json!({ "items": u64::MAX }),
        json!({ "global_step": u64::MAX }),
        json!({ "training_time_seconds": -1.0 }),
        json!({ "version": 99 }),
    ] {
        let root = tempfile::tempdir().unwrap();
        let path = forged(root.path(), &state, None);
        let error = resumed(root.path(), &path, 3).unwrap_err();
        assert!(matches!(error, Error::Unusable { .. }), "{state}: {error}");
        assert!(error.to_string().contains("forged.ckpt"), "{error}");
    }
}

#[test]
fn an_invalid_state_is_an_error() {
    for state in
        [json!({ "epoch": -1 }), json!({ "epoch": "x" }), json!({ "metrics": 3 }), json!({ "batches": 1.5 })]
    {
        let root = tempfile::tempdir().unwrap();
        let path = forged(root.path(), &state, None);
        let error = resumed(root.path(), &path, 3).unwrap_err().to_string();
        assert!(error.contains("forged.ckpt"), "{state}: {error}");
    }
}

#[test]
fn a_history_that_cannot_be_is_an_error_or_does_no_harm() {
    let middle =
        json!({ "epoch_complete": false, "trained": false, "batches": 3, "items": 24, "global_step": 3 });
    for history in [
        "",
        "{",
        "[]",
        r#"{"epochs":[],"entries":{"Loss":3}}"#,
        r#"{"epochs":[{},{},{}],"entries":{}}"#,
        r#"{"epochs":[],"entries":{"Loss":[[3,"0.5,8"],[2,"0.5,8"]]}}"#,
    ] {
        let root = tempfile::tempdir().unwrap();
        let path = forged(root.path(), &middle, Some(history));
        let error = resumed(root.path(), &path, 2).unwrap_err();
        assert!(matches!(error, Error::Unusable { .. }), "{history}: {error}");
        assert!(error.to_string().contains("forged.ckpt"), "{error}");
    }
    for history in [
        r#"{"epochs":[],"entries":{"Loss":[[1,"0.5,18446744073709551615"],[2,"0.5,18446744073709551615"]]}}"#,
        r#"{"epochs":[],"entries":{"Loss":[[1,"a,b,c"],[2,"x"],[3,""]]}}"#,
        r#"{"epochs":[],"entries":{"../../evil":[[1,"0.5,8"]],"Unknown":[[1,"NaN,8"]]}}"#,
    ] {
        let root = tempfile::tempdir().unwrap();
        let path = forged(root.path(), &middle, Some(history));
        match resumed(root.path(), &path, 2) {
            Ok(steps) => assert_eq!(steps, 20, "{history}"),
            Err(error) => assert!(matches!(error, Error::Unusable { .. }), "{history}: {error}"),
        }
    }
}
