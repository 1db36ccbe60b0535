//! `burn-ckpt verify`: reads every byte of checkpoints and compares them with the digests in their metadata.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use burn_ckpt::chain;
use burn_ckpt::plumbing::{is_checkpoint, is_directory, stat, storage};
use burn_ckpt::{Error, Metadata, locate};
use serde_json::{Value, json};

use crate::ls::listing::{is_without_metadata, reason};
use crate::ls::listings_of::listings;
use crate::parallel_verify::{all_processors, verify_all};
use crate::terminal::figures::count;
use crate::terminal::output::{Output, say};
use crate::terminal::printable::in_one_line;
use crate::verb_result::{Failure, VerbResult};

/// Read checkpoints completely and compare them with their digests
///
/// Compares the file's size and SHA-256, every tensor's BLAKE3, and the tensors
/// and hyperparameters in the file's header with the metadata. Prints one line
/// per checkpoint, which begins with its state:
///
///   verified  its bytes are those that were written
///   damaged   its bytes are not those that were written
///   unknown   it has no metadata to compare with, cannot be read, or
///             is not a checkpoint
///   missing   a link points to a missing file
///
/// Exit status 1 unless all are verified.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Checkpoints (a file, a link, RUN/best, RUN/last), or directories as in ls
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Number of threads that read and hash; by default, the number of processors
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Print only those that are not verified
    #[arg(long, short)]
    quiet: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> VerbResult {
    let mut output = Output::new();
    let NamedCheckpoints { checkpoints, broken, missing, failed } = find(&args.paths);
    let (mut good, mut outcomes) = (0, Vec::new());
    let mut print = |verified: Verified| -> Result<(), Failure> {
        if args.quiet && verified.state == VERIFIED {
            return Ok(());
        }
        if args.json {
            outcomes.push(verified.as_json());
            return Ok(());
        }
        output.line(verified.line())?;
        output.flush()
    };
    verify_all(&checkpoints, args.jobs.unwrap_or_else(all_processors), |path, outcome| {
        good += usize::from(outcome.is_ok());
        print(Verified::new(path, outcome))
    })?;
    let named = checkpoints.len() + broken.len() + missing.len();
    for (path, error) in broken {
        print(Verified::new(&path, Err(error)))?;
    }
    for (link, target) in &missing {
        let said = format!("the link points to a missing file: {}", target.display());
        print(Verified { path: link.clone(), state: "missing", said })?;
    }
    if args.json {
        let failed = failed.iter().map(|(path, problem)| {
            Verified { path: path.clone(), state: UNKNOWN, said: problem.clone() }.as_json()
        });
        output.json(&Value::from(outcomes.into_iter().chain(failed).collect::<Vec<_>>()))?;
    }
    output.flush()?;
    say(summary(good, named, failed.len()));
    Ok(good == named && failed.is_empty())
}

/// How many checkpoints of so many are verified, and how many paths name none that can be read.
fn summary(verified: usize, all: usize, failed: usize) -> String {
    let checkpoints = count(all, "checkpoint");
    let checkpoints = match all {
        0 => checkpoints,
        _ if verified == all => format!("{checkpoints}, all verified"),
        _ => format!("{checkpoints}, {} not verified", all - verified),
    };
    match failed {
        0 => checkpoints,
        _ => format!("{checkpoints}; {} not read", count(failed, "path")),
    }
}

/// The checkpoints that the paths name.
#[derive(Default)]
struct NamedCheckpoints {
    checkpoints: Vec<PathBuf>,
    /// Those of a mirror that are known not to be complete, and links that are not in the format of one.
    broken: Vec<(PathBuf, Error)>,
    /// Links to missing files, with their targets.
    missing: Vec<(PathBuf, PathBuf)>,
    /// The paths of which no checkpoints could be found, and why. An error has been printed for each.
    failed: Vec<(PathBuf, String)>,
}

fn find(paths: &[PathBuf]) -> NamedCheckpoints {
    let mut found = NamedCheckpoints::default();
    for path in paths {
        if let Err(failure) = found.add(path) {
            found.fail(path, chain(&failure));
        }
    }
    found
}

impl NamedCheckpoints {
    fn fail(&mut self, path: &Path, problem: String) {
        say(format!("error: {problem}"));
        self.failed.push((path.to_path_buf(), problem));
    }

    fn add(&mut self, path: &Path) -> Result<(), Failure> {
        #[cfg(feature = "mirror")]
        if let Some(address) = crate::mirror::address_of(path)? {
            let found = crate::mirror::checkpoints_at(&address)?;
            self.checkpoints.extend(found.checkpoints);
            self.broken.extend(found.broken);
            self.missing.extend(found.missing);
            for (run, error) in found.unreadable {
                self.fail(Path::new(&run), format!("{run} cannot be read: {}", chain(&error)));
            }
            return Ok(());
        }
        if is_directory(path)? {
            for listing in listings(path)? {
                listing.unreadable.iter().for_each(|error| self.fail(&listing.directory, chain(error)));
                self.checkpoints.extend(listing.rows.into_iter().map(|row| row.path));
                self.missing.extend(listing.dangling.into_iter().map(|link| (link.path, link.target)));
            }
            return Ok(());
        }
        match storage::read_link(path).map_err(Error::io("read the link", path))? {
            Some(target) if stat(path)?.is_none() => {
                self.missing.push((path.to_path_buf(), target));
            }
            _ => self.checkpoints.push(locate(path)?),
        }
        Ok(())
    }
}

const VERIFIED: &str = "verified";
const UNKNOWN: &str = "unknown";

/// What was found of a path.
struct Verified {
    path: PathBuf,
    state: &'static str,
    /// The SHA-256 of a verified checkpoint, or what is wrong.
    said: String,
}

impl Verified {
    fn new(path: &Path, outcome: Result<Metadata, Error>) -> Self {
        let (state, said) = match &outcome {
            Ok(metadata) => (VERIFIED, metadata.checkpoint_checksum.clone()),
            Err(error) if is_without_metadata(error) => {
                (UNKNOWN, "it has no metadata to compare its bytes with".to_owned())
            }
            // What has the name of a checkpoint was one.
            Err(error @ Error::NotACheckpoint { path: file, .. }) if file == path => {
                let state = if is_checkpoint(path) { "damaged" } else { UNKNOWN };
                (state, format!("it is not a checkpoint: {}", reason(error)))
            }
            Err(error @ (Error::Checksum { .. } | Error::Damaged { .. } | Error::NotACheckpoint { .. })) => {
                ("damaged", reason(error))
            }
            // A newer version wrote it, its metadata is invalid, or it cannot be read.
            Err(error) => (UNKNOWN, reason(error)),
        };
        Self { path: path.to_path_buf(), state, said }
    }

    fn line(&self) -> String {
        let (path, said) = (in_one_line(&self.path.display().to_string()), in_one_line(&self.said));
        let between = if self.state == VERIFIED { "  " } else { ": " };
        format!("{:<8}  {path}{between}{said}", self.state)
    }

    fn as_json(&self) -> Value {
        let is_verified = self.state == VERIFIED;
        json!({
            "path": self.path.display().to_string(),
            "state": self.state,
            "checkpoint_checksum": is_verified.then_some(&self.said),
            "problem": (!is_verified).then_some(&self.said),
        })
    }
}
