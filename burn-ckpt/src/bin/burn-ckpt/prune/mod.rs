//! `burn-ckpt prune`: removes checkpoints of a run by rules that say which stay.
//!
//! First the rules decide, then the files that stay are verified, then the others are removed, the oldest
//! first. The run's lock is held all the time. A complete file that a link points to is never removed.

pub mod check_whole;
mod keep_end;
pub mod rules;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{
    LockMode, RunLock, TAGS_FILE, check_own, real_path, remove_checkpoint, remove_link, storage,
};
use burn_ckpt::retention::MetricMode;
use burn_ckpt::{Error, RunLayout, chain};
use serde_json::{Value, json};

use crate::ls::broken::{Broken, find_damaged};
use crate::ls::listing::{Listing, Row};
use crate::parallel_verify::identity;
use crate::runs::run_directory::run_with_checkpoints;
use crate::terminal::figures::{count, size};
use crate::terminal::output::{Output, say};
use crate::terminal::printable::in_one_line;
use crate::verb_result::{Failure, VerbResult};
use check_whole::check_whole;
use rules::{Rule, parse_mode};

/// Remove checkpoints of a run by rules that say which stay
///
/// A checkpoint stays if any rule keeps it. Rules:
///
///   last=N         the N newest
///   best=METRIC:N  the N best by a metric: best=val_loss:3, or
///                  best=val_loss:3:min if the run does not say whether lower
///                  or higher is better
///   links          only the files that links point to, which every rule keeps
///
/// If a state has several names (in best/ and last/), all of them stay. Before
/// a file is removed, the files that stay are read and verified. If one of them
/// is not complete, or none would stay, no file is removed. Files that are known
/// not to be complete count for no rule, and are kept (see --broken). Unfinished
/// files of killed processes are removed. If only a removed file says how the run
/// ended, that is kept in metrics.jsonl. A run that is being written to is an
/// error. Prints one line per removed file.
///
/// Exit status 1 if no file can be removed safely.
#[derive(clap::Args)]
#[command(
    verbatim_doc_comment,
    override_usage = "burn-ckpt prune [OPTIONS] <RUN> --keep <RULE> [--keep <RULE>]..\n       burn-ckpt prune [OPTIONS] <RUN> --broken"
)]
pub struct Args {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// What stays; give it once for each rule
    #[arg(long, value_name = "last=N|best=..|links", required_unless_present = "broken")]
    keep: Vec<Rule>,
    /// Whether lower or higher values are better, for metrics where neither the rule nor the run says so
    #[arg(long, value_name = "min|max", value_parser = parse_mode, requires = "keep")]
    mode: Option<MetricMode>,
    /// Remove files that are not complete as well, with the links that lead to them, and read all files to
    /// find them; without --keep, these alone
    #[arg(long)]
    broken: bool,
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> VerbResult {
    #[cfg(feature = "mirror")]
    if let Some(address) = crate::mirror::address_of(&args.run)? {
        if args.broken {
            let message = "--broken is not for addresses: a checkpoint in a mirror that is not whole stays";
            return Err(Failure::Usage(message.to_owned()));
        }
        return crate::mirror::prune::run(&address, &args.keep, args.mode, args.dry_run, args.json);
    }
    let run = run_with_checkpoints(&args.run)?;
    check_is_own(run.run_dir())?;
    let lock = lock(run.run_dir(), args)?;
    let mut listing = Listing::of_run(&run)?;
    for error in std::mem::take(&mut listing.unreadable) {
        match &error {
            // Tags do not say what has to stay.
            Error::Metadata { path, .. } if path.ends_with(TAGS_FILE) => {
                say(format!("warning: {}", chain(&error)));
            }
            // What is in there could be what has to stay.
            _ => return Err(error.into()),
        }
    }
    if args.broken {
        find_damaged(&mut listing)?;
    }
    let plan = Plan::of(&listing, args)?;
    plan.broken.iter().for_each(|broken| broken.say(&listing, args.broken));
    let to_remove = plan.to_remove(args.broken);
    if !to_remove.is_empty() {
        verify_kept(&plan.kept, args)?;
        if !args.dry_run {
            keep_end::keep_end(run.run_dir(), &listing, &to_remove)?;
        }
    }
    let mut output = Output::new();
    let (done, failure) = remove(&to_remove, &plan, &listing, args, &mut output);
    // Without a lock they can be those of a process that writes.
    let removes_unfinished = failure.is_none() && lock.as_ref().and_then(RunLock::unsupported).is_none();
    let unfinished = if removes_unfinished { remove_unfinished(&listing, args, &mut output)? } else { 0 };
    if args.json {
        output.json(&as_json(&plan, &done, &listing, args.dry_run))?;
    }
    output.flush()?;
    let freed: u64 = unfinished + done.iter().map(|(_, bytes)| bytes).sum::<u64>();
    let verb = if args.dry_run { "would be removed" } else { "removed" };
    let (removed, kept) = (count(done.len(), "file"), plan.kept.len());
    let broken = match plan.broken.len() - done.iter().filter(|(row, _)| row.problem.is_some()).count() {
        0 => String::new(),
        broken => format!(", and {broken} not whole"),
    };
    say(format!("{removed} {verb}, {} freed; {kept} kept{broken}", size(freed)));
    failure.map_or(Ok(true), Err)
}

/// The lock of the run, which is held while files are removed. A dry run takes none, as that would create a
/// directory and a file.
fn lock(run_dir: &Path, args: &Args) -> Result<Option<RunLock>, Failure> {
    if args.dry_run {
        return Ok(None);
    }
    let lock = RunLock::acquire_to_tidy(run_dir, LockMode::IfPossible)?;
    if let Some(error) = lock.unsupported() {
        say(format!(
            "warning: the file system of {} has no locks ({error}), so a process that is writing to this run cannot be noticed: \
             let none do so until this ends. Unfinished files stay",
            in_one_line(&run_dir.display().to_string())
        ));
    }
    Ok(Some(lock))
}

/// Fails if `checkpoint` is a link to another run's directory, whose lock is not held. A link to the run's
/// own directory is another name of the run.
fn check_is_own(run_dir: &Path) -> Result<(), Failure> {
    Ok(check_own(&RunLayout::at(real_path(run_dir)?))?)
}

/// Which files stay, and which are removed.
struct Plan<'a> {
    kept: Vec<&'a Row>,
    removed: Vec<&'a Row>,
    broken: Vec<Broken<'a>>,
}

