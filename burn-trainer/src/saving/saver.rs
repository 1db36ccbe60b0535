//! From events to files: asks the strategies, reserves places, takes one snapshot for all of them, and hands it
//! to the writer's thread.

use std::path::{Path, PathBuf};
use std::time::Duration;

use burn_ckpt::RunLayout;
use burn_ckpt::plumbing::{
    CheckpointWriter, FilenameTemplate, Ledger, MakeSections, Reservation, RunDescription, SaveReport,
    SaveRequest, SavedCheckpoint, Submitted, WhenBusy, WriterActivity, exception_stem, link_name,
};
use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};

use crate::config::FailedSaves;
use crate::error::{Error, Result};
use crate::process::console::say;
use crate::process::signals::Patience;
use crate::run::existing_checkpoints::ExistingCheckpoints;
use crate::state::event::{RunProgress, TrainingEvent};
use crate::state::position::TrainerState;
use crate::strategy::{SaveDecision, Strategy};

/// Decides about saves and keeps account of them.
pub(crate) struct Saver {
    writer: CheckpointWriter,
    checkpoint_dir: PathBuf,
    strategies: Vec<Active>,
    /// The newest state that each strategy wanted: where it goes, and its step, unless it was let go.
    newest: IndexMap<String, (PathBuf, Option<u64>)>,
    /// When the newest state of the run was taken.
    taken: Option<Timestamp>,
    reporting: Reporting,
    pub(crate) account: SaveAccount,
}

/// What to do with a save that the writer has no room for, and whether a failed one is said on standard error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reporting {
    pub(crate) when_busy: WhenBusy,
    pub(crate) max_waiting: usize,
    /// Off while a terminal dashboard is drawn, which such a line would tear.
    pub(crate) announce: bool,
}

/// What became of a run's saves.
#[derive(Debug, Default)]
pub(crate) struct SaveAccount {
    pub(crate) reports: Vec<SaveReport>,
    pub(crate) skipped: u64,
    pub(crate) replaced: u64,
    /// Whether the newest state that each strategy wanted got where it should.
    pub(crate) newest_is_durable: bool,
    /// Whether everything that was handed over was also written when the run ended.
    pub(crate) unfinished: bool,
}

/// A strategy with what its output settings come to in this run.
struct Active {
    strategy: Box<dyn Strategy>,
    name: String,
    directory: PathBuf,
    template: Option<FilenameTemplate>,
    weights_only: bool,
}

/// A strategy's wish to have the state of the moment.
pub(crate) struct Wanted {
    strategy: usize,
    score: f64,
    reason: String,
}

impl Saver {
    /// Checks every strategy's file names, registers it with what it holds from before, and starts the writer.
    pub(crate) fn open(
        strategies: Vec<Box<dyn Strategy>>,
        metric_names: &[String],
        layout: &RunLayout,
        mut before: ExistingCheckpoints,
        run: RunDescription,
        reporting: Reporting,
    ) -> Result<Self> {
        let mut ledger = Ledger::default();
        let mut active: Vec<Active> = Vec::new();
        let mut links = Vec::new();
        let checkpoint_dir = layout.checkpoint_dir();
        for strategy in strategies {
            let (name, output) = (strategy.name(), strategy.output());
            if active.iter().any(|other| other.name == name) {
                let reason =
                    format!("two of them are called {name:?}; give them different metrics or dirpaths");
                return Err(Error::config("strategies", reason));
            }
            let template = output.filename.as_deref();
            let template =
                template.map(|source| FilenameTemplate::parse(source, metric_names)).transpose()?;
            let link = output.link.as_deref().map(link_name).transpose()?;
            if let Some(link) = &link {
                if links.contains(link) {
                    let reason = format!("two of them keep the link {link}; turn save_symlink off for one");
                    return Err(Error::config("strategies", reason));
                }
                links.push(link.clone());
            }
            let link = link.map(|link| checkpoint_dir.join(link));
            let (directory, keep) = (layout.strategy_dir(&output.directory)?, strategy.keep());
            ledger.register(&name, keep, link, before.take(&name, keep, &directory));
            active.push(Active { directory, weights_only: output.weights_only, strategy, name, template });
        }
        ledger.goes_on_from(before.origin.as_deref(), before.rules_differ);
        let writer = CheckpointWriter::start(run, ledger, reporting.max_waiting)?;
        let newest = IndexMap::new();
        Ok(Self {
            writer,
            checkpoint_dir,
            strategies: active,
            newest,
            taken: before.newest,
            reporting,
            account: SaveAccount::default(),
        })
    }

    /// What the writer is doing.
    pub(crate) fn activity(&self) -> WriterActivity {
        self.writer.activity()
    }

    /// The optimizer step before which no state is being written any more.
    pub(crate) fn being_written(&self) -> u64 {
        match self.writer.activity().is_idle() {
            true => u64::MAX,
            // A step can have two saves, of which this is the first.
            false => self.account.reports.last().map_or(0, |report| report.global_step),
        }
    }

