//! Runs that resume with other data, metrics or strategies, from an older checkpoint, or from another run's:
//! what happens is defined, and said.

use std::path::Path;

use burn_ckpt::retention::TopK;
use burn_ckpt::{Catalog, Metadata, RunLayout};
use burn_trainer::cli::TrainArgs;
use burn_trainer::config::ProgressMode;
use burn_trainer::strategy::{Last, OnException, StrategyConfig};
use burn_trainer::{Trainer, TrainerConfig};
use clap::Parser;
use serde_json::Value;
use system_tests::models::small::{Model, Poison, Script, config, train_by};
use system_tests::programs::running::{Ended, Running, warmup};
use system_tests::programs::stop_at_batch::stop_at_batch;
use system_tests::programs::test_hooks::Split;
use system_tests::run_files::{
    checkpoints, files, in_memory, last_metadata, last_tensor_byte, run_dir, stems,
};

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    train: TrainArgs,
}

const FLAGS: &str = "--run-id r1 --save-every-steps 10";

fn run(root: &Path, arguments: &str) -> Ended {
    Running::start(warmup(root, &format!("{FLAGS} {arguments}"))).end_well()
}

/// A run that is stopped in the middle of its first epoch.
fn stopped(root: &Path, arguments: &str) -> Ended {
    stopped_at(12, root, arguments)
}

fn stopped_at(batch: usize, root: &Path, arguments: &str) -> Ended {
    stop_at_batch(warmup(root, &format!("{FLAGS} {arguments}")), Split::Train, batch)
}

fn assert_says(ended: &Ended, line: &str) {
    assert!(ended.stderr.lines().any(|said| said.contains(line)), "{line:?} is not in {ended:?}");
}

#[test]
fn an_epoch_that_began_with_fewer_items_is_finished_with_those_to_the_bit() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, grown] = ["whole", "grown"].map(|name| directory.path().join(name));
    run(&whole, "--epochs 1");
    stopped(&grown, "--epochs 1");
    let more = "--ckpt-path auto --set train_items=520 --set changed_hparams=allow";
    let resumed = run(&grown, &format!("--epochs 1 {more}"));
    assert_says(
        &resumed,
        "the training data has 520 items, had 480: epoch 1 is finished with the first 480, later epochs have all",
    );
    assert_says(&resumed, "480/480 items");
    let (expected, found) = (last_metadata(&whole), last_metadata(&grown));
    assert_eq!(found.global_step, 30);
    assert_eq!(found.tensors, expected.tensors, "the digests of every tensor");
    let next = run(&grown, &format!("--epochs 2 {more}"));
    assert_says(&next, "520/520 items");
    assert_eq!(last_metadata(&grown).global_step, 30 + 33);
}

#[test]
fn a_second_stop_in_that_epoch_does_not_forget_what_it_began_with() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, grown] = ["whole", "grown"].map(|name| directory.path().join(name));
    run(&whole, "--epochs 1");
    stopped(&grown, "--epochs 1");
    let more = "--ckpt-path auto --set train_items=520 --set changed_hparams=allow";
    stopped(&grown, &format!("--epochs 1 {more}"));
    run(&grown, &format!("--epochs 1 {more}"));
    assert_eq!(last_metadata(&grown).tensors, last_metadata(&whole).tensors);
}

#[test]
fn a_part_of_an_epoch_is_a_part_of_the_items_that_it_began_with() {
    // What an epoch has of 30 batches, and of 33.
    for (part, batch, steps, next) in [
        ("limit_train_batches=0.5 --set validation.epoch_fraction=0.5", 12, 15, 17),
        // It validates on as many: 3 or 4 of 8.
        ("overfit_batches=0.1", 2, 3, 4),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let [whole, grown] = ["whole", "grown"].map(|name| directory.path().join(name));
        run(&whole, &format!("--epochs 1 --set {part}"));
        stopped_at(batch, &grown, &format!("--epochs 1 --set {part}"));
        let more = "--ckpt-path auto --set train_items=520 --set changed_hparams=allow";
        run(&grown, &format!("--epochs 1 --set {part} {more}"));
        let (expected, found) = (last_metadata(&whole), last_metadata(&grown));
        assert_eq!(found.global_step, steps, "{part}");
        assert_eq!(found.tensors, expected.tensors, "{part}");
        assert_eq!(found.metrics, expected.metrics, "{part}");
        run(&grown, &format!("--epochs 2 --set {part} {more}"));
        assert_eq!(last_metadata(&grown).global_step, steps + next, "{part}");
    }
}

