//! Each line reaches a callback and a tracker once, in the log's order, also over a failure and a resume.

use std::sync::Arc;

use burn::train::LearnerModel;
use burn_ckpt::metrics_log::Line;
use burn_trainer::RunOutcome;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult};
use burn_trainer::trackers::StartAt;
use parking_lot::Mutex;
use system_tests::models::small::{Script, train_by};

use super::{Recorder, Told, log, patient, saving_every_4_steps, without_times};

/// Collects the lines, and those from before a resume.
#[derive(Clone, Default)]
struct Collect {
    before: Arc<Mutex<Vec<Line>>>,
    lines: Arc<Mutex<Vec<Line>>>,
    at_end: Arc<Mutex<usize>>,
}

impl<M: LearnerModel> Callback<M> for Collect {
    fn name(&self) -> String {
        "collect".to_owned()
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        assert!(context.ended().is_none());
        *self.before.lock() = context.run().logged_before()?.collect::<Result<_, _>>()?;
        Ok(())
    }

    fn on_logged(&mut self, _: &mut CallbackContext<'_, M>, lines: &[Line]) -> CallbackResult {
        self.lines.lock().extend_from_slice(lines);
        Ok(())
    }

    fn on_fit_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        assert!(context.ended().is_some());
        *self.at_end.lock() = self.lines.lock().len();
        Ok(())
    }
}

/// A script whose training panics at a step, counted over the process.
fn failing_at(step: usize) -> Script {
    Script { panic_in_step: Some(step), ..Script::default() }
}

#[test]
fn a_callback_sees_each_line_of_the_log_as_it_stands_there() {
    let root = tempfile::tempdir().unwrap();
    let first = Collect::default();
    let failed = train_by(saving_every_4_steps(root.path(), 2), failing_at(15), |trainer| {
        trainer.callback(first.clone())
    });
    failed.unwrap_err();
    assert_eq!(*first.lines.lock(), log(root.path()));
    let second = Collect::default();
    let config = saving_every_4_steps(root.path(), 2).with_ckpt_path("auto");
    train_by(config, Script::default(), |trainer| trainer.callback(second.clone())).unwrap();
    let (before, lines) = (second.before.lock(), second.lines.lock());
    assert_eq!([&before[..], &lines[..]].concat(), log(root.path()));
    assert_eq!(before.last().map(|line| line.step), Some(12), "the step of the checkpoint");
    assert_eq!(*second.at_end.lock(), lines.len());
}

#[test]
fn a_tracker_gets_each_line_once_over_a_failure_beyond_the_checkpoint() {
    for start_at in [StartAt::FirstUnsent, StartAt::FirstLine] {
        let root = tempfile::tempdir().unwrap();
        let told = Arc::new(Mutex::new(Told::default()));
        let recorder = || Recorder { start_at: Some(start_at), ..Recorder::of(&told) };
        let config = saving_every_4_steps(root.path(), 2);
        train_by(config.clone(), failing_at(15), |trainer| trainer.callback(patient(recorder())))
            .unwrap_err();
        let sent = told.lock().lines.len();
        assert!(told.lock().lines.last().unwrap().step > 12, "beyond the checkpoint");
        if start_at == StartAt::FirstLine {
            // It writes everything again.
            told.lock().lines.clear();
        }
        train_by(config.with_ckpt_path("auto"), Script::default(), |trainer| {
            trainer.callback(patient(recorder()))
        })
        .unwrap();
        let told = told.lock();
        assert_eq!(without_times(&told.lines), without_times(&log(root.path())), "{start_at:?}, {sent}");
        let [(first, None), (second, Some(state))] = &told.starts[..] else { panic!("{:?}", told.starts) };
        assert_eq!(
            (first.run_id.as_str(), first.resumed_from.is_some(), state),
            ("r1", false, &"its id".into())
        );
        assert!(second.resumed_from.as_ref().unwrap().ends_with("last/epoch=1-step=12.ckpt"));
        let outcomes: Vec<_> = told.ends.iter().map(|end| (&end.outcome, end.global_step)).collect();
        assert!(
            matches!(outcomes[..], [(RunOutcome::Failed(_), _), (RunOutcome::Done(None), 20)]),
            "{outcomes:?}"
        );
        assert!(told.ends[1].checkpoints["last"].path.is_file());
    }
}

#[test]
fn a_tracker_that_is_added_when_the_run_resumes_gets_all_lines() {
    let root = tempfile::tempdir().unwrap();
    train_by(saving_every_4_steps(root.path(), 1), Script::default(), |trainer| trainer).unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    let config = saving_every_4_steps(root.path(), 2).with_ckpt_path("auto");
    train_by(config, Script::default(), |trainer| trainer.callback(patient(Recorder::of(&told)))).unwrap();
    assert_eq!(told.lock().lines, log(root.path()));
}

#[test]
fn a_run_that_starts_again_from_the_beginning_is_a_new_one_for_its_tracker() {
    let root = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    for _ in 0..2 {
        let config = saving_every_4_steps(root.path(), 1).with_overwrite(true);
        train_by(config, Script::default(), |trainer| trainer.callback(patient(Recorder::of(&told))))
            .unwrap();
    }
    let told = told.lock();
    assert_eq!(told.lines.len(), 2 * log(root.path()).len());
    assert!(told.starts.iter().all(|(_, state)| state.is_none()), "{:?}", told.starts);
}

#[test]
fn a_fast_dev_run_has_no_tracker() {
    let root = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    let config = saving_every_4_steps(root.path(), 1).with_fast_dev_run(true);
    train_by(config, Script::default(), |trainer| trainer.callback(patient(Recorder::of(&told)))).unwrap();
    assert!(told.lock().starts.is_empty());
}
