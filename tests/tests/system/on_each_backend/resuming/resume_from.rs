//! Resuming from last, best, auto and a path, with everything that was kept before.

use burn_ckpt::{Checkpoint, ErrorKind};
use burn_trainer::burn_ckpt::retention::TopK;
use burn_trainer::strategy::{Best, Last, OnException, StrategyConfig};
use burn_trainer::{FitResult, TrainerConfig};
use system_tests::models::small::{Model, Script, ScriptedMetric};
use system_tests::run_files::{checkpoints, last_tensor_byte, metadata, stems, target};
use system_tests::{config, train, train_scored, train_scripted, train_with};

fn scored(root: &std::path::Path, epochs: usize, scores: &[f64]) -> burn_trainer::Result<FitResult<Model>> {
    let best = Best::new().with_topk(2).with_filename("{epoch}");
    let config = config(root, epochs)
        .with_primary_metric("val_score")
        .with_strategies([StrategyConfig::Best(best), StrategyConfig::Last(Last::default())])
        .with_ckpt_path("auto");
    train_scored(config, scores)
}

#[test]
fn auto_starts_fresh_and_then_resumes_with_the_best_list_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), 3, &[1.0, 3.0, 2.0]).unwrap();
    let directory = checkpoints(root.path());
    assert_eq!(stems(&directory.join("best")), ["0", "2"]);

    // Worse ones come: the earlier best ones stay, and the link with them.
    let result = scored(root.path(), 5, &[5.0, 1.5]).unwrap();
    assert_eq!((result.epochs, result.global_step), (5, 50));
    assert_eq!(stems(&directory.join("best")), ["0", "4"]);
    assert_eq!(target(&directory.join("best_val_score.ckpt")), std::path::Path::new("best/0.ckpt"));
    assert_eq!(stems(&directory.join("last")), ["epoch=4-step=50"]);
}

#[test]
fn a_finished_run_resumed_with_the_same_epochs_does_nothing() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let before = metadata(&checkpoints(root.path()).join("last.ckpt"));
    let result = train(config(root.path(), 2).with_ckpt_path("auto")).unwrap();
    assert_eq!((result.epochs, result.global_step, result.saves), (2, 20, 0));
    assert_eq!(metadata(&checkpoints(root.path()).join("last.ckpt")), before);
}

#[test]
fn a_run_in_two_parts_ends_with_the_tensors_of_one_in_one_part() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(config(whole.path(), 4)).unwrap();
    train(config(parts.path(), 2)).unwrap();
    train(config(parts.path(), 4).with_ckpt_path("last")).unwrap();
    let tensors = |root| metadata(&checkpoints(root).join("last.ckpt"))["tensors"].clone();
    assert_eq!(tensors(whole.path()), tensors(parts.path()));
}

#[test]
fn the_state_of_an_exception_is_resumed_in_the_middle_of_its_epoch() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(config(whole.path(), 2)).unwrap();
    let script = Script { panic_in_step: Some(17), ..Script::default() };
    let failed = train_scripted(config(parts.path(), 2), script);
    assert!(failed.is_err());
    let result = train(config(parts.path(), 2).with_ckpt_path("auto")).unwrap();
    assert_eq!(result.global_step, 20);
    let tensors = |root| metadata(&checkpoints(root).join("last.ckpt"))["tensors"].clone();
    assert_eq!(tensors(whole.path()), tensors(parts.path()));
}

#[test]
fn training_time_is_added_up() {
    let root = tempfile::tempdir().unwrap();
    let first = train(config(root.path(), 1)).unwrap().training_time_seconds;
    let second = train(config(root.path(), 2).with_ckpt_path("last")).unwrap().training_time_seconds;
    assert!(second > first, "{second} after {first}");
}

#[test]
fn a_path_from_another_run_can_be_resumed_from() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let path = checkpoints(root.path()).join("best_val_loss.ckpt");
    let other = config(root.path(), 2).with_run_id("r2");
    let result = train(other.with_ckpt_path(path.to_str().unwrap())).unwrap();
    assert_eq!(result.global_step, 20);
    assert_eq!(stems(&root.path().join("burn_trainer_logs/r2/checkpoint/last")), ["epoch=1-step=20"]);
}

