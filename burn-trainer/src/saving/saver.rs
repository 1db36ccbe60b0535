//! From events to files: collects the strategies' decisions, reserves file names, takes one snapshot for all
//! of them, and hands it to the writer's thread.

mod prepare_saves;

use std::path::PathBuf;
use std::time::Duration;

use burn_ckpt::RunLayout;
use burn_ckpt::plumbing::{
    CheckpointWriter, MakeSections, RunDescription, SaveRequest, Submitted, WhenBusy, WouldKeep,
    WriterActivity, WriterEnd, is_there,
};
use burn_ckpt::retention::SavedCheckpoint;
use indexmap::IndexMap;
use jiff::Timestamp;

use super::active_strategies::{self, ActiveStrategy};
use super::checkpoint_events::{CheckpointEvents, EventTracker};
use super::earlier_verification::{announce, leading, report_damaged};
use super::existing_checkpoints::ExistingCheckpoints;
use super::requested_save::RequestedSave;
use super::save_summary::SaveSummary;
use crate::config::FailedSaves;
use crate::error::{Error, Result};
use crate::process::progress::figures::span;
use crate::process::signals::SignalDeadline;
use crate::state::event::{RunProgress, TrainingEvent};
use crate::state::position::{Position, TrainerState};
use crate::strategy::{SaveDecision, Strategy};

/// What to do with a save while the writer's queue is full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SaverSettings {
    pub(crate) when_busy: WhenBusy,
    pub(crate) max_waiting: usize,
}

/// Decides about saves, and counts what becomes of them.
pub(crate) struct Saver {
    writer: CheckpointWriter,
    checkpoint_dir: PathBuf,
    strategies: Vec<ActiveStrategy>,
    /// The newest state that each strategy requested: its path, and its step, unless the save was skipped.
    newest: IndexMap<String, (PathBuf, Option<u64>)>,
    /// The newest whole state that this process has saved or resumed from, and one of its paths.
    newest_state: Option<(Position, PathBuf)>,
    resumed_from: Option<PathBuf>,
    /// The timestamp of the newest state of the run.
    newest_timestamp: Option<Timestamp>,
    settings: SaverSettings,
    summary: SaveSummary,
    events: EventTracker,
    /// The first panic of a strategy, until it is reported.
    panic: Option<Error>,
}

impl Saver {
    /// Checks every strategy's file names, registers it with its existing checkpoints, and starts the writer.
    pub(crate) fn open(
        strategies: Vec<Box<dyn Strategy>>,
        metric_names: &[String],
        layout: &RunLayout,
        mut existing: ExistingCheckpoints,
        run: RunDescription,
        settings: SaverSettings,
    ) -> Result<Self> {
        let checkpoint_dir = layout.checkpoint_dir();
        let (active, mut ledger) = active_strategies::open(strategies, metric_names, layout, &mut existing)?;
        for (path, files) in existing.take_unverified() {
            ledger.verify_later(&path, files);
        }
        ledger.resume_from(existing.origin.as_ref().map(|(_, path)| &**path), existing.rules_differ)?;
        let writer = CheckpointWriter::start(run, ledger, settings.max_waiting)?;
        let names = active.iter().map(|active| &*active.name);
        let events = EventTracker::new(existing.take_infos(), &mut writer.ledger().lock(), names);
        let newest = IndexMap::new();
        Ok(Self {
            writer,
            checkpoint_dir,
            strategies: active,
            newest,
            resumed_from: existing.origin.as_ref().map(|(_, path)| path.clone()),
            newest_state: existing.origin.take(),
            newest_timestamp: existing.newest,
            settings,
            summary: SaveSummary::default(),
            events,
            panic: None,
        })
    }

    /// When the newest state of the run was saved.
    pub(crate) fn newest_timestamp(&self) -> Option<Timestamp> {
        self.newest_timestamp
    }

    /// What the writer is doing.
    pub(crate) fn activity(&self) -> WriterActivity {
        self.writer.activity()
    }

    /// The oldest optimizer step whose state may still be read by the writer. `u64::MAX` when the writer is
    /// idle.
    pub(crate) fn oldest_step_in_use(&self) -> u64 {
        match self.writer.activity().is_idle() {
            true => u64::MAX,
            // The same step can have a second save, which is not done yet.
            false => self.summary.reports.last().map_or(0, |report| report.global_step),
        }
    }

