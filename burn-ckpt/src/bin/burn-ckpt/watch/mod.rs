//! `burn-ckpt watch`: each new checkpoint of a run, for an evaluator beside it.

mod command;
mod name_check;
mod stop;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burn_ckpt::chain;
use burn_ckpt::watch::{NewCheckpoint, RunState, Watch, WatchEvent, is_final};
use serde_json::{Value, json};

use crate::metrics::json::json_metrics;
use crate::runs::run_directory::check_can_become_a_run;
use crate::terminal::figures::{count, number};
use crate::terminal::output::{Output, say};
use crate::terminal::printable::in_one_line;
use crate::verb_result::{Failure, VerbResult};
use crate::watch::command::{Command, Ran};
use crate::watch::name_check::Wanted;
use crate::watch::stop::Stop;

/// The longest time between two looks at a run, in seconds: a day.
const MAX_INTERVAL: f64 = 86_400.0;

/// Print each new checkpoint of a run as it comes, verified
///
/// Prints one line per checkpoint: its path, epoch, optimizer step and metrics. Those that are there already
/// come first, the oldest first. The run need not exist yet. A state with several names is printed once. A
/// checkpoint that the run deletes before it could be read is left out if a newer one follows. Ends when the
/// run is done: exit status 0, or 1 if a checkpoint was damaged, a command failed, or (with --until-stopped)
/// the run was stopped. A name of --metric that the run does not have, and will not have as far as its newest
/// checkpoint says, is an error at once. Before the first checkpoint, a name that is not that of a metric in
/// the log, but near one, is an error too. A signal ends it with 130 or 143.
#[derive(clap::Args)]
pub struct Args {
    /// The run's directory, which need not exist yet
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Only the best checkpoint by a metric, each time that there is a better one; or "best" for the only
    /// metric, or "last"
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// Leave out the checkpoints that are there at the start
    #[arg(long)]
    only_new: bool,
    /// End when no process writes to the run any more, also if it is not done
    #[arg(long)]
    until_stopped: bool,
    /// Seconds between two looks at the run
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = interval)]
    interval: f64,
    /// Print one JSON object per line, with all metrics
    #[arg(long)]
    json: bool,
    /// Run this program for each checkpoint, and wait for it; must come last
    ///
    /// An argument {} is replaced by the checkpoint's path, which is the last argument otherwise.
    /// BURN_CKPT_PATH, BURN_CKPT_EPOCH, BURN_CKPT_STEP and BURN_CKPT_METRICS (JSON) are in its environment.
    /// No shell is started.
    #[arg(
        long,
        value_name = "PROGRAM [ARGUMENT]..",
        num_args = 1..,
        allow_hyphen_values = true
    )]
    exec: Vec<OsString>,
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds = text.parse().map_err(|_| "it is not a number of seconds".to_owned())?;
    match seconds > 0.0 && seconds <= MAX_INTERVAL {
        true => Ok(seconds),
        false => Err(format!("it must be more than 0, and at most {MAX_INTERVAL}")),
    }
}

pub fn run(args: &Args) -> VerbResult {
    check_can_become_a_run(&args.run)?;
    let stop = Stop::on_signals()?;
    let watch = Watch::new(&args.run).only_new(args.only_new).end_when_stopped(args.until_stopped);
    let watch = match &args.metric {
        Some(metric) => watch.name(Wanted::of(metric).link),
        None => watch,
    };
    let mut watching = Watching {
        args,
        stop,
        output: Output::new(),
        command: Command::new(&args.exec),
        checkpoints: 0,
        failures: 0,
        said: String::new(),
        unchecked_name: args.metric.as_deref().map(Wanted::of),
        has_said_name: false,
    };
    watching.watch(watch)
}

struct Watching<'a> {
    args: &'a Args,
    stop: Stop,
    output: Output,
    command: Option<Command>,
    checkpoints: usize,
    failures: usize,
    /// The last line about the run, which is not repeated at each look.
    said: String,
    /// The name that is watched, until it is known whether the run will have it.
    unchecked_name: Option<Wanted>,
    /// Whether the user was told that the name may not come.
    has_said_name: bool,
}

