//! The clock of a strategy counts the run's training time: a resume continues it, from the strategy's newest
//! save. It stands still while the process is suspended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::train::metric::LossMetric;
use burn_trainer::Trainer;
use burn_trainer::burn_ckpt::retention::{KeepRule, TopK};
use burn_trainer::strategy::{
    CheckpointOutput, OnException, RunProgress, SaveDecision, Strategy, StrategyConfig, TrainingEvent,
};
use parking_lot::Mutex;
use system_tests::config;
use system_tests::models::small::{Script, learner, loader};
use system_tests::programs::running::{Running, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{checkpoints, metadata};

/// How long a program is suspended. Nothing but time shows whether time is counted.
const SUSPENDED: Duration = Duration::from_secs(4);
/// How much of it may count: the clock notes this often that the process runs.
const EXACT: Duration = Duration::from_millis(250);

/// Saves at one step, and notes what it is told of the time.
struct AtStep {
    step: u64,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    /// The newest save, if the run was resumed.
    resumed: Option<Option<Duration>>,
    /// Training time at the first event.
    first: Option<Duration>,
}

impl Strategy for AtStep {
    fn name(&self) -> String {
        "at_step".to_owned()
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(TopK::All)
    }

    fn output(&self) -> CheckpointOutput {
        CheckpointOutput::new("at_step").with_filename("{step}")
    }

    fn resume(&mut self, newest: Option<Duration>) {
        self.told.lock().resumed = Some(newest);
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
        self.told.lock().first.get_or_insert(progress.training_time);
        match event {
            TrainingEvent::StepEnd if progress.step == self.step => {
                SaveDecision::Save { score: f64::NAN, reason: "its step".to_owned() }
            }
            _ => SaveDecision::Skip,
        }
    }
}

#[test]
fn a_strategy_is_told_when_its_newest_checkpoint_was_saved_in_the_training_time_that_a_resume_continues() {
    let root = tempfile::tempdir().unwrap();
    let run = |step, script: Script, ckpt_path: &str| {
        let told = Arc::new(Mutex::new(Told::default()));
        let config = config(root.path(), 1)
            .with_strategies([StrategyConfig::OnException(OnException::new())])
            .with_ckpt_path(ckpt_path);
        let strategy = AtStep { step, told: Arc::clone(&told) };
        let trainer = Trainer::new(config, &()).unwrap().strategy(strategy);
        let training =
            trainer.training(loader(&script), loader(&Script::default())).metrics((LossMetric::new(),));
        let ended = trainer.fit(training, learner(script)).map(|_| ());
        (ended, Arc::into_inner(told).unwrap().into_inner())
    };
    let fails = Script { panic_in_step: Some(6), ..Script::default() };
    let (ended, new) = run(3, fails, "none");
    ended.unwrap_err();
    assert_eq!(new.resumed, None, "a new run is not resumed");
    let seconds = |name: &str| {
        let path = checkpoints(root.path()).join(name);
        Duration::from_secs_f64(metadata(&path)["training_time_seconds"].as_f64().unwrap())
    };
    let failed = std::fs::read_dir(checkpoints(root.path()).join("on_exception")).unwrap();
    let failed = failed.map(|entry| entry.unwrap().path()).find(|path| path.extension().unwrap() == "ckpt");
    let failed = seconds(failed.unwrap().to_str().unwrap());
    assert!(seconds("at_step/3.ckpt") < failed);
    let (ended, resumed) = run(9, Script::default(), "auto");
    ended.unwrap();
    assert_eq!(resumed.resumed, Some(Some(seconds("at_step/3.ckpt"))), "not the time of the resume");
    assert!(resumed.first.unwrap() >= failed, "the time before the failure counts");
}

#[test]
fn time_in_which_the_process_is_suspended_is_not_training_time() {
    let root = tempfile::tempdir().unwrap();
    let gate = Gate::closed();
    let begun = Instant::now();
    let command = warmup(root.path(), "--run-id r1 --epochs 1");
    let mut running = Running::start(TestHooks::wait(Split::Train, 3, &gate).given_to(command));
    running.wait_for("its third batch", |_| gate.is_reached());
    running.stop();
    let stopped = Instant::now();
    std::thread::sleep(SUSPENDED);
    let suspended = stopped.elapsed();
    running.send("CONT");
    gate.open();
    running.end_well();
    let lived = begun.elapsed();
    let last = metadata(&checkpoints(root.path()).join("last.ckpt"));
    let trained = last["training_time_seconds"].as_f64().unwrap();
    assert!(trained > 0.0);
    assert!(
        trained <= (lived - suspended + EXACT).as_secs_f64(),
        "{trained} s of training in a process of {lived:?}, {suspended:?} of them suspended"
    );
    let speed: f64 = ["step_seconds", "data_seconds", "save_seconds", "validation_seconds"]
        .iter()
        .map(|part| last["speed"][part].as_f64().unwrap())
        .sum();
    assert!(speed <= (lived - suspended + EXACT).as_secs_f64(), "{}", last["speed"]);
}