    /// The durable checkpoint that has the whole state at a position, if this process has saved it or resumed
    /// from it.
    pub(crate) fn saved_state(&self, position: Position) -> Option<PathBuf> {
        let (saved, reserved) = self.newest_state.as_ref()?;
        // The end of an epoch and the start of the next are one state.
        if saved.next() != position.next() {
            return None;
        }
        let ledger = self.writer.ledger().lock();
        let path = ledger.name_of(reserved);
        // What has a reserved name before its state is durable is another run's.
        let is_saved = self.resumed_from.as_ref() == Some(reserved) || ledger.is_durable(&path);
        // An unreadable one is saved again.
        (is_saved && is_there(&path).unwrap_or(false)).then_some(path)
    }

    /// The same, after it has waited for a save of that state which is in progress, for a limited time.
    pub(crate) fn saved_state_within(&self, wait: Duration, position: Position) -> Option<PathBuf> {
        let is_newest = |(saved, _): &(Position, PathBuf)| saved.next() == position.next();
        if self.newest_state.as_ref().is_some_and(is_newest) && self.saved_state(position).is_none() {
            // Where the save fails, the state is saved again.
            let _ = self.writer.activity().wait(wait, wait);
        }
        self.saved_state(position)
    }

    /// Shows the events to the strategies. Returns the saves that they request and that their rules would
    /// keep. A strategy that panics is not called again; [`take_panic`](Self::take_panic) has its error.
    pub(crate) fn requested_saves(
        &mut self,
        events: &[TrainingEvent<'_>],
        position: Position,
        progress: &RunProgress<'_>,
    ) -> Vec<RequestedSave> {
        let mut requested = Vec::new();
        let mut unless_others = Vec::new();
        for (strategy, active) in self.strategies.iter_mut().enumerate() {
            let decision = active.decide(events, progress).unwrap_or_else(|panic| {
                self.panic.get_or_insert(panic);
                SaveDecision::Skip
            });
            let (score, reason, group) = match decision {
                SaveDecision::Save { score, reason } => (score, reason, &mut requested),
                SaveDecision::SaveUnlessOthers { reason } => (f64::NAN, reason, &mut unless_others),
                SaveDecision::Skip => continue,
            };
            let conditional = match self.writer.ledger().lock().would_keep(&active.name, progress.step, score)
            {
                WouldKeep::Yes => false,
                WouldKeep::UnlessOthersAreSaved => true,
                WouldKeep::No => continue,
            };
            group.push(RequestedSave { strategy, score, reason, conditional });
        }
        if requested.iter().all(|save| self.strategies[save.strategy].weights_only) {
            requested.append(&mut unless_others);
        }
        if matches!(events, [TrainingEvent::Interrupted(_)]) {
            self.leave_out_saved(&mut requested, position, progress.step);
        }
        requested
    }

    /// The same for a run that is ended from outside of its loop, which may have saved that state.
    pub(crate) fn requested_from_outside(
        &mut self,
        event: TrainingEvent<'_>,
        position: Position,
        progress: &RunProgress<'_>,
    ) -> Vec<RequestedSave> {
        let mut requested = self.requested_saves(&[event], position, progress);
        self.leave_out_saved(&mut requested, position, progress.step);
        requested
    }

    /// A run that is stopped right after a save, or right after its start, has that state already.
    fn leave_out_saved(&self, requested: &mut Vec<RequestedSave>, position: Position, step: u64) {
        if self.saved_state(position).is_some() {
            requested.retain(|save| self.strategies[save.strategy].weights_only);
        }
        requested.retain(|save| {
            let newest = self.newest.get(&self.strategies[save.strategy].name);
            newest.is_none_or(|(_, saved)| *saved != Some(step))
        });
    }

    /// The panic of a strategy that was not reported yet.
    pub(crate) fn take_panic(&mut self) -> Option<Error> {
        self.panic.take()
    }

    /// Hands the state to the writer. The last save of a run waits for the queue, whatever `when_busy` says.
    pub(crate) fn submit(
        &mut self,
        requested: &[RequestedSave],
        state: &TrainerState,
        is_last: bool,
        deadline: &mut SignalDeadline,
        snapshot: impl Fn(bool) -> MakeSections,
    ) -> Result<()> {
        let saves = self.prepare(requested, state, snapshot)?;
        self.hand_over(saves, is_last, deadline)
    }

    /// Hands prepared saves to the writer.
    pub(crate) fn hand_over(
        &mut self,
        mut saves: Vec<SaveRequest>,
        is_last: bool,
        deadline: &mut SignalDeadline,
    ) -> Result<()> {
        saves.iter_mut().for_each(|save| save.urgent = is_last);
        let when_busy = if is_last { WhenBusy::Wait } else { self.settings.when_busy };
        let Some(step) = saves.first().map(|save| save.global_step) else { return Ok(()) };
        let (places, count) = (SaveRequest::paths(&saves), saves.len() as u64);
        let conditional = saves.iter().all(|save| save.conditional);
        let waits = || when_busy != WhenBusy::Skip && !conditional && deadline.may_wait();
        match self.writer.submit_while(saves, when_busy, waits)? {
            Submitted::Accepted => {}
            Submitted::Skipped if conditional => {}
            Submitted::Replaced(older) => {
                self.summary.replaced += count;
                log::warn!("the state of step {step} replaced that of step {older}: the disk is behind");
            }
            Submitted::Skipped => {
                self.summary.skipped += count;
                // When the run is stopped now, the state must still be saved.
                for (_, step) in self.newest.values_mut().filter(|(path, _)| places.contains(path)) {
                    *step = None;
                }
                log::warn!("a checkpoint of step {step} was skipped: the disk is behind");
            }
        }
        Ok(())
    }

    /// Hands the state before a failure to the writer, within a limited time. Returns the paths that are
    /// reserved for it. The reports tell whether the save succeeded.
    pub(crate) fn submit_within(
        &mut self,
        wait: Duration,
        requested: &[RequestedSave],
        state: &TrainerState,
        snapshot: impl Fn(bool) -> MakeSections,
    ) -> Result<Vec<PathBuf>> {
        let mut saves = self.prepare(requested, state, snapshot)?;
        // Time is limited, and the state that can be resumed matters most.
        saves.reverse();
        saves.iter_mut().for_each(|save| save.urgent = true);
        let places = SaveRequest::paths(&saves);
        if !saves.is_empty() && self.writer.try_submit(saves, wait)? == Submitted::Skipped {
            log::error!("the last state was not saved: the writer was busy for {}", span(wait.as_secs_f64()));
        }
        Ok(places)
    }

    /// Notes the saves that have ended. A failed one is an error if the configuration stops training for it.
    pub(crate) fn collect(&mut self, failed_saves: FailedSaves) -> Result<()> {
        self.summary.forget_settled(self.newest.values().map(|(path, _)| path));
        report_damaged(&mut self.writer.ledger().lock());
        let known = self.summary.reports.len();
        self.summary.add(self.writer.reports());
        self.note_events(known);
        let failed = self.summary.reports[known..].iter().position(|report| report.outcome.is_err());
        let Some(position) = failed.filter(|_| failed_saves == FailedSaves::Stop) else { return Ok(()) };
        // The run's error owns it from here on.
        match self.summary.reports.remove(known + position).outcome {
            Err(source) => Err(Error::SaveFailed { source }),
            Ok(()) => Ok(()),
        }
    }

    /// Notes what the saves after the first `known` have done.
    fn note_events(&mut self, known: usize) {
        let names = self.strategies.iter().map(|active| &*active.name);
        self.events.note(&self.summary.reports[known..], &mut self.writer.ledger().lock(), names);
    }

    /// What the writer has done since the last call.
    pub(crate) fn take_events(&mut self) -> CheckpointEvents {
        self.events.take()
    }

    /// The longest save of those that have ended since the last call.
    pub(crate) fn take_longest_save(&mut self) -> Option<Duration> {
        self.summary.take_longest()
    }

    /// Waits for what is being written, for a limited time if one is given. Returns the summary, and the
    /// leading checkpoint of every strategy.
    pub(crate) fn finish(
        mut self,
        wait: Option<Duration>,
    ) -> (SaveSummary, IndexMap<String, SavedCheckpoint>) {
        let names: Vec<String> = self.strategies.iter().map(|active| active.name.clone()).collect();
        let ledger = self.writer.ledger().clone();
        if wait.is_none() {
            announce(&ledger.lock());
        }
        let WriterEnd { reports, is_complete, unmoved_link } = self.writer.finish(wait);
        let known = self.summary.reports.len();
        self.summary.add(reports);
        report_damaged(&mut ledger.lock());
        let names_of = names.iter().map(String::as_str);
        self.events.note(&self.summary.reports[known..], &mut ledger.lock(), names_of);
        self.summary.events = self.events.take();
        self.summary.unfinished = !is_complete;
        self.summary.newest_timestamp = self.newest_timestamp;
        self.summary.unmoved_link = unmoved_link;
        self.summary.newest_is_durable = self.newest.values().all(|(path, _)| self.summary.is_settled(path));
        (self.summary, leading(&ledger.lock(), names))
    }
}