impl<'a> Plan<'a> {
    fn of(listing: &'a Listing, args: &Args) -> Result<Self, Failure> {
        // Files beside the links or outside the run's directory are not removed.
        let is_removable = |row: &Row| {
            row.path.strip_prefix(&listing.directory).is_ok_and(|below| below.components().count() > 1)
        };
        let whole: Vec<&Row> = listing.rows.iter().filter(|row| row.problem.is_none()).collect();
        let mut stays: Vec<bool> = whole
            .iter()
            .map(|row| args.keep.is_empty() || !row.links.is_empty() || !is_removable(row))
            .collect();
        for rule in &args.keep {
            rule.mark(&whole, args.mode, &mut stays)?;
        }
        // All names of a state stay together.
        let states: Vec<_> =
            whole.iter().zip(&stays).filter(|(_, stays)| **stays).map(|(row, _)| rules::state(row)).collect();
        let (kept, removed) = whole.into_iter().partition(|row| states.contains(&rules::state(row)));
        Ok(Self { kept, removed, broken: Broken::of(listing) })
    }

    /// The files that no rule keeps, and those that are not complete if they are to be removed too.
    fn to_remove(&self, with_broken: bool) -> Vec<&'a Row> {
        let broken = self.broken.iter().filter(|broken| with_broken && broken.why_kept.is_none());
        self.removed.iter().copied().chain(broken.map(|broken| broken.row)).collect()
    }

    /// The links that are removed with a file.
    fn links_to(&self, row: &Row) -> &[PathBuf] {
        let broken = self.broken.iter().find(|broken| broken.row.path == row.path);
        broken.map_or(&[], |broken| &broken.links)
    }
}

