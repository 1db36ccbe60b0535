//! `--resume RUN`: the hyperparameters and the configuration of a run, from its newest checkpoint.

use std::path::{Component, Path, PathBuf};

use burn_ckpt::plumbing::{CHECKPOINT_DIR, is_address, is_directory, is_there, outside_directories};
use burn_ckpt::{Catalog, CatalogEntry, Metadata, RunLayout, locate};
use serde::de::DeserializeOwned;

use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::run::find_checkpoint::first_usable;
use crate::saving::run_checkpoints::{epochs_to_resume_after, scan};

/// Replaces both configurations by those of the run, and has the trainer resume it.
///
/// `run` is the run's directory, its id below `trainer`'s directory of runs, or one of its checkpoints.
pub(super) fn resume<C: DeserializeOwned>(
    run: &Path,
    trainer: &mut TrainerConfig,
    program: &mut C,
) -> Result<()> {
    if is_address(run) {
        let reason = "it is an address: copy the run (burn-ckpt cp ADDRESS DIRECTORY), and give the copy; or start it with the \
                      same settings where only the mirror has it: --run-id ID --ckpt-path auto --mirror ADDRESS";
        return Err(Error::config("--resume", reason));
    }
    let ResumedRun { run_dir, ckpt_path, metadata } = find(run, trainer)?;
    let unreadable = |what: &str, error: serde_json::Error| {
        let place = run_dir.display();
        wrong(run, format!("the {what} in the checkpoint of {place} do not fit this program: {error}"))
    };
    let (progress, rank, read_at_end) = (trainer.progress, trainer.rank, trainer.read_at_end.take());
    *trainer = serde_json::from_value(metadata.trainer_config)
        .map_err(|error| unreadable("trainer's settings", error))?;
    *program =
        serde_json::from_value(metadata.hparams).map_err(|error| unreadable("hyperparameters", error))?;
    let (root, logs, run_id) = parts(&run_dir).ok_or_else(|| {
        wrong(run, format!("{} is not a directory in a directory of runs", run_dir.display()))
    })?;
    (trainer.root, trainer.logs, trainer.run_id) = (root, logs, Some(run_id));
    trainer.ckpt_path = Some(ckpt_path);
    trainer.overwrite = false;
    // Not of the run, but of this start. The process of rank 0 has saved the checkpoint.
    (trainer.progress, trainer.rank, trainer.read_at_end) = (progress, rank, read_at_end);
    Ok(())
}

/// What `--resume` names.
struct ResumedRun {
    run_dir: PathBuf,
    /// What the configuration's `ckpt_path` is to be.
    ckpt_path: String,
    /// The metadata with the settings.
    metadata: Metadata,
}

fn find(run: &Path, trainer: &TrainerConfig) -> Result<ResumedRun> {
    let by_id = trainer.root.join(&trainer.logs).join(run);
    let mut run_dir = None;
    for path in [run, &by_id] {
        if run_dir.is_none() && is_directory(&path.join(CHECKPOINT_DIR))? {
            run_dir = Some(path);
        }
    }
    if let Some(run_dir) = run_dir {
        let layout = RunLayout::at(run_dir);
        let present = scan(&layout, &outside_directories(&layout)?)?;
        let Some(newest) = that_auto_resumes(present) else {
            return Err(wrong(run, format!("{} has no checkpoint to resume from", run_dir.display())));
        };
        return Ok(ResumedRun {
            run_dir: run_dir.to_path_buf(),
            ckpt_path: "auto".to_owned(),
            metadata: newest.metadata,
        });
    }
    if is_directory(&by_id)? || (run.components().count() == 1 && !is_there(run)?) {
        let reason = format!("there is no run {}, and no checkpoint {}", by_id.display(), run.display());
        return Err(wrong(run, reason));
    }
    let checkpoint = locate(run)?;
    let metadata = Metadata::of_checkpoint(&checkpoint)?;
    let Some(ckpt_path) = run.to_str() else { return Err(wrong(run, "it is not UTF-8".to_owned())) };
    let is_of_run = |path: &&Path| path.file_name().is_some_and(|name| name == CHECKPOINT_DIR);
    match checkpoint.ancestors().find(is_of_run).and_then(Path::parent) {
        Some(run_dir) => {
            Ok(ResumedRun { run_dir: run_dir.to_path_buf(), ckpt_path: ckpt_path.to_owned(), metadata })
        }
        None => Err(wrong(
            run,
            "this checkpoint is not in a run's directory: begin a new run with it by --ckpt-path".to_owned(),
        )),
    }
}

/// The checkpoint that `auto` resumes. Where there is none, the newest one that can be opened and has a
/// state: `auto` says why it skips each.
fn that_auto_resumes(present: Catalog) -> Option<CatalogEntry> {
    let found = first_usable(present.entries.iter().rev(), &mut Vec::new(), |_| Ok(()));
    let path = found.map(|resume| resume.checkpoint.path().to_path_buf());
    let is_it = |entry: &CatalogEntry| match &path {
        Some(path) => entry.path == *path,
        None => epochs_to_resume_after(&entry.path).is_some(),
    };
    present.entries.into_iter().rev().find(is_it)
}

/// Root, directory of runs and run id of a run's directory.
fn parts(run_dir: &Path) -> Option<(PathBuf, String, String)> {
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let is_plain = run_dir.components().all(|part| !matches!(part, Component::CurDir | Component::ParentDir));
    let absolute = std::path::absolute(run_dir).ok()?;
    // A relative path stays relative, so that lines and commands are as the user wrote them.
    let run_dir = if is_plain && run_dir.components().count() > 1 { run_dir } else { &absolute };
    let logs = run_dir.parent()?;
    let root = logs.parent()?;
    let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    Some((root.to_path_buf(), name(logs)?, name(run_dir)?))
}

fn wrong(run: &Path, reason: String) -> Error {
    Error::config(format!("--resume {}", run.display()), reason)
}

/// The directory of the run that a configuration names, as `--resume` takes it.
pub(super) fn run_dir(config: &TrainerConfig) -> PathBuf {
    config.root.join(&config.logs).join(config.run_id.as_deref().unwrap_or_default())
}

/// Whether `--resume` is among a program's arguments.
pub(super) fn is_given(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument == "--resume" || argument.starts_with("--resume="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_error_that_does_not_repeat_it() {
        for address in ["s3://hunter2@b/r1", "file:///hunter2/r1/last"] {
            let error = resume(Path::new(address), &mut TrainerConfig::new(), &mut ()).unwrap_err();
            assert!(matches!(&error, Error::Config { setting, .. } if setting == "--resume"), "{error:?}");
            let error = error.to_string();
            assert!(error.contains("--mirror ADDRESS") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_runs_directory_has_a_root_a_directory_of_runs_and_an_id() {
        let found = |path: &str| parts(Path::new(path)).unwrap();
        let expected =
            |root: &str, logs: &str, id: &str| (PathBuf::from(root), logs.to_owned(), id.to_owned());
        assert_eq!(found("logs/r1"), expected(".", "logs", "r1"));
        assert_eq!(found("a/b/logs/r1/"), expected("a/b", "logs", "r1"));
        assert_eq!(found("/x/logs/r1"), expected("/x", "logs", "r1"));
        assert_eq!(found("r1").2, "r1");
    }
}
