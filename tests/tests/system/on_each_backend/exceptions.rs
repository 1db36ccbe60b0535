//! Whatever stops training, the state of the last step done is saved with the reason, and the caller gets an
//! error.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::train::metric::LossMetric;
use burn_ckpt::{Checkpoint, chain};
use burn_trainer::burn_ckpt::retention::TopK;
use burn_trainer::config::WhenBusy;
use burn_trainer::strategy::{Last, OnException, Strategy, StrategyConfig};
use burn_trainer::{Error, RunOutcome, Trainer, TrainerConfig};
use parking_lot::Mutex;
use system_tests::backend;
use system_tests::models::small::{Model, OnStep, Script, ScriptedMetric, learner, loader, stopper};
use system_tests::run_files::{checkpoints, files, metadata, stems};
use system_tests::{config, train, train_scripted, train_with};

fn tensors(checkpoint: &Path) -> Vec<(String, Vec<u8>)> {
    let checkpoint = Checkpoint::open(checkpoint).unwrap();
    let mut all = Vec::new();
    for section in checkpoint.sections() {
        for tensor in checkpoint.section(section).unwrap().tensors {
            all.push((format!("{section}.{}", tensor.name), tensor.into_bytes().unwrap().to_vec()));
        }
    }
    all.sort();
    all
}

/// The state of a step, from a run to which nothing happened.
fn undisturbed(root: &Path, step: u64) -> Vec<(String, Vec<u8>)> {
    let last = Last::new().with_topk(TopK::All).with_every_n_steps(step).with_filename("{step}");
    train(config(root, 5).with_strategies([StrategyConfig::Last(last)])).unwrap();
    tensors(&checkpoints(root).join(format!("last/{step}.ckpt")))
}

fn only_exception(root: &Path) -> std::path::PathBuf {
    let directory = checkpoints(root).join("on_exception");
    let stems = stems(&directory);
    assert_eq!(stems.len(), 1, "{stems:?}");
    // 2024-01-15T10-30-00
    assert_eq!(stems[0].len(), 19, "{stems:?}");
    directory.join(format!("{}.ckpt", stems[0]))
}

#[test]
fn a_panic_in_step_37_leaves_the_state_of_step_36() {
    let root = tempfile::tempdir().unwrap();
    let script = Script { panic_in_step: Some(37), ..Script::default() };
    let error = train_scripted(config(root.path(), 5), script);
    let path = only_exception(root.path());
    match error {
        Err(Error::Panicked { message, saved }) => {
            assert_eq!(message, "the step 37 was told to panic");
            assert_eq!(saved.as_deref(), Some(path.as_path()));
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("training continued"),
    }
    let described = metadata(&path);
    assert_eq!(described["reason"], "exception: the step 37 was told to panic");
    assert_eq!(described["global_step"], 36);
    assert_eq!(described["epoch"], 3);
    assert!(!checkpoints(root.path()).parent().unwrap().join("run.lock").exists());

    // Bit for bit, although the forward pass of step 37 had updated the running statistics already.
    let other = tempfile::tempdir().unwrap();
    let expected = undisturbed(other.path(), 36);
    let found = tensors(&path);
    for ((name, expected), (found_name, found)) in expected.iter().zip(&found) {
        assert_eq!(name, found_name);
        assert!(expected == found, "{name} differs");
    }
    assert_eq!(expected.len(), found.len());
    assert!(found.iter().any(|(name, _)| name == "model.norm.running_mean"));
    assert!(found.iter().any(|(name, _)| name.starts_with("optimizer.")));
}

#[test]
fn a_panic_in_the_first_step_leaves_no_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let script = Script { panic_in_step: Some(1), ..Script::default() };
    let result = train_scripted(config(root.path(), 5), script);
    assert!(matches!(result, Err(Error::Panicked { saved: None, .. })));
    assert_eq!(files(&checkpoints(root.path())), [""; 0]);
}

#[test]
fn a_loader_error_leaves_the_state_before_it() {
    let root = tempfile::tempdir().unwrap();
    let script = Script { loader_fails_at: Some(15), ..Script::default() };
    let result = train_scripted(config(root.path(), 5), script);
    let error = result.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Training { saved: Some(_), .. }), "{error}");
    assert!(chain(&error).contains("the disk with the data is gone"), "{error:?}");
    let described = metadata(&only_exception(root.path()));
    assert_eq!(described["global_step"], 14);
    assert!(described["reason"].as_str().unwrap().contains("the disk with the data is gone"));
}