impl Watching<'_> {
    fn watch(&mut self, mut watch: Watch) -> VerbResult {
        let interval = Duration::from_secs_f64(self.args.interval);
        while !self.stop.is_requested() {
            self.check_name()?;
            match watch.poll_unless(&|| self.stop.is_requested()) {
                // A signal came while a checkpoint was verified.
                Ok(None) => break,
                Ok(Some(WatchEvent::New(new))) => {
                    self.new_checkpoint(&new)?;
                    if self.output.is_closed() && self.command.is_none() {
                        break;
                    }
                    continue;
                }
                Ok(Some(WatchEvent::Ended(state))) => return Ok(self.end(&state)),
                Ok(Some(WatchEvent::Waiting(state))) => self.waits(&state),
                Ok(Some(_)) => {}
                Err(error) if is_final(&error) => return Err(error.into()),
                Err(error) => self.fails(&chain(&error)),
            }
            self.stop.wait(interval);
        }
        self.stop.end();
        Ok(self.failures == 0)
    }

    /// Fails as soon as it is known that the run will have no checkpoint of the name that is watched.
    fn check_name(&mut self) -> Result<(), Failure> {
        let Some(wanted) = &self.unchecked_name else { return Ok(()) };
        let found = name_check::check(&self.args.run, wanted)?;
        if found.is_final {
            self.unchecked_name = None;
        }
        if let Some(line) = found.line
            && !std::mem::replace(&mut self.has_said_name, true)
        {
            say(line);
        }
        Ok(())
    }

    fn new_checkpoint(&mut self, new: &NewCheckpoint) -> Result<(), Failure> {
        self.checkpoints += 1;
        match self.args.json {
            true => self.output.json_line(&as_json(new))?,
            false => self.output.line(line(new))?,
        }
        self.output.flush()?;
        let Some(command) = self.command.as_ref().filter(|_| !self.stop.is_requested()) else {
            return Ok(());
        };
        let path = new.checkpoint.path();
        let metrics = json_metrics(&new.metadata.metrics).to_string();
        match command.run(path, &new.metadata, &metrics, &self.stop)? {
            Ran::Well => {}
            // The program has the path alone, and the run goes its own way.
            Ran::Failed(how) if is_gone(path)? => say(format!(
                "note: {} {how}, and the run deleted {} meanwhile: the next one follows",
                command.name(),
                one(path)
            )),
            Ran::Failed(how) => self.fails(&format!("{} {how} for {}", command.name(), one(path))),
        }
        Ok(())
    }

    fn fails(&mut self, what: &str) {
        let line = format!("error: {what}");
        if self.said != line {
            self.failures += 1;
            say(&line);
            self.said = line;
        }
    }

    /// Says once what the run is doing, where that is not what one expects.
    fn waits(&mut self, state: &RunState) {
        let run = one(&self.args.run);
        let line = match state {
            RunState::NotBegun => match is_gone(&self.args.run) {
                Ok(true) => format!("waiting for the run {run}: there is no such directory yet"),
                _ => format!("waiting for the run {run}: it has no checkpoint, and no process writes to it"),
            },
            RunState::Running(holder) => format!("watching {run}: {holder} writes to it"),
            RunState::Stopped(why) => format!(
                "waiting for {run} to be resumed: no process writes to it, and it is not done ({why}); --until-stopped ends here"
            ),
            state => format!("watching {run}: {state}; a signal ends this, or the last epoch"),
        };
        if self.said != line {
            say(&line);
            self.said = line;
        }
    }

    /// Whether all was well.
    fn end(&self, state: &RunState) -> bool {
        let failures = match self.failures {
            0 => String::new(),
            failures => format!(", {}", count(failures, "failure")),
        };
        say(format!("{}: {state}; {}{failures}", one(&self.args.run), count(self.checkpoints, "checkpoint")));
        self.failures == 0 && !matches!(state, RunState::Stopped(_))
    }
}

fn is_gone(path: &Path) -> Result<bool, Failure> {
    Ok(!burn_ckpt::plumbing::is_there(path)?)
}

fn line(new: &NewCheckpoint) -> String {
    let metadata = &new.metadata;
    let position =
        format!("{}  epoch {}  step {}", one(new.checkpoint.path()), metadata.epoch, metadata.global_step);
    let metrics = metadata.metrics.iter().map(|(name, value)| format!("  {name} {}", number(*value)));
    in_one_line(&std::iter::once(position).chain(metrics).collect::<String>())
}

fn as_json(new: &NewCheckpoint) -> Value {
    let metadata = &new.metadata;
    json!({
        "path": new.checkpoint.path().display().to_string(),
        "run_id": metadata.run_id,
        "epoch": metadata.epoch,
        "global_step": metadata.global_step,
        "metrics": json_metrics(&metadata.metrics),
        "reason": metadata.reason,
        "checkpoint_timestamp": metadata.checkpoint_timestamp,
        "size_bytes": metadata.total_bytes(),
        "checkpoint_checksum": metadata.checkpoint_checksum,
        "non_finite": metadata.non_finite,
    })
}

fn one(path: &Path) -> String {
    in_one_line(&path.display().to_string())
}