    /// Shows the events to the strategies. What they want would also be kept.
    pub(crate) fn wanted(&mut self, events: &[TrainingEvent<'_>], facts: &RunProgress<'_>) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        let mut if_no_other = Vec::new();
        for (strategy, active) in self.strategies.iter_mut().enumerate() {
            // Every event is shown to the strategy, also after it wanted one.
            let decisions: Vec<SaveDecision> =
                events.iter().map(|event| active.strategy.decide(event, facts)).collect();
            let Some(decision) = decisions.into_iter().find(|decision| *decision != SaveDecision::Skip)
            else {
                continue;
            };
            let (score, reason, group) = match decision {
                SaveDecision::Save { score, reason } => (score, reason, &mut wanted),
                SaveDecision::SaveUnlessOthers { reason } => (f64::NAN, reason, &mut if_no_other),
                SaveDecision::Skip => continue,
            };
            if self.writer.ledger().lock().would_keep(&active.name, facts.step, score) {
                group.push(Wanted { strategy, score, reason });
            }
        }
        if !wanted.iter().any(|save| !self.strategies[save.strategy].weights_only) {
            wanted.append(&mut if_no_other);
        }
        if matches!(events, [TrainingEvent::Interrupted(_)]) {
            // A run that is stopped right after a save has that state already.
            wanted.retain(|save| {
                let newest = self.newest.get(&self.strategies[save.strategy].name);
                newest.is_none_or(|(_, step)| *step != Some(facts.step))
            });
        }
        wanted
    }

    /// Hands the state to the writer. The last one of a run is waited for, whatever `when_busy` says.
    pub(crate) fn submit(
        &mut self,
        wanted: &[Wanted],
        state: &TrainerState,
        is_last: bool,
        patience: &mut Patience,
        snapshot: impl Fn(bool) -> MakeSections,
    ) -> Result<()> {
        let saves = self.prepare(wanted, state, snapshot)?;
        self.hand_over(saves, is_last, patience)
    }

    /// Hands prepared saves to the writer.
    pub(crate) fn hand_over(
        &mut self,
        mut saves: Vec<SaveRequest>,
        is_last: bool,
        patience: &mut Patience,
    ) -> Result<()> {
        saves.iter_mut().for_each(|save| save.urgent = is_last);
        let when_busy = if is_last { WhenBusy::Wait } else { self.reporting.when_busy };
        let Some(step) = saves.first().map(|save| save.global_step) else { return Ok(()) };
        let (places, count) = (SaveRequest::paths(&saves), saves.len() as u64);
        let waits = || when_busy != WhenBusy::Skip && patience.lasts();
        match self.writer.submit_while(saves, when_busy, waits)? {
            Submitted::Taken => {}
            Submitted::InPlaceOf(older) => {
                self.account.replaced += count;
                log::warn!("the state of step {step} replaced that of step {older}: the disk is behind");
            }
            Submitted::LetGo => {
                self.account.skipped += count;
                // Should the run be stopped now, the state is still to be saved.
                for (_, step) in self.newest.values_mut().filter(|(path, _)| places.contains(path)) {
                    *step = None;
                }
                log::warn!("a checkpoint of step {step} was skipped: the disk is behind");
            }
        }
        Ok(())
    }

    /// Hands the state before a failure to the writer, within a limited time. Returns where it will be;
    /// whether it got there is in the reports.
    pub(crate) fn submit_within(
        &mut self,
        wait: Duration,
        wanted: &[Wanted],
        state: &TrainerState,
        snapshot: impl Fn(bool) -> MakeSections,
    ) -> Result<Vec<PathBuf>> {
        let mut saves = self.prepare(wanted, state, snapshot)?;
        // Time is short, and what can be gone on from matters most.
        saves.reverse();
        saves.iter_mut().for_each(|save| save.urgent = true);
        let places = SaveRequest::paths(&saves);
        if !saves.is_empty() && self.writer.try_submit(saves, wait)? == Submitted::LetGo {
            log::error!("the last state was not saved: the writer was busy for {wait:?}");
        }
        Ok(places)
    }