#[test]
fn a_checkpoint_of_another_run_does_not_open_a_run_that_exists() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let r2 = |config: TrainerConfig| config.with_run_id("r2");
    train(r2(config(root.path(), 1))).unwrap();
    let path = checkpoints(root.path()).join("last.ckpt");
    let error =
        train(r2(config(root.path(), 2)).with_ckpt_path(path.to_str().unwrap())).map(|_| ()).unwrap_err();
    assert!(matches!(error, burn_trainer::Error::RunExists { .. }), "{error}");
    assert_eq!(stems(&root.path().join("burn_trainer_logs/r2/checkpoint/last")), ["epoch=0-step=10"]);
}

#[test]
fn what_cannot_be_resumed_is_an_error_that_says_why() {
    let root = tempfile::tempdir().unwrap();
    let error = |wanted: &str| match train(config(root.path(), 2).with_ckpt_path(wanted)) {
        Ok(_) => panic!("{wanted} was resumed"),
        Err(error) => error.to_string(),
    };
    assert!(error("last").contains("there is no link last.ckpt"));
    assert!(error("best").contains("best"));
    assert!(error("no/such/file.ckpt").contains("no/such/file.ckpt"));

    let result = train(config(root.path(), 1)).unwrap();
    let last = result.last().unwrap().path.clone();
    let metadata = format!("{}.metadata.json", last.display());
    assert!(error(&metadata).contains("not a checkpoint"), "{}", error(&metadata));
    assert!(error(root.path().to_str().unwrap()).contains("directory"));

    // A model of another shape: every tensor that differs is named, with both shapes.
    let wide = Script { hidden: 9, ..Script::default() };
    let resumed = train_scripted(config(root.path(), 2).with_ckpt_path("last"), wide);
    let text = resumed.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("input.weight is [4, 6] in the checkpoint and [4, 9] in the model"), "{text}");

    // One flipped byte.
    let mut bytes = std::fs::read(&last).unwrap();
    let place = last_tensor_byte(&bytes);
    bytes[place] ^= 1;
    std::fs::remove_file(&last).unwrap();
    std::fs::write(&last, bytes).unwrap();
    assert!(error("last").contains("damaged: its metadata says sha256:"), "{}", error("last"));
}

#[test]
fn weights_alone_cannot_be_resumed() {
    let root = tempfile::tempdir().unwrap();
    let last = Last::new().with_save_weights_only(true);
    train(config(root.path(), 1).with_strategies([StrategyConfig::Last(last)])).unwrap();
    let error = train(config(root.path(), 2).with_ckpt_path("last")).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("save_weights_only"), "{error}");
}

#[test]
fn auto_skips_what_is_not_whole() {
    let root = tempfile::tempdir().unwrap();
    let all = Last::new().with_topk(TopK::All);
    let strategies = |config: TrainerConfig| {
        config.with_strategies([
            StrategyConfig::Last(all.clone()),
            StrategyConfig::OnException(OnException::default()),
        ])
    };
    train(strategies(config(root.path(), 3))).unwrap();
    let last = |epoch: u64| {
        checkpoints(root.path()).join(format!("last/epoch={epoch}-step={}.ckpt", 10 * (epoch + 1)))
    };
    // The newest is cut short, the one before it lost its metadata.
    let file = std::fs::File::options().write(true).open(last(2)).unwrap();
    file.set_len(1000).unwrap();
    std::fs::remove_file(format!("{}.metadata.json", last(1).display())).unwrap();

    let result = train(strategies(config(root.path(), 4)).with_ckpt_path("auto")).unwrap();
    assert_eq!(result.global_step, 40, "resumed from epoch 0, with 10 steps an epoch");
    assert!(Checkpoint::open(result.last().unwrap().path.clone()).unwrap().verify().is_ok());
}

#[test]
fn metrics_from_before_are_known_until_newer_ones_come() {
    let root = tempfile::tempdir().unwrap();
    let metric = |scores: &[f64]| ScriptedMetric::new("Score", scores);
    let strategy = StrategyConfig::Last(Last::new().with_every_n_steps(5).with_topk(TopK::All));
    let config = config(root.path(), 1).with_primary_metric("val_score");
    let config = config.with_strategies([strategy]).with_ckpt_path("auto");
    let run = |epochs, scores: &[f64]| {
        let config = config.clone().with_max_epochs(epochs);
        train_with(config, Script::default(), |training| training.metric_valid_numeric(metric(scores)))
            .unwrap();
    };
    run(1, &[0.25]);
    run(2, &[0.5]);
    let score = |stem: &str| {
        metadata(&checkpoints(root.path()).join(format!("last/{stem}.ckpt")))["metrics"]["val_score"].clone()
    };
    // Known to callbacks, and not a metric of this state.
    let within = Checkpoint::open(checkpoints(root.path()).join("last/epoch=1-step=15.ckpt")).unwrap();
    assert_eq!(within.trainer_state::<serde_json::Value>().unwrap()["metrics"]["val_score"], 0.25);
    assert_eq!(score("epoch=1-step=15"), serde_json::Value::Null);
    assert_eq!(score("epoch=1-step=20"), 0.5);
}

