//! A page about one run or several, for a browser: one HTML file that needs no network. It has the curves of
//! every metric, the settings, the model, the machine, each start of the run, and its checkpoints.
//!
//! [`RunReport::of`] makes the page of some directories. [`ReportedRun`] adds a run's status to it. The
//! program `burn-ckpt report` writes the same page.

// `run_data` reads a run with `checkpoint_data` and `start_data`, `commands` says what can be done with it,
// `curves` thins what it logged, `number_block` packs the numbers, and `page` puts it together.

mod checkpoint_data;
mod commands;
mod curves;
mod number_block;
mod page;
mod run_data;
mod start_data;

use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;

use crate::disk::directories::entry;
use crate::disk::staged_file::{Existing, write_whole};
use crate::error::{Error, Result};
use crate::run_dir::display_files::report_page::is_report_page;
use page::Page;
use run_data::{RunData, Status};

/// A page about runs, for a browser: their curves, settings and checkpoints in one HTML file.
///
/// ```no_run
/// # fn main() -> burn_ckpt::Result<()> {
/// use burn_ckpt::report::RunReport;
///
/// RunReport::of(["runs/a", "runs/b"])?.write("report.html")?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct RunReport {
    runs: Vec<ReportedRun>,
}

/// A run that was read for a [`RunReport`], with an optional status.
///
/// ```no_run
/// # fn main() -> burn_ckpt::Result<()> {
/// use burn_ckpt::report::{ReportedRun, RunReport};
///
/// let run = ReportedRun::read("runs/a")?.with_status("running", "on gpu-7");
/// RunReport::new([run]).write("report.html")?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ReportedRun(RunData);

/// A page that was written by [`RunReport::write`].
///
/// ```no_run
/// # fn main() -> burn_ckpt::Result<()> {
/// # use burn_ckpt::report::RunReport;
/// let written = RunReport::of(["runs/a"])?.write("report.html")?;
/// println!("{} bytes {}", written.bytes, written.left_out.join(" "));
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct WrittenReport {
    /// Its size.
    pub bytes: u64,
    /// What of the runs it does not have, and why, in sentences that the page has too. Points that are
    /// thinned and digits that are rounded are not among them.
    pub left_out: Vec<String>,
}

impl ReportedRun {
    /// Reads what a run's directory has. The page names what cannot be read of it, and shows the rest.
    ///
    /// # Errors
    ///
    /// [`Error::NothingToReport`] for a directory that is not a run's, or has neither a checkpoint nor a
    /// logged metric; [`Error::Io`] when it cannot be read.
    pub fn read(run: impl AsRef<Path>) -> Result<Self> {
        RunData::read(run.as_ref()).map(Self)
    }

    /// What of the run cannot be read: the page names it too.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.0.problems
    }

    /// Sets what the run does, in a word (`running`, `done`, `failed`, ..), and why, which may be empty.
    #[must_use]
    pub fn with_status(mut self, word: impl Into<String>, why: impl Into<String>) -> Self {
        self.0.status = Status { word: word.into(), why: why.into() };
        self
    }
}

impl RunReport {
    /// A page about these runs.
    #[must_use]
    pub fn new(runs: impl IntoIterator<Item = ReportedRun>) -> Self {
        Self { runs: runs.into_iter().collect() }
    }

    /// A page about the runs in these directories.
    ///
    /// # Errors
    ///
    /// As for [`ReportedRun::read`].
    pub fn of(runs: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<Self> {
        Ok(Self { runs: runs.into_iter().map(ReportedRun::read).collect::<Result<_>>()? })
    }

    /// The page: at most 1 MB for 10 runs with 20 metrics of 2,000 points. Where there is more, curves are
    /// thinned, and their numbers are rounded, and the page says so.
    /// Beside the settings of very many runs it has half a megabyte of curves.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the curves cannot be compressed.
    pub fn html(&self) -> Result<String> {
        self.page().map(|page| page.html)
    }

    fn page(&self) -> Result<Page> {
        let runs: Vec<&RunData> = self.runs.iter().map(|run| &run.0).collect();
        page::html(&runs, Timestamp::now())
            .map_err(Error::io("compress the curves of", Path::new("the report")))
    }

    /// Writes the page. A page that is there is replaced when the new one is
    /// complete.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be written, or there is a file of this name that is not an earlier
    /// page: it is kept.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<WrittenReport> {
        let path = path.as_ref();
        if let Some(there) = entry(path)?
            && !is_report_page(path)?
        {
            let (kind, reason) = if there.is_dir() {
                (io::ErrorKind::IsADirectory, "it is a directory: name a file in it, or move it away")
            } else if there.is_file() {
                let reason =
                    "there is another file of this name, which is not a page of burn-ckpt: move it away";
                (io::ErrorKind::AlreadyExists, reason)
            } else {
                (
                    io::ErrorKind::InvalidInput,
                    "it is a link, a device or a pipe: name a file, or move it away",
                )
            };
            return Err(Error::io("write", path)(io::Error::new(kind, reason)));
        }
        let Page { html, left_out } = self.page()?;
        write_whole(path, Existing::Replace, |file| {
            file.write_all(html.as_bytes()).map_err(Error::io("write", path))
        })?;
        Ok(WrittenReport { bytes: html.len() as u64, left_out })
    }
}
