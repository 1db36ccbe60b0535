//! `burn-ckpt verify`: whether checkpoints are what was written, by reading every byte.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use burn_ckpt::{Error, Metadata, locate};

use crate::answer::{Answer, Failure};
use crate::checking::{all_processors, verify_all};
use crate::ls::listing::{is_without_metadata, listings, reason};
use crate::terminal::figures::count;
use crate::terminal::output::{Output, in_one_line, say};

/// Read checkpoints whole and compare them with their digests
///
/// Compares size, SHA-256 of the file, BLAKE3 of every tensor, and what the file's header says of
/// tensors and hyperparameters with the metadata. Prints a line a checkpoint, which begins with what
/// it is:
///
///   whole    its bytes are those that were written
///   damaged  they are not
///   unknown  there is nothing to compare them with, or they cannot be read
///   missing  a link leads nowhere
///
/// Exit status 1 unless all are whole.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Checkpoints (a file, a link, RUN/best, RUN/last), or directories as for ls
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Threads that read and hash; as many as there are processors by default
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Print only those that are not whole
    #[arg(long, short)]
    quiet: bool,
}

pub fn run(args: &Args) -> Answer {
    let mut output = Output::new();
    let Found { checkpoints, missing, mut failed } = find(&args.paths);
    let mut whole = 0;
    verify_all(&checkpoints, args.jobs.unwrap_or_else(all_processors), |path, outcome| {
        match outcome {
            Ok(metadata) => {
                whole += 1;
                if !args.quiet {
                    output.line(line(path, &metadata))?;
                }
            }
            Err(error) => output.line(complaint(path, &error))?,
        }
        output.flush()
    })?;
    for (link, target) in &missing {
        output.line(format!("missing  {}: the link leads nowhere: {}", one(link), one(target)))?;
    }
    output.flush()?;
    failed += checkpoints.len() - whole + missing.len();
    say(match failed {
        0 => format!("{}, all whole", count(whole, "checkpoint")),
        _ => format!("{}, {failed} not whole", count(whole + failed, "checkpoint")),
    });
    Ok(failed == 0)
}

/// What the paths stand for.
struct Found {
    checkpoints: Vec<PathBuf>,
    /// Links that lead nowhere, with where that is.
    missing: Vec<(PathBuf, PathBuf)>,
    /// Paths that stand for nothing, which has been said.
    failed: usize,
}

fn find(paths: &[PathBuf]) -> Found {
    let mut found = Found { checkpoints: Vec::new(), missing: Vec::new(), failed: 0 };
    for path in paths {
        let named = if path.is_dir() {
            listings(path).map(|listings| {
                for listing in listings {
                    found.checkpoints.extend(listing.rows.into_iter().map(|row| row.path));
                    found.missing.extend(listing.dangling.into_iter().map(|link| (link.path, link.target)));
                }
            })
        } else if let Ok(target) = std::fs::read_link(path)
            && !path.exists()
        {
            found.missing.push((path.clone(), target));
            Ok(())
        } else {
            locate(path).map(|checkpoint| found.checkpoints.push(checkpoint)).map_err(Failure::from)
        };
        if let Err(failure) = named {
            say(format!("error: {failure}"));
            found.failed += 1;
        }
    }
    found
}

fn line(path: &Path, metadata: &Metadata) -> String {
    format!("whole    {}  {}", one(path), metadata.checkpoint_checksum)
}

fn complaint(path: &Path, error: &Error) -> String {
    let (state, reason) = match error {
        error if is_without_metadata(error) => {
            ("unknown", "it has no metadata, and so nothing to compare its bytes with".to_owned())
        }
        Error::Checksum { .. } | Error::NotACheckpoint { .. } => ("damaged", reason(error)),
        // What it is cannot be said: it is too new, its metadata is no such, the disk does not read.
        error => ("unknown", reason(error)),
    };
    format!("{state}  {}: {}", one(path), in_one_line(&reason))
}

fn one(path: &Path) -> String {
    in_one_line(&path.display().to_string())
}