#[test]
fn a_metric_error_is_an_exception() {
    let root = tempfile::tempdir().unwrap();
    let metric = ScriptedMetric::new("Broken", &[]).failing();
    let config = config(root.path(), 5).with_primary_metric("val_loss");
    let result = train_with(config, Script::default(), |training| {
        training.metrics((LossMetric::new(),)).metric_train_numeric(metric)
    });
    let error = result.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Training { .. }), "{error}");
    let reason = metadata(&only_exception(root.path()))["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("exception: ") && reason.contains("Broken"), "{reason}");
}

fn stopped(root: &Path, fails: bool) -> burn_trainer::Result<burn_trainer::FitResult<Model>> {
    let trainer = Trainer::new(config(root, 5), &Script::default().hparams())?;
    let training = trainer.training(loader(&Script::default()), loader(&Script::default()));
    let at_step = Some((23, stopper(training.interrupter(), fails)));
    let learner = learner(Script { at_step, ..Script::default() });
    trainer.fit(training.metrics((LossMetric::new(),)), learner)
}

#[test]
fn an_interrupters_failure_is_an_exception() {
    let root = tempfile::tempdir().unwrap();
    let error = stopped(root.path(), true).map(|_| ()).unwrap_err();
    assert!(chain(&error).contains("the test called fail"), "{error:?}");
    assert_eq!(metadata(&only_exception(root.path()))["global_step"], 23);
}

#[test]
fn a_stop_is_not_an_exception_and_the_last_state_is_saved() {
    let root = tempfile::tempdir().unwrap();
    let result = stopped(root.path(), false).unwrap();
    let reason = "the test called stop".to_owned();
    assert_eq!(result.outcome, RunOutcome::Stopped { reason, signal: None });
    assert_eq!(result.global_step, 23);
    let directory = checkpoints(root.path());
    assert_eq!(stems(&directory.join("last")), ["epoch=2-step=23"]);
    assert!(!directory.join("on_exception").exists());
}

