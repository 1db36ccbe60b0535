//! A save that fails does not stop training, is reported with its cause, and costs no older checkpoint.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_ckpt::{ErrorKind, chain};
use burn_trainer::config::FailedSaves;
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use burn_trainer::{Error, TrainerConfig};
use system_tests::models::small::{OnStep, Script};
use system_tests::programs::commands::{stderr, stdout, train_example};
use system_tests::run_files::{checkpoints, compare, complete_checkpoints, files, run_dir, stems};
use system_tests::{config, train, train_scripted};

/// Best goes where no user can write, not even root.
const NOWHERE: &str = "/proc/no-such-place";

fn blocked(root: &Path) -> TrainerConfig {
    config(root, 3).with_strategies([
        StrategyConfig::Best(Best::new().with_dirpath(NOWHERE)),
        StrategyConfig::Last(Last::default()),
    ])
}

#[test]
fn training_continues_and_the_result_says_what_failed() {
    let root = tempfile::tempdir().unwrap();
    let result = train(blocked(root.path())).unwrap();
    assert_eq!(result.epochs, 3);
    assert!(result.last_save_failed);
    assert_eq!(result.failed_saves.len(), 3, "tried again at every save");
    let (step, error) = &result.failed_saves[0];
    assert_eq!(*step, 10);
    assert!(error.to_string().contains(NOWHERE), "{error}");
    let last = "last/epoch=2-step=30.ckpt";
    let expected = [
        format!("last.ckpt -> {last}"),
        format!("last.ckpt.metadata.json -> {last}.metadata.json"),
        last.to_owned(),
        format!("{last}.metadata.json"),
    ];
    let left = files(&checkpoints(root.path()));
    assert_eq!(left, expected, "last is saved all the same; no staging file, no link to what is not there");
}

#[test]
fn a_save_that_failed_is_told_of_also_when_another_of_that_step_succeeds() {
    // Weights alone are a file of their own, and so a save of its own, which comes before the one that fails.
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path(), 1).with_strategies([
        StrategyConfig::Best(Best::new().with_dirpath(NOWHERE)),
        StrategyConfig::Last(Last::new().with_save_weights_only(true)),
    ]);
    let result = train(config).unwrap();
    assert_eq!((result.saves, result.failed_saves.len()), (1, 1));
    assert!(result.last_save_failed);
}

#[test]
fn training_stops_where_that_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let config = blocked(root.path()).with_failed_saves(FailedSaves::Stop);
    let error = train(config).map(|_| ()).unwrap_err();
    let Error::SaveFailed { source } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), ErrorKind::NotFound);
    let shown = chain(&error);
    assert!(shown.contains(NOWHERE) && !error.to_string().contains(NOWHERE), "{shown}");
}

#[test]
fn an_older_checkpoint_is_not_given_up_for_a_save_that_failed() {
    let root = tempfile::tempdir().unwrap();
    let directory = checkpoints(root.path());
    let (best, last) = (directory.join("best"), directory.join("last"));
    let link = directory.join("last.ckpt");
    let (saved, kept) = (best.clone(), root.path().join("kept"));
    // In epoch 1 (steps 11 to 20) the directory `best` is replaced by a file, with its contents put aside.
    let action = OnStep(Arc::new(move || {
        // The links are the last that a save makes.
        while !link.exists() {
            std::thread::yield_now();
        }
        std::fs::rename(&saved, &kept).unwrap();
        std::fs::write(&saved, "in the way").unwrap();
    }));
    let script = Script { at_step: Some((15, action)), ..Script::default() };
    let result = train_scripted(config(root.path(), 3), script);
    let result = result.unwrap();
    assert_eq!(result.failed_saves.len(), 2);
    assert_eq!(stems(&root.path().join("kept")), ["epoch=0-step=10"], "the best one that was whole");
    assert_eq!(stems(&last), ["epoch=2-step=30"], "last does not depend on best");
}

#[test]
fn a_failed_save_is_a_warning_while_training_continues_and_the_program_ends_with_status_1() {
    let root = tempfile::tempdir().unwrap();
    let nowhere = format!("strategies.0.dirpath={NOWHERE:?}");
    // So many epochs that the first save has failed before the last epoch ends, also on a busy machine: it
    // waits for the description of the machine.
    let output = train_example(root.path(), &["--run-id", "r1", "--epochs", "20", "--set", &nowhere]);
    assert_eq!(output.status.code(), Some(1), "the newest state is not where it should be");
    let said = stderr(&output);
    let (warning, end) = (said.find("warning: saving step 45 failed: "), said.find("epoch 20/20 valid"));
    assert!(warning.is_some() && warning < end, "{said}");

    let tolerant =
        ["--run-id", "r1", "--epochs", "21", "--ckpt-path", "auto", "--set", "failed_saves=\"ignore\""];
    stdout(&train_example(root.path(), &tolerant));
}

/// A disk that changes a byte of the checkpoints of one epoch after they were written, before they are opened
/// again.
struct ChangedByte {
    /// Where, from the start or, if it is negative, from the end.
    at: i64,
}

impl Observer for ChangedByte {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        if let Operation::Open(path, _) = operation
            && let name = path.to_string_lossy()
            && name.contains("/.epoch=1-step=20.ckpt.")
            && name.ends_with(".staging")
            && !name.contains(".metadata.json.")
        {
            let file = File::options().read(true).write(true).open(path).unwrap();
            let length = file.metadata().unwrap().len();
            let at = u64::try_from(self.at).unwrap_or_else(|_| length - self.at.unsigned_abs());
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        }
        Verdict::Proceed
    }
}

#[test]
fn a_checkpoint_that_cannot_be_read_back_is_a_failed_save_that_costs_no_older_one() {
    let whole = tempfile::tempdir().unwrap();
    train(config(whole.path(), 3)).unwrap();
    // The magic number, a name in the header, the metadata at the end, its digest.
    for at in [0, 40, -1_000, -1] {
        let root = tempfile::tempdir().unwrap();
        let observation = observe(root.path(), Arc::new(ChangedByte { at }));
        let result = train(config(root.path(), 2)).unwrap();
        drop(observation);
        assert!(result.last_save_failed, "{at}");
        let [(20, error)] = &result.failed_saves[..] else { panic!("{at}: {:?}", result.failed_saves) };
        let burn_ckpt::Error::ReadBack { path, .. } = error else { panic!("{at}: {error:?}") };
        assert_eq!(path.file_name().unwrap(), "epoch=1-step=20.ckpt", "{at}");
        assert!(matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotACheckpoint), "{at}: {error:?}");
        // Nothing of it is left, and what it would have replaced is there.
        let directory = checkpoints(root.path());
        for strategy in ["best", "last"] {
            assert_eq!(stems(&directory.join(strategy)), ["epoch=0-step=10"], "{at}");
        }
        assert_eq!(complete_checkpoints(&directory), Ok(2), "{at}");
        assert!(files(&directory).iter().all(|name| !name.contains("staging")), "{at}");
        // The next save works.
        train(config(root.path(), 3).with_ckpt_path("auto")).unwrap();
        compare(&run_dir(whole.path()), &run_dir(root.path()))
            .unwrap_or_else(|reason| panic!("{at}: {reason}"));
    }
}