#[test]
fn a_validation_that_failed_is_done_again_with_the_metrics_of_its_epoch() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(config(whole.path(), 2)).unwrap();
    let script = Script { panic_in_validation: Some(15), ..Script::default() };
    let failed = train_scripted(config(parts.path(), 2), script);
    assert!(failed.is_err());
    let result = train(config(parts.path(), 2).with_ckpt_path("auto")).unwrap();
    assert_eq!((result.epochs, result.global_step), (2, 20));
    let last = |root| metadata(&checkpoints(root).join("last.ckpt"));
    assert_eq!(last(whole.path())["metrics"], last(parts.path())["metrics"]);
    assert_eq!(last(whole.path())["tensors"], last(parts.path())["tensors"]);
}

#[test]
fn auto_starts_no_new_run_beside_checkpoints_that_it_cannot_use() {
    let root = tempfile::tempdir().unwrap();
    let weights = Last::new().with_save_weights_only(true);
    let config = config(root.path(), 1).with_strategies([StrategyConfig::Last(weights)]);
    train(config.clone()).unwrap();
    let auto = config.with_max_epochs(2).with_ckpt_path("auto");
    let error = train(auto.clone()).map(|_| ()).unwrap_err();
    let burn_trainer::Error::NothingToResume { skipped, .. } = &error else { panic!("{error}") };
    assert_eq!(skipped.iter().map(|skipped| skipped.kind).collect::<Vec<_>>(), [ErrorKind::Mismatch]);
    assert!(error.to_string().contains("save_weights_only"), "{error}");
    // Unless that is what is wanted.
    let result = train(auto.with_overwrite(true)).unwrap();
    assert_eq!(result.global_step, 20);
}

#[test]
fn a_damaged_best_one_is_no_longer_the_best() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), 3, &[3.0, 2.0, 1.0]).unwrap();
    let directory = checkpoints(root.path());
    let (best, last) = (directory.join("best/2.ckpt"), directory.join("last/epoch=2-step=30.ckpt"));
    for path in [&best, &last] {
        let mut bytes = std::fs::read(path).unwrap();
        let end = bytes.len() - 1;
        bytes[end] ^= 1;
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    // Resumed from epoch 1, and then from what came after it: a damaged checkpoint does not replace a whole
    // one.
    for (epochs, score) in [(3, 5.0), (4, 1.5), (5, 9.0)] {
        let result = scored(root.path(), epochs, &[score]).unwrap();
        assert_eq!(result.epochs, epochs as u64);
    }
    assert_eq!(target(&directory.join("best_val_score.ckpt")), std::path::Path::new("best/3.ckpt"));
    assert_eq!(stems(&directory.join("best")), ["1", "2", "3"]);
    assert!(best.exists(), "it is kept for a look at it");
}

#[test]
fn a_resumed_run_started_when_its_first_part_did() {
    let root = tempfile::tempdir().unwrap();
    let start = || metadata(&checkpoints(root.path()).join("last.ckpt"))["start_timestamp"].clone();
    train(config(root.path(), 1)).unwrap();
    let first = start();
    train(config(root.path(), 2).with_ckpt_path("last")).unwrap();
    assert_eq!(start(), first);
}

#[test]
fn weights_alone_stay_the_best_when_the_run_resumes_from_last() {
    let root = tempfile::tempdir().unwrap();
    let run = |epochs, scores: &[f64]| {
        let best = Best::new().with_save_weights_only(true).with_filename("{epoch}");
        let config = config(root.path(), epochs)
            .with_primary_metric("val_score")
            .with_strategies([StrategyConfig::Best(best), StrategyConfig::Last(Last::default())])
            .with_ckpt_path("auto");
        train_scored(config, scores).unwrap();
        let directory = checkpoints(root.path());
        (stems(&directory.join("best")), target(&directory.join("best_val_score.ckpt")))
    };
    let best = (vec!["1".to_owned()], std::path::PathBuf::from("best/1.ckpt"));
    assert_eq!(run(2, &[2.0, 1.0]), best);
    assert_eq!(run(4, &[5.0, 4.0]), best);
}
