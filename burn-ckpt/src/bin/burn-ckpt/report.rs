//! `burn-ckpt report`: a page about one run or several, for a browser.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use burn_ckpt::chain;
use burn_ckpt::plumbing::{real_path, size};
use burn_ckpt::report::{ReportedRun, RunReport};

use crate::runs::find;
use crate::runs::status::StatusKind;
use crate::runs::summary::RunSummary;
use crate::terminal::figures::count;
use crate::terminal::output::{Output, say};
use crate::terminal::printable::in_one_line;
use crate::verb_result::{Failure, VerbResult};

/// The names of standard output, where no file is written.
const STANDARD_OUTPUT: [&str; 2] = ["-", "/dev/stdout"];

/// Write a page about runs, for a browser
///
/// One HTML file that needs no network: the curves of every metric with the checkpoints, the settings, the
/// model, the starts, the environment, and the commands that resume, load and export. Several runs are drawn
/// into the same charts, with a table of the settings in which they differ. A run that cannot be read is
/// named on standard error, and the page has the others. Exit status 1 then.
#[derive(clap::Args)]
pub struct Args {
    /// A run's directory, or a directory of runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The page. An earlier page is replaced, another file is kept; - writes to standard output
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
}

pub fn run(args: &Args) -> VerbResult {
    let (mut reported, mut are_all_read) = (Vec::new(), true);
    let mut seen = HashSet::new();
    for path in &args.runs {
        let found = find::runs(path)?;
        let is_alone = found.len() == 1;
        let runs = found.into_iter().filter(|run| is_alone || run.status.kind != StatusKind::NotARun);
        for run in runs {
            // A run that is named twice is on the page once.
            if !seen.insert(real_path(&run.directory)?) {
                continue;
            }
            match read(&run) {
                Ok(run) => reported.push(run),
                Err(error) if is_alone => return Err(error.into()),
                Err(error) => {
                    say(format!("error: {} is left out: {}", run.name, chain(&error)));
                    are_all_read = false;
                }
            }
        }
    }
    if reported.is_empty() {
        return Err(Failure::Other("none of the runs has anything to report".to_owned()));
    }
    let runs = count(reported.len(), "run");
    if STANDARD_OUTPUT.iter().any(|name| args.output == Path::new(name)) {
        let mut output = Output::new();
        output.bytes(RunReport::new(reported).html()?.as_bytes())?;
        output.flush()?;
        return Ok(are_all_read);
    }
    let written = RunReport::new(reported).write(&args.output)?;
    let shown = in_one_line(&args.output.display().to_string());
    say(format!("{shown}: {runs}, {}", size(written.bytes)));
    written.left_out.iter().for_each(|left_out| say(format!("note: {left_out}")));
    Ok(are_all_read)
}

fn read(run: &RunSummary) -> burn_ckpt::Result<ReportedRun> {
    Ok(ReportedRun::read(&run.directory)?.with_status(run.status.kind.text(), &*run.status.why))
}
