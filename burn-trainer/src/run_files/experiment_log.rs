//! burn's log of a run, `experiment.log`.
//!
//! The same as burn's own installer makes, but for the file: burn opens whatever the path leads to at that
//! moment, and panics where it cannot. Here it is opened by us, and burn's events are written to what is
//! open. burn's log is one for the process; here each run has its own.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use burn::train::ApplicationLoggerInstaller;
use burn_ckpt::plumbing::storage::ExistingContent;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

use super::regular_file;
use crate::process::console::{warn, warn_unlogged};
use crate::process::panic_hook;
use crate::process::run_output::{self, EventLog, RunLog};

/// The file's name in the run's directory.
pub(crate) const EXPERIMENT_LOG: &str = "experiment.log";
/// The modules that log too much for this file below the level of a warning.
const TALKATIVE: &str = "wgpu";

/// Installs burn's logger, unless its file cannot be written: then it says so, and training continues without
/// it.
pub(crate) struct ExperimentLog(PathBuf);

impl ExperimentLog {
    pub(crate) fn of_run(run_dir: &Path) -> Self {
        Self(run_dir.join(EXPERIMENT_LOG))
    }
}

impl ApplicationLoggerInstaller for ExperimentLog {
    fn install(&self) -> Result<(), String> {
        let file = match regular_file::continued(&self.0, ExistingContent::Append) {
            Ok(file) => file.into_file(),
            Err(error) => {
                warn(&format!(
                    "the log {} cannot be written: {error}. Training continues without it",
                    self.0.display()
                ));
                return Ok(());
            }
        };
        run_output::set_event_log(RunLog { file: Arc::new(file), path: self.0.clone(), is_replaced: false });
        static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
        INSTALLED
            .get_or_init(|| {
                log_events()?;
                report_panics();
                Ok(())
            })
            .clone()
    }
}

/// Has events written to the log of the run whose thread they come from. A process does that once.
fn log_events() -> Result<(), String> {
    let logs = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(LogsOfRuns)
        .with_filter(LevelFilter::INFO)
        .with_filter(filter_fn(|event| {
            let is_talkative = event.module_path().is_some_and(|path| path.starts_with(TALKATIVE));
            !is_talkative || *event.level() < LevelFilter::INFO
        }));
    let others = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(EventsOfUnknownRuns)
        .with_filter(LevelFilter::WARN);
    let installed = tracing_subscriber::registry().with(logs).with(others).try_init();
    installed.map_err(|error| format!("the process has another logger: {error}"))
}

/// Has panics logged, and says on standard error where.
fn report_panics() {
    let _replacing = panic_hook::replacing();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        log::error!("PANIC => {info}");
        if let EventLog::Run(log) = run_output::event_log() {
            eprintln!(
                "=== PANIC ===\nA fatal error happened, you can check the experiment logs here => '{}'\n=============",
                log.path.display()
            );
        }
        hook(info);
    }));
}

/// The log of each run.
struct LogsOfRuns;

impl<'a> MakeWriter<'a> for LogsOfRuns {
    type Writer = Event;

    fn make_writer(&'a self) -> Event {
        match run_output::event_log() {
            EventLog::Run(log) => Event::Logged(open_log(log)),
            EventLog::Unknown | EventLog::None => Event::Left,
        }
    }
}

/// The log's file, which begins again where it was removed while it is open. One that has taken its name can
/// be another run's, and gets no lines.
fn open_log(log: RunLog) -> Arc<File> {
    if log.is_replaced {
        return log.file;
    }
    let stat = log.file.metadata().ok();
    let (log, said) = match stat.map_or(Ok(false), |stat| regular_file::was_removed(&stat, &log.path)) {
        Ok(false) => return log.file,
        Ok(true) => {
            let again = regular_file::continued(&log.path, ExistingContent::Append);
            let Ok(again) = again else { return log.file };
            let said = regular_file::begins_again(&log.path);
            (RunLog { file: Arc::new(again.into_file()), ..log }, said)
        }
        Err(error) => {
            let path = log.path.display();
            let said = format!("the log {path} cannot be written: {error}. Training continues without it");
            (RunLog { is_replaced: true, ..log }, said)
        }
    };
    // First, so that it is said once.
    run_output::set_event_log(log.clone());
    // No event: one is being logged.
    warn_unlogged(&said);
    log.file
}

/// Where an event goes while several runs are open, from a thread of which it is not known to which of them
/// it belongs: no run's log has lines of another run, and a warning is not lost.
struct EventsOfUnknownRuns;

impl<'a> MakeWriter<'a> for EventsOfUnknownRuns {
    type Writer = Event;

    fn make_writer(&'a self) -> Event {
        match run_output::event_log() {
            EventLog::Unknown => Event::Printed,
            EventLog::Run(_) | EventLog::None => Event::Left,
        }
    }
}

/// Takes an event, whole. The file is open for appending, so that those of several threads do not mix.
enum Event {
    Logged(Arc<File>),
    Printed,
    Left,
}

impl Write for Event {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Logged(file) => (&**file).write(bytes),
            Self::Printed => io::stderr().write(bytes),
            Self::Left => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Logged(file) => (&**file).flush(),
            Self::Printed | Self::Left => Ok(()),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use super::*;
    use crate::process::progress::progress_mode::ProgressMode;
    use crate::process::run_output::OpenOutput;

    #[test]
    fn a_log_that_is_removed_begins_again_and_a_file_that_has_taken_its_name_gets_no_lines() {
        let root = tempfile::tempdir().unwrap();
        let [path, other] = [EXPERIMENT_LOG, "other"].map(|name| root.path().join(name));
        let output = OpenOutput::open("r1", ProgressMode::Off);
        let _entered = output.enter();
        let file = regular_file::continued(&path, ExistingContent::Append).unwrap().into_file();
        run_output::set_event_log(RunLog { file: Arc::new(file), path: path.clone(), is_replaced: false });
        let log = |line: &str| {
            let EventLog::Run(log) = run_output::event_log() else { panic!() };
            (&*open_log(log)).write_all(line.as_bytes()).unwrap();
        };
        log("first\n");
        fs::remove_file(&path).unwrap();
        log("second\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        fs::write(&other, "of another run\n").unwrap();
        fs::rename(&other, &path).unwrap();
        for line in ["third\n", "fourth\n"] {
            log(line);
            assert_eq!(fs::read_to_string(&path).unwrap(), "of another run\n");
        }
    }
}
