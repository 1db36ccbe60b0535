//! `burn-ckpt report`: a page about one run or several, for a browser.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use burn_ckpt::chain;
use burn_ckpt::plumbing::{real_path, size};
use burn_ckpt::report::{ReportedRun, RunReport, WrittenReport};
use serde_json::{Value, json};

use crate::runs::find;
use crate::runs::in_parallel::in_parallel;
use crate::runs::status::StatusKind;
use crate::runs::summary::RunSummary;
use crate::terminal::figures::count;
use crate::terminal::output::{Output, say};
use crate::terminal::printable::in_one_line;
use crate::verb_result::{Failure, VerbResult};

/// The names of standard output, where no file is written.
const STANDARD_OUTPUT: [&str; 2] = ["-", "/dev/stdout"];

/// Endings of other formats, which a page is not.
const OF_OTHERS: [&str; 10] = ["csv", "jpeg", "jpg", "json", "jsonl", "md", "pdf", "png", "svg", "txt"];

/// Write a page about runs, for a browser
///
/// One HTML file that needs no network: the curves of every metric with the checkpoints, the settings, the
/// model, the starts, the environment, and the commands that resume, load and export. Several runs are drawn
/// into the same charts, with a table of the settings in which they differ. A run that cannot be read is
/// named on standard error, and the page has the others; so is what of a run cannot be read, and the page has
/// the rest. Exit status 1 then.
#[derive(clap::Args)]
pub struct Args {
    /// A run's directory, or a directory of runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The page. An earlier page is replaced, another file is kept; - writes to standard output
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
    /// Print JSON: the page's path, size and runs, and what is left out
    #[arg(long)]
    json: bool,
}

/// The runs that were found.
#[derive(Default)]
struct ReadRuns {
    reported: Vec<ReportedRun>,
    /// Those on the page, for JSON.
    runs: Vec<Value>,
    /// Those that cannot be read, and why.
    unreadable: Vec<Value>,
}

pub fn run(args: &Args) -> VerbResult {
    let goes_to_output = STANDARD_OUTPUT.iter().any(|name| args.output == Path::new(name));
    if args.json && goes_to_output {
        let message = "with --json the page cannot go to standard output too: name a file with --output";
        return Err(Failure::Usage(message.to_owned()));
    }
    check_name(&args.output, goes_to_output)?;
    let ReadRuns { reported, runs, unreadable } = find_runs(args)?;
    if reported.is_empty() {
        return Err(Failure::Other("none of the runs has anything to report".to_owned()));
    }
    let are_all_read = unreadable.is_empty();
    let mut output = Output::new();
    if goes_to_output {
        output.text(&RunReport::new(reported).html()?)?;
        output.flush()?;
        return Ok(are_all_read);
    }
    let written = RunReport::new(reported).write(&args.output)?;
    if args.json {
        output.json(&as_json(args, &written, &runs, &unreadable))?;
    } else {
        let shown = in_one_line(&args.output.display().to_string());
        output.line(format!("{shown}: {}, {}", count(runs.len(), "run"), size(written.bytes)))?;
        written.left_out.iter().for_each(|left_out| say(format!("note: {left_out}")));
    }
    output.flush()?;
    Ok(are_all_read)
}

/// Fails for a name that says of the page that it has another format.
fn check_name(page: &Path, goes_to_output: bool) -> Result<(), Failure> {
    let ending = page.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    if goes_to_output || ending.is_none_or(|ending| !OF_OTHERS.contains(&&*ending)) {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{} has the ending of another format, and the page is HTML: name it {}, or - for standard output",
        page.display(),
        page.with_extension("html").display()
    )))
}

impl ReadRuns {
    fn leave_out(&mut self, name: &str, directory: &Path, reason: &str) {
        say(format!("error: {name} is left out: {reason}"));
        self.add_unreadable(name, directory, reason);
    }

    fn add_unreadable(&mut self, name: &str, directory: &Path, reason: &str) {
        let directory = directory.display().to_string();
        self.unreadable.push(json!({ "run": name, "directory": directory, "problem": reason }));
    }

    fn add(&mut self, run: &RunSummary, read: ReportedRun) {
        let dangling = match run.not_whole.dangling() {
            0 => None,
            1 => Some("a link leads to a missing file".to_owned()),
            links => Some(format!("{links} links lead to missing files")),
        };
        for problem in read.problems().iter().chain(&dangling) {
            say(format!("warning: {}: {problem}", run.name));
            self.add_unreadable(&run.name, &run.directory, problem);
        }
        self.reported.push(read);
        self.runs.push(json!({
            "run": run.name,
            "directory": run.directory.display().to_string(),
            "status": run.status.kind.text(),
        }));
    }
}

/// Reads the runs. Of several, those that cannot be read are named.
fn find_runs(args: &Args) -> Result<ReadRuns, Failure> {
    let mut page = ReadRuns::default();
    let mut seen = HashSet::new();
    let is_one_path = args.runs.len() == 1;
    for path in &args.runs {
        let found = match find::runs(path) {
            Ok(found) => found,
            Err(error) if is_one_path => return Err(error),
            Err(error) => {
                page.leave_out(&path.display().to_string(), path, &chain(&error));
                continue;
            }
        };
        let is_alone = found.len() == 1;
        let mut runs = Vec::new();
        for run in found.into_iter().filter(|run| is_alone || run.status.kind != StatusKind::NotARun) {
            match real_path(&run.directory) {
                // A run that is named twice is on the page once.
                Ok(real) if !seen.insert(real.clone()) => {}
                Ok(_) => runs.push(run),
                Err(error) if is_alone && is_one_path => return Err(error.into()),
                Err(error) => page.leave_out(&run.name, &run.directory, &chain(&error)),
            }
        }
        for (run, read) in runs.iter().zip(in_parallel(&runs, read)) {
            match read {
                Ok(read) => page.add(run, read),
                Err(error) if is_alone && is_one_path => return Err(error.into()),
                Err(error) => page.leave_out(&run.name, &run.directory, &chain(&error)),
            }
        }
    }
    Ok(page)
}

fn as_json(args: &Args, written: &WrittenReport, runs: &[Value], unreadable: &[Value]) -> Value {
    json!({
        "path": args.output.display().to_string(),
        "size_bytes": written.bytes,
        "runs": runs,
        "unreadable": unreadable,
        "left_out": written.left_out,
    })
}

fn read(run: &RunSummary) -> burn_ckpt::Result<ReportedRun> {
    Ok(ReportedRun::read(&run.directory)?.with_status(run.status.kind.text(), &*run.status.why))
}