    /// Takes note of the saves that ended. One that failed is an error where training is to stop for it.
    pub(crate) fn collect(&mut self, failed_saves: FailedSaves) -> Result<()> {
        let known = self.account.reports.len();
        let announce = self.reporting.announce;
        self.account.reports.extend(self.writer.reports().inspect(|report| log_report(report, announce)));
        let mut failed =
            self.account.reports[known..].iter().filter_map(|report| report.outcome.as_ref().err());
        match failed.next() {
            Some(error) if failed_saves == FailedSaves::Stop => {
                Err(Error::SaveFailed { reason: error.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Waits for what is being written, for a limited time if one is given, and returns the account with the
    /// foremost checkpoint of every strategy.
    pub(crate) fn finish(
        mut self,
        wait: Option<Duration>,
    ) -> (SaveAccount, IndexMap<String, SavedCheckpoint>) {
        let names: Vec<String> = self.strategies.iter().map(|active| active.name.clone()).collect();
        let ledger = self.writer.ledger().clone();
        let (reports, finished) = self.writer.finish(wait);
        reports.iter().for_each(|report| log_report(report, self.reporting.announce));
        self.account.reports.extend(reports);
        self.account.unfinished = !finished;
        let durable = |path: &PathBuf| self.account.reports.iter().any(|report| report.paths.contains(path));
        self.account.newest_is_durable = self.newest.values().all(|(path, _)| durable(path));
        let foremost = names
            .into_iter()
            .filter_map(|name| {
                let held = ledger.lock().foremost(&name).cloned()?;
                Some((name, held))
            })
            .collect();
        (self.account, foremost)
    }

    /// Reserves the places, and describes the saves that are to go there.
    pub(crate) fn prepare(
        &mut self,
        wanted: &[Wanted],
        state: &TrainerState,
        snapshot: impl Fn(bool) -> MakeSections,
    ) -> Result<Vec<SaveRequest>> {
        let timestamp = after(self.taken, Timestamp::now());
        let mut saves = Vec::new();
        // What is in the file differs, so these are two files. The one that can be gone on from comes last: with it there,
        // a run that was killed would go on after this state, and never write the other.
        for weights_only in [true, false] {
            let group: Vec<&Wanted> =
                wanted.iter().filter(|w| self.strategies[w.strategy].weights_only == weights_only).collect();
            if group.is_empty() {
                continue;
            }
            let places = self.reserve(&group, state, timestamp)?;
            saves.push(SaveRequest {
                timestamp,
                epoch: state.position.epoch,
                global_step: state.position.global_step,
                training_time_seconds: state.training_time_seconds,
                metrics: state.metrics.clone(),
                trainer_state: self.state_json(state, &group, &places)?,
                places,
                urgent: false,
                sections: snapshot(weights_only),
            });
            self.taken = Some(timestamp);
        }
        Ok(saves)
    }

    /// A place for each strategy that wants the state, with its reason.
    fn reserve(
        &mut self,
        group: &[&Wanted],
        state: &TrainerState,
        timestamp: Timestamp,
    ) -> Result<Vec<(PathBuf, String)>> {
        let position = state.position;
        let mut wishes = Vec::with_capacity(group.len());
        for wanted in group {
            let active = &self.strategies[wanted.strategy];
            let stem = match &active.template {
                Some(template) => template.render(position.epoch, position.global_step, &state.metrics)?,
                None => exception_stem(timestamp),
            };
            let (keeper, directory) = (active.name.clone(), active.directory.clone());
            let (step, score) = (position.global_step, wanted.score);
            wishes.push(Reservation { keeper, directory, stem, step, score });
        }
        let paths = self.writer.ledger().lock().reserve(&wishes);
        for (wish, path) in wishes.into_iter().zip(&paths) {
            self.newest.insert(wish.keeper, (path.clone(), Some(position.global_step)));
        }
        Ok(paths.into_iter().zip(group.iter().map(|wanted| wanted.reason.clone())).collect())
    }

    fn state_json(
        &self,
        state: &TrainerState,
        group: &[&Wanted],
        places: &[(PathBuf, String)],
    ) -> Result<serde_json::Value> {
        let name = |wanted: &Wanted| self.strategies[wanted.strategy].name.clone();
        let state = TrainerState {
            saved_for: group
                .iter()
                .zip(places)
                .map(|(w, (path, _))| (name(w), self.relative(path)))
                .collect(),
            scores: group.iter().map(|wanted| (name(wanted), wanted.score)).collect(),
            ..state.clone()
        };
        let mut json = serde_json::to_value(state).map_err(|error| {
            burn_ckpt::Error::Snapshot(format!("the trainer's state is no JSON: {error}"))
        })?;
        // For the metadata of a name that has to be given again.
        let reasons: IndexMap<String, &String> =
            group.iter().zip(places).map(|(w, (_, reason))| (name(w), reason)).collect();
        json["reasons"] = serde_json::json!(reasons);
        Ok(json)
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.checkpoint_dir).unwrap_or(path).to_string_lossy().into_owned()
    }
}

/// The time of a save, so that the newest state is that which was taken last, whatever the clock does.
fn after(taken: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let next = taken.and_then(|taken| taken.checked_add(SignedDuration::from_nanos(1)).ok());
    next.map_or(now, |next| next.max(now))
}

fn log_report(report: &SaveReport, announce: bool) {
    match &report.outcome {
        Ok(bytes) => log::info!("saved step {}: {bytes} bytes in {:?}", report.global_step, report.duration),
        Err(error) => {
            let message = format!("saving step {} failed: {error}", report.global_step);
            log::error!("{message}");
            if announce {
                say(&format!("warning: {message}"));
            }
        }
    }
}
