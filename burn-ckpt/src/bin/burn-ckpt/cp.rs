//! `burn-ckpt cp`: copies a checkpoint with everything that belongs to it, and verifies the copy.

use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{Existing, copy_checkpoint, metadata_path, remove_written};
use burn_ckpt::{Checkpoint, Error, ErrorKind, Metadata, chain};

use crate::foreign::{check_destination, copy_destination, print_copied, same_file};
use crate::parallel_verify::{all_processors, verify_all};
use crate::verb_result::{Failure, VerbResult};

/// How often a checkpoint is looked for that a run replaces while it is copied.
const MAX_TRIES: u32 = 5;

/// Copy a checkpoint, and verify the copy
///
/// Copies the file, its metadata file, and the shards of a checkpoint of several files. A link is followed:
/// what is copied is the checkpoint itself. The copy is then read and compared with its digests; one that is
/// not whole is removed. Evaluations are not copied. With --force, a checkpoint of several files that another
/// of several replaces is NAME-replaced.ckpt until the new one is complete. Exit status 1 if the copy could
/// not be made, or is not whole.
///
/// From a mirror a whole run can be copied: s3://BUCKET/PREFIX/RUN to DEST/RUN, with evaluations, links and
/// the log of metrics. What is there already stays, so a copy that was interrupted continues.
#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint: a file, a link, RUN/best, RUN/last; or the address of a run in a mirror
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// A directory, where the copy keeps its name, or the name of the copy: NAME.ckpt
    #[arg(value_name = "DEST")]
    destination: PathBuf,
    /// Replace a checkpoint of that name, after the one that is copied was verified; of a run, what differs
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> VerbResult {
    #[cfg(feature = "mirror")]
    if let Some(address) = crate::mirror::address_of(&args.checkpoint)? {
        return crate::mirror::cp::run(&address, &args.destination, args.force, args.json);
    }
    let (source, destination) = copied(args)?;
    let metadata = verified(&destination).map_err(|error| {
        let removed = match remove_written(&destination) {
            Ok(()) => "it is removed".to_owned(),
            Err(error) => format!("it cannot be removed: {}", chain(&error)),
        };
        Failure::Other(format!(
            "the copy of {} is not whole, and {removed}: {}; burn-ckpt verify says whether the original is",
            source.display(),
            chain(&error)
        ))
    })?;
    print_copied(&source.display().to_string(), &destination, &metadata, args.json)
}

/// Makes the copy. A checkpoint that a run replaces meanwhile is looked for again by its name. Returns both
/// paths.
fn copied(args: &Args) -> Result<(PathBuf, PathBuf), Failure> {
    for _ in 1..MAX_TRIES {
        match copied_once(args) {
            Err(Failure::Checkpoint(error)) if error.kind() == ErrorKind::NotFound => {}
            done => return done,
        }
    }
    copied_once(args)
}

fn copied_once(args: &Args) -> Result<(PathBuf, PathBuf), Failure> {
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let source = checkpoint.path().to_path_buf();
    let destination = copy_destination(&args.destination, &source)?;
    if same_file(&source, &destination)? {
        return Err(Failure::Other(format!("{} is the checkpoint itself", destination.display())));
    }
    check_destination(&destination, args.force)?;
    check_destination(&metadata_path(&destination), args.force)?;
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    if args.force {
        // What it replaces may be whole.
        checkpoint.verify_with(all_processors(), &|_| ())?;
    }
    copy_checkpoint(&source, &destination, existing)?;
    Ok((source, destination))
}

fn verified(path: &Path) -> Result<Metadata, Failure> {
    let mut outcome = None;
    verify_all(&[path.to_path_buf()], all_processors(), |_, found: Result<Metadata, Error>| {
        outcome = Some(found);
        Ok(())
    })?;
    outcome.ok_or_else(|| Failure::Other("it was not verified".to_owned()))?.map_err(Failure::from)
}
