//! `burn-ckpt describe`: rewrites the metadata file beside a checkpoint, from the checkpoint alone.

use std::io::Write;
use std::path::PathBuf;

use burn_ckpt::plumbing::{Existing, metadata_path, write_whole};
use burn_ckpt::{Checkpoint, Error, Metadata};
use serde_json::json;

use crate::foreign::check_destination_beside;
use crate::parallel_verify::describe;
use crate::terminal::output::Output;
use crate::terminal::printable::in_one_line;
use crate::verb_result::VerbResult;

/// Rewrite the metadata file beside a checkpoint
///
/// Reads the whole checkpoint, compares it with the digests in it, and writes <CKPT>.metadata.json as it was
/// written with the checkpoint. Needs a checkpoint of format 2, which has its metadata itself. Such a
/// checkpoint loads and resumes without that file, which is for people and other programs.
#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint: a file, a link, RUN/best, RUN/last
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Replace a metadata file that is there
    #[arg(long)]
    force: bool,
    /// Print JSON: what was described, and what was written
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> VerbResult {
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let path = metadata_path(checkpoint.path());
    check_destination_beside(&path, args.force)?;
    let metadata: Metadata = describe(&checkpoint)?;
    let text = metadata.to_json()?;
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    write_whole(&path, existing, |file| file.write_all(text.as_bytes()).map_err(Error::io("write", &path)))?;
    let mut output = Output::new();
    if args.json {
        output.json(&json!({
            "from": checkpoint.path().display().to_string(),
            "path": path.display().to_string(),
            "run_id": metadata.run_id,
            "epoch": metadata.epoch,
            "global_step": metadata.global_step,
            "size_bytes": metadata.total_bytes(),
            "checkpoint_checksum": metadata.checkpoint_checksum,
        }))?;
    } else {
        output.line(format!("wrote {}", in_one_line(&path.display().to_string())))?;
    }
    output.flush()?;
    Ok(true)
}