#[test]
fn the_program_ends_with_a_status_that_is_not_0() {
    // The one failure that the example can be brought to from outside: the run's directory is taken away.
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("burn_trainer_logs"), "in the way").unwrap();
    let output = system_tests::programs::commands::train_example(root.path(), &["--run-id", "r1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(system_tests::programs::commands::stderr(&output).contains("burn_trainer_logs"));
}

#[test]
fn an_exceptions_checkpoint_loads() {
    let root = tempfile::tempdir().unwrap();
    let script = Script { panic_in_step: Some(5), ..Script::default() };
    let result = train_scripted(config(root.path(), 5), script);
    assert!(result.is_err());
    let checkpoint = Checkpoint::open(only_exception(root.path())).unwrap();
    checkpoint.verify().unwrap();
    let fresh = Model::new(Script::default(), &backend::device());
    let loaded = checkpoint.load_into(fresh).unwrap();
    let record: ModuleRecord = loaded.into_record();
    assert_eq!(record.len(), checkpoint.section("model").unwrap().tensors.len());
}

/// Saves at one step of its own choice.
struct AtStep(u64);

impl Strategy for AtStep {
    fn name(&self) -> String {
        "at_step".to_owned()
    }

    fn keep(&self) -> burn_ckpt::retention::KeepRule {
        burn_ckpt::retention::KeepRule::Newest(TopK::All)
    }

    fn output(&self) -> burn_trainer::strategy::CheckpointOutput {
        burn_trainer::strategy::CheckpointOutput::new("chosen").with_filename("{step:05}").with_link("chosen")
    }

    fn decide(
        &mut self,
        event: &burn_trainer::strategy::TrainingEvent<'_>,
        progress: &burn_trainer::strategy::RunProgress<'_>,
    ) -> burn_trainer::strategy::SaveDecision {
        if *event == burn_trainer::strategy::TrainingEvent::StepEnd && progress.step == self.0 {
            burn_trainer::strategy::SaveDecision::Save { score: f64::NAN, reason: "chosen".to_owned() }
        } else {
            burn_trainer::strategy::SaveDecision::Skip
        }
    }
}

#[test]
fn a_strategy_of_ones_own_works_beside_the_others() {
    let root = tempfile::tempdir().unwrap();
    let trainer =
        Trainer::new(config(root.path(), 1), &Script::default().hparams()).unwrap().strategy(AtStep(3));
    let training = trainer.training(loader(&Script::default()), loader(&Script::default()));
    trainer.fit(training.metrics((LossMetric::new(),)), learner(Script::default())).unwrap();
    let found = files(&checkpoints(root.path()));
    assert!(found.contains(&"chosen.ckpt -> chosen/00003.ckpt".to_owned()), "{found:?}");
    assert_eq!(metadata(&checkpoints(root.path()).join("chosen.ckpt"))["reason"], "chosen");
    assert!(found.contains(&"last/epoch=0-step=10.ckpt".to_owned()));
}

/// A save in which the disk, or the device that the tensors are read from, does not answer until the sender
/// is dropped.
fn hanging() -> (std::sync::mpsc::Sender<()>, OnStep) {
    let (release, hangs) = std::sync::mpsc::channel::<()>();
    let hangs = Mutex::new(hangs);
    let on_save = OnStep(Arc::new(move || {
        let _ = hangs.lock().recv();
    }));
    (release, on_save)
}

/// Saves at every step, and gives a failure's save little time.
fn impatient(root: &Path) -> TrainerConfig {
    let last = Last::new().with_every_n_steps(1);
    let failed = OnException::new().with_timeout_seconds(0.3);
    config(root, 1)
        .with_when_busy(WhenBusy::Skip)
        .with_strategies([StrategyConfig::Last(last), StrategyConfig::OnException(failed)])
}

#[test]
fn a_save_that_hangs_is_given_up_after_the_time_that_is_set() {
    let root = tempfile::tempdir().unwrap();
    let (release, on_save) = hanging();
    let script = Script { panic_in_step: Some(5), on_save: Some(on_save), ..Script::default() };
    let config = impatient(root.path());
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(train_scripted(config, script).map(|_| ())));
    let error = ended.recv_timeout(Duration::from_secs(60)).expect("it hangs").unwrap_err();
    assert!(matches!(error, Error::Panicked { saved: None, .. }), "{error}");
    drop(release);
}

#[test]
fn a_signal_is_not_kept_waiting_by_a_save_that_hangs() {
    let root = tempfile::tempdir().unwrap();
    // The stop comes when there is room for its save, and when the loop waits for room already.
    for (when_busy, stops_in, steps) in [(WhenBusy::Skip, 5, 5), (WhenBusy::Wait, 3, 3)] {
        let config = impatient(root.path()).with_when_busy(when_busy).with_overwrite(true);
        assert_eq!(stopped_while_a_save_hangs(config, stops_in), (steps, true), "{when_busy:?}");
    }
}

/// Steps done, and whether the last state is not on disk.
fn stopped_while_a_save_hangs(config: TrainerConfig, stops_in: usize) -> (u64, bool) {
    let config = config.with_run_id(format!("r{stops_in}"));
    let (release, on_save) = hanging();
    let waits = config.when_busy == WhenBusy::Wait;
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let trainer = Trainer::new(config, &Script::default().hparams()).unwrap();
        let training = trainer.training(loader(&Script::default()), loader(&Script::default()));
        let interrupter = training.interrupter();
        // As the signal's handler does it, soon after the step: with `Wait` the loop hangs in its save by
        // then.
        let stop = OnStep(Arc::new(move || {
            let interrupter = interrupter.clone();
            let delay = if waits { Duration::from_millis(200) } else { Duration::ZERO };
            let stop = std::thread::spawn(move || {
                std::thread::sleep(delay);
                interrupter.stop(Some("SIGTERM"));
            });
            if !waits {
                stop.join().unwrap();
            }
        }));
        let script = Script { at_step: Some((stops_in, stop)), on_save: Some(on_save), ..Script::default() };
        let result = trainer.fit(training.metrics((LossMetric::new(),)), learner(script));
        done.send(result.map(|result| (result.global_step, result.last_save_failed)))
    });
    let result = ended.recv_timeout(Duration::from_secs(60)).expect("it hangs");
    drop(release);
    result.unwrap()
}