#[test]
fn data_that_has_shrunk_within_an_epoch_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    stopped(root, "--epochs 1");
    let resumed = run(root, "--epochs 1 --ckpt-path auto --set train_items=440");
    assert_says(
        &resumed,
        "the training data has 440 items, had 480: in the rest of epoch 1 some items may come twice and others never",
    );
}

#[test]
fn a_metric_that_is_not_registered_any_more_is_named_and_has_no_old_value_in_later_metadata() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(root, "--epochs 1");
    let resumed = run(root, "--epochs 2 --ckpt-path auto --set accuracy=false");
    for name in ["train_accuracy", "val_accuracy"] {
        assert_says(&resumed, &format!("a value of the metric {name}, which this program does not register"));
    }
    let metrics = last_metadata(root).metrics;
    assert!(metrics.contains_key("val_loss") && !metrics.contains_key("val_accuracy"), "{metrics:?}");
}

#[test]
fn a_strategy_that_is_dropped_is_named_and_its_checkpoints_and_link_stay() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(root, "--epochs 1");
    let last = r#"--set strategies=[{"kind":"last","every_n_steps":10}]"#;
    let resumed =
        Running::start(warmup(root, &format!("--run-id r1 --epochs 2 --ckpt-path auto {last}"))).end_well();
    assert_says(
        &resumed,
        "the run has 1 checkpoint of the strategy best:val_loss, which this start does not have",
    );
    assert_eq!(stems(&checkpoints(root).join("best")), ["epoch=0-step=30"]);
    let link = Metadata::of_checkpoint(checkpoints(root).join("best_val_loss.ckpt")).unwrap();
    assert_eq!(link.global_step, 30);
    // With the strategy again, its list continues.
    run(root, "--epochs 3 --ckpt-path auto");
    assert!(run_dir(root).join("checkpoint/best_val_loss.ckpt").exists());
}

#[test]
fn a_resume_from_an_older_checkpoint_says_what_becomes_of_the_newer_ones_and_auto_continues_the_new_branch() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(root, "--epochs 3 --topk 3 --set last.topk=9");
    let older = checkpoints(root).join("last/epoch=0-step=20.ckpt");
    let branch = run(
        root,
        &format!(
            "--epochs 1 --topk 3 --set last.topk=9 --set learning_rate=0.5 --ckpt-path {}",
            older.display()
        ),
    );
    assert_says(&branch, "the run has newer checkpoints (up to step 90) than the one it resumes from");
    assert!(
        !files(&run_dir(root)).iter().any(|name| name.starts_with("train/epoch-3")),
        "metric files of later epochs"
    );
    let newest = { Catalog::scan(&RunLayout::at(run_dir(root))).unwrap().entries }.pop().unwrap();
    assert_eq!(
        (newest.metadata.global_step, newest.metadata.hparams["learning_rate"].as_f64()),
        (30, Some(0.5))
    );
    assert_eq!(last_metadata(root).global_step, 30, "the link leads to the new branch");
    let next = run(root, "--epochs 2 --topk 3 --set last.topk=9 --set learning_rate=0.5 --ckpt-path auto");
    assert_says(&next, "epoch 2 of 2");
    assert!(!next.stderr.contains("newer checkpoints"), "{next:?}");
}

#[test]
fn a_start_that_finds_nothing_to_train_does_not_say_that_anything_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(root, "--epochs 3 --set last.topk=9");
    let before = files(&run_dir(root));
    let older = checkpoints(root).join("last/epoch=1-step=60.ckpt");
    let more = format!("--set last.topk=9 --ckpt-path {}", older.display());
    for limit in ["--epochs 2", "--epochs 3 --set max_steps=60", "--epochs 3 --set max_time=0.001"] {
        let again = run(root, &format!("{limit} {more}"));
        assert!(again.stdout.contains("nothing to do: "), "{again:?}");
        assert!(!again.stderr.contains("newer checkpoints"), "{limit}: {again:?}");
        assert_eq!(files(&run_dir(root)), before, "{limit}");
    }
}

