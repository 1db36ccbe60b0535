//! burn's log of a run, `experiment.log`.
//!
//! The same as burn's own installer makes, but for the file: burn opens whatever the path leads to at that
//! moment, and panics where it cannot. Here it is opened by us, and burn's events are written to what is
//! open.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use burn::train::ApplicationLoggerInstaller;
use burn_ckpt::plumbing::storage::ExistingContent;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

use super::regular_file;
use crate::process::console::warn;

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
        write_events_to(file)?;
        report_panics_in(self.0.clone());
        Ok(())
    }
}

/// Has burn's events written to a file from now on. A process does that once.
fn write_events_to(file: File) -> Result<(), String> {
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(LogFile(file))
        .with_filter(LevelFilter::INFO)
        .with_filter(filter_fn(|event| {
            let is_talkative = event.module_path().is_some_and(|path| path.starts_with(TALKATIVE));
            !is_talkative || *event.level() < LevelFilter::INFO
        }));
    let installed = tracing_subscriber::registry().with(layer).try_init();
    installed.map_err(|error| format!("the process has another logger: {error}"))
}

/// Has panics logged, and says on standard error where.
fn report_panics_in(path: PathBuf) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        log::error!("PANIC => {info}");
        eprintln!(
            "=== PANIC ===\nA fatal error happened, you can check the experiment logs here => '{}'\n=============",
            path.display()
        );
        hook(info);
    }));
}

/// Writes an event at a time. The file is open for appending, so that those of several threads do not mix.
struct LogFile(File);

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event(&self.0)
    }
}

struct Event<'a>(&'a File);

impl Write for Event<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
