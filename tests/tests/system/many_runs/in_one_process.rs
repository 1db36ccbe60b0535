//! Several runs in one process: while more than one is open each line names its run. Each has a log of its
//! own, the second one too.

use std::path::Path;
use std::sync::{Arc, Barrier};

use burn_trainer::FitResult;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult};
use system_tests::config;
use system_tests::models::small::{Model, Script, train_by};
use system_tests::programs::test_alone::said_alone;

const ROOT: &str = "SYSTEM_TESTS_SEVERAL_RUNS";

/// Logs an event at the end of each epoch, and waits there for the other run.
struct Marks {
    run: &'static str,
    other: Option<Arc<Barrier>>,
}

impl Callback<Model> for Marks {
    fn name(&self) -> String {
        "marks".to_owned()
    }

    fn on_epoch_end(&mut self, _context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        log::info!("event of {}", self.run);
        log::warn!("warning of {}", self.run);
        if let Some(other) = &self.other {
            other.wait();
        }
        Ok(())
    }
}

fn train(root: &Path, run: &'static str, other: Option<Arc<Barrier>>) -> FitResult<Model> {
    let config = config(root, 2).with_run_id(run);
    let trained = train_by(config, Script::default(), |trainer| {
        if let Some(other) = &other {
            other.wait();
        }
        trainer.callback(Marks { run, other })
    });
    trained.unwrap()
}

#[test]
fn two_at_the_same_time_and_a_third_after_them() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let root: &Path = root.as_ref();
    let both = Arc::new(Barrier::new(2));
    let runs = std::thread::scope(|scope| {
        let started = ["a", "b"].map(|run| {
            let both = Arc::clone(&both);
            scope.spawn(move || (run, train(root, run, Some(both))))
        });
        started.map(|run| run.join().unwrap())
    });
    let last = ("c", train(root, "c", None));
    for (run, result) in runs.iter().chain([&last]) {
        let log = std::fs::read_to_string(result.run_dir.join("experiment.log")).unwrap();
        for other in ["a", "b", "c"] {
            let expected = if other == *run { 2 } else { 0 };
            for kind in ["event", "warning"] {
                assert_eq!(log.matches(&format!("{kind} of {other}\n")).count(), expected, "{run}: {log}");
            }
        }
        assert_eq!(log.matches("saved step").count() as u64, result.saves, "{run}: {log}");
    }
}

#[test]
fn each_has_its_own_log_and_names_itself_in_its_lines_while_there_are_others() {
    let root = tempfile::tempdir().unwrap();
    let said = said_alone(module_path!(), "two_at_the_same_time_and_a_third_after_them", ROOT, root.path());
    for run in ["a", "b"] {
        for line in [format!("{run}: starting {run}"), format!("{run}: epoch 1/2 train 80/80 items")] {
            assert_eq!(said.matches(&line).count(), 1, "{line}: {said}");
        }
    }
    let alone: Vec<&str> = said.lines().filter(|line| line.starts_with("epoch 1/2 train")).collect();
    assert_eq!(alone.len(), 1, "the third: {said}");
    assert!(said.contains("\nstarting c\n"), "{said}");
}