#[test]
fn a_new_run_from_a_checkpoint_that_is_at_its_limit_is_an_error_that_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(root, "--epochs 2");
    let from = checkpoints(root).join("last.ckpt");
    let tune = |limits: &str| {
        Running::start(warmup(root, &format!("--run-id ft {limits} --ckpt-path {}", from.display()))).end()
    };
    for (limits, setting, done) in [
        ("--epochs 2", "max_epochs", "2 epochs"),
        ("--epochs 3 --set max_steps=60", "max_steps", "60 steps"),
        ("--epochs 3 --set max_time=0.001", "max_time", "of training"),
    ] {
        let refused = tune(limits);
        assert_eq!(refused.code(), Some(2), "{refused:?}");
        let says = [setting, "the run r1 has ", &format!("{done} already"), "nothing would be trained"];
        assert!(says.iter().all(|part| refused.stderr.contains(part)), "{refused:?}");
        assert!(!root.join("burn_trainer_logs/ft").exists());
    }
    let tuned = tune("--epochs 3");
    assert_eq!(tuned.code(), Some(0), "{tuned:?}");
    assert_says(&tuned, "starting ft from ");
    let best = stems(&root.join("burn_trainer_logs/ft/checkpoint/best"));
    assert_eq!(best, ["epoch=2-step=90"], "its own list of best checkpoints");
}

/// The settings of a program, with those that `--resume` takes.
fn resumed_settings(root: &Path, mut config: TrainerConfig) -> TrainerConfig {
    let program = Program::parse_from(["program".as_ref(), "--resume".as_ref(), run_dir(root).as_os_str()]);
    program.train.apply(&mut config, &mut Value::Null).unwrap();
    assert_eq!(config.ckpt_path.as_deref(), Some("auto"));
    config
}

/// The notes in the settings that `--resume` takes.
fn notes_resumed(root: &Path) -> Option<String> {
    resumed_settings(root, TrainerConfig::new()).notes
}

#[test]
fn resume_leaves_the_rank_and_the_progress_of_the_start() {
    let root = in_memory();
    let of_rank_0 = config(root.path(), 1).with_rank(0).with_progress(ProgressMode::Plain);
    train_by(of_rank_0, Script::default(), |trainer| trainer).unwrap();
    let of_rank_1 = TrainerConfig::new().with_rank(1).with_progress(ProgressMode::Off);
    let resumed = resumed_settings(root.path(), of_rank_1);
    assert_eq!((resumed.rank, resumed.progress), (Some(1), ProgressMode::Off));
    assert!(!resumed.writes(), "only the process of rank 0 writes");
    assert_eq!(resumed_settings(root.path(), TrainerConfig::new()).rank, None);
}

#[test]
fn resume_takes_the_settings_of_the_checkpoint_that_auto_resumes() {
    let root = in_memory();
    let noted = |epochs: usize, notes: &str| {
        let config = config(root.path(), epochs).with_ckpt_path("auto").with_notes(notes);
        config.with_strategies([
            StrategyConfig::Last(Last::new().with_topk(TopK::All)),
            StrategyConfig::OnException(OnException::default()),
        ])
    };
    let whole = |trainer: Trainer<Model>| trainer;
    train_by(noted(1, "first"), Script::default(), whole).unwrap();
    // The newest state is not finite.
    let failing = Script { panic_in_step: Some(5), ..Script::default() };
    let poisoned = |trainer: Trainer<Model>| trainer.callback(Poison::new(&[(1, 2)], f32::NAN));
    train_by(noted(2, "second"), failing, poisoned).unwrap_err();
    assert_eq!(notes_resumed(root.path()).as_deref(), Some("first"));
    train_by(noted(3, "third"), Script::default(), whole).unwrap();
    assert_eq!(notes_resumed(root.path()).as_deref(), Some("third"));
    // The newer ones are damaged.
    let damage = |name: &str| {
        let path = checkpoints(root.path()).join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = last_tensor_byte(&bytes);
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    damage("last/epoch=2-step=30.ckpt");
    damage("last/epoch=1-step=20.ckpt");
    assert_eq!(notes_resumed(root.path()).as_deref(), Some("first"));
    // Where none is left, the error is that of `auto`, which says why of each.
    damage("last/epoch=0-step=10.ckpt");
    assert_eq!(notes_resumed(root.path()).as_deref(), Some("third"));
}