/// Verifies the files that stay. An error if one of them is not complete, or none would stay.
fn verify_kept(kept: &[&Row], args: &Args) -> Result<(), Failure> {
    if kept.is_empty() {
        let run = args.run.display();
        let reason = "no valid checkpoint would stay; nothing is removed";
        return Err(Failure::Other(format!("{run}: {reason}")));
    }
    // With --broken that was done, and those that are not complete are none of these.
    if args.broken {
        return Ok(());
    }
    let paths: Vec<PathBuf> = kept.iter().map(|row| row.path.clone()).collect();
    check_whole(&paths, "--broken removes damaged files")
}

/// Removes files, prints a line for each, and stops at the first error. Returns the removed files with the
/// bytes that each freed.
fn remove<'a>(
    rows: &[&'a Row],
    plan: &Plan<'_>,
    listing: &Listing,
    args: &Args,
    output: &mut Output,
) -> (Vec<(&'a Row, u64)>, Option<Failure>) {
    let mut removed_names: HashMap<String, u64> = HashMap::new();
    let mut done = Vec::new();
    for row in rows {
        // A file's bytes are freed when its last name is removed.
        let (file, names) = (identity(&row.path), names(&row.path));
        let removed = removed_names.entry(file).or_insert(0);
        *removed += 1;
        // In a dry run, the file keeps its number of names. Otherwise it has one name less after each
        // removal.
        let is_last = if args.dry_run { *removed >= names } else { names <= 1 };
        let freed = if is_last { row.bytes } else { 0 };
        // The links first: none leads to a file that is gone.
        let links = plan.links_to(row);
        let remove_all = || {
            links.iter().try_for_each(|link| remove_link(link)).and_then(|()| remove_checkpoint(&row.path))
        };
        if !args.dry_run
            && let Err(error) = remove_all()
        {
            return (done, Some(error.into()));
        }
        done.push((*row, freed));
        let verb = if args.dry_run { "would remove" } else { "removed" };
        let size = if is_last { size(freed) } else { "has another name".to_owned() };
        let links = links.iter().map(|link| (link, "link".to_owned()));
        for (path, what) in links.chain([(&row.path, size)]).filter(|_| !args.json) {
            let line = format!("{verb}  {}  {what}", in_one_line(&listing.shown(path)));
            if let Err(failure) = output.line(line).and_then(|()| output.flush()) {
                return (done, Some(failure));
            }
        }
    }
    (done, None)
}

/// Removes what killed processes left, with a line for each. Returns the bytes that are freed.
fn remove_unfinished(listing: &Listing, args: &Args, output: &mut Output) -> Result<u64, Failure> {
    let mut freed = 0;
    for (path, bytes) in &listing.unfinished {
        if !args.dry_run {
            burn_ckpt::plumbing::remove_unfinished(path)?;
        }
        freed += bytes;
        let verb = if args.dry_run { "would remove" } else { "removed" };
        if !args.json {
            output.line(format!(
                "{verb}  {}  {} (unfinished)",
                in_one_line(&listing.shown(path)),
                size(*bytes)
            ))?;
        }
    }
    Ok(freed)
}

/// The number of a file's names (hard links).
fn names(path: &Path) -> u64 {
    #[cfg(unix)]
    if let Ok(Some(stat)) = storage::stat(path) {
        return std::os::unix::fs::MetadataExt::nlink(&stat);
    }
    let _ = path;
    1
}

fn as_json(plan: &Plan<'_>, done: &[(&Row, u64)], listing: &Listing, dry_run: bool) -> Value {
    let file = |row: &Row| listing.shown(&row.path);
    json!({
        "directory": listing.directory.display().to_string(),
        "dry_run": dry_run,
        "removed": done
            .iter()
            .map(|(row, freed)| json!({ "file": file(row), "freed_bytes": freed }))
            .collect::<Vec<_>>(),
        "removed_links": done
            .iter()
            .flat_map(|(row, _)| plan.links_to(row))
            .map(|link| listing.shown(link))
            .collect::<Vec<_>>(),
        "kept": plan
            .kept
            .iter()
            .map(|row| json!({ "file": file(row), "links": row.links }))
            .collect::<Vec<_>>(),
        "unfinished": listing.unfinished_json(),
        "broken": plan
            .broken
            .iter()
            .map(|broken| json!({ "file": file(broken.row), "problem": broken.problem() }))
            .collect::<Vec<_>>(),
    })
}
