//! The commands that a page offers: those that work with what the run has.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::disk::storage;
use crate::format::metadata::Metadata;
use crate::format::section::Section;
use crate::load::checkpoint::Checkpoint;
use crate::printable::shell_word;
use crate::run_dir::catalog::CatalogEntry;
use crate::run_dir::layout::{BEST_DIR, DEFAULT_LOGS, LAST_DIR, RunLayout, check_run_id};
use crate::run_dir::locate::locate;
use crate::run_dir::training_progress::{epochs_done, is_done};

/// Where the environment in the metadata has the program.
const PROGRAM: &str = "/rust/program";

/// What a reader of the page types to work with the run: a title and a command each. A run without a
/// checkpoint has none, and one without a state that `auto` resumes from is not resumed.
pub(super) fn commands(
    layout: &RunLayout,
    entries: &[CatalogEntry],
    primary_metric: Option<&str>,
) -> Vec<(&'static str, String)> {
    let Some(newest) = entries.last() else { return Vec::new() };
    let checkpoint = named(layout, newest, primary_metric).display().to_string();
    // A relative path can begin as an option does.
    let checkpoint = if checkpoint.starts_with('-') { format!("./{checkpoint}") } else { checkpoint };
    let model = newest.metadata.model["type"].as_str().unwrap_or("Model");
    let word = shell_word(&checkpoint);
    let mut commands = Vec::new();
    if let Some(more) = entries.iter().rev().find_map(resumed) {
        commands.extend(resume(layout, &newest.metadata, &more));
    }
    commands.extend([
        ("Load in Rust", format!("let model = {model}::from_checkpoint({checkpoint:?}, &device)?;")),
        ("Verify", format!("burn-ckpt verify {word}")),
        ("Export to safetensors", format!("burn-ckpt export {word} model.safetensors")),
    ]);
    commands
}

/// The best checkpoint by a name that means one, or the newest.
fn named(layout: &RunLayout, newest: &CatalogEntry, primary_metric: Option<&str>) -> PathBuf {
    let best_of = primary_metric.map(|metric| format!("best_{metric}"));
    let names = [Some(BEST_DIR.to_owned()), best_of, Some(LAST_DIR.to_owned())];
    let paths = names.into_iter().flatten().map(|name| layout.run_dir().join(name));
    paths.into_iter().find(|path| locate(path).is_ok()).unwrap_or_else(|| newest.path.clone())
}

/// What the command that resumes from this checkpoint has beside the run, if `auto` resumes from it.
fn resumed(CatalogEntry { path, metadata }: &CatalogEntry) -> Option<String> {
    if !metadata.is_finite() {
        return None;
    }
    // One that cannot be opened is not resumed from.
    let checkpoint = Checkpoint::open(path).ok().filter(|found| found.has_section(Section::OPTIMIZER))?;
    let state = checkpoint.trainer_state().ok()?;
    let done = epochs_done(metadata, &state);
    let max_epochs = metadata.trainer_config["max_epochs"].as_u64();
    // A run that is done resumes only with more epochs. One that another limit has ended, or early stopping,
    // resumes only with other settings, which are not known.
    if max_epochs.is_some_and(|max| done >= max) {
        return Some(format!(" --epochs {}", done.saturating_mul(2).max(1)));
    }
    (!is_done(metadata, &state)).then(String::new)
}

/// The command that resumes a run where it is: a program that is started as the original was finds the
/// original, and not a copy. `None` for a directory whose name cannot be a run's id.
fn resume(layout: &RunLayout, newest: &Metadata, more: &str) -> Option<(&'static str, String)> {
    let program = newest.environment.pointer(PROGRAM).and_then(Value::as_str);
    let program = shell_word(program.and_then(|program| program.split(' ').next()).unwrap_or("PROGRAM"));
    let real = storage::canonicalize(layout.run_dir()).ok().flatten();
    let run_dir = real.as_deref().unwrap_or(layout.run_dir());
    if is_where_it_was_started(run_dir, newest) {
        let run_id = option("--run-id", &newest.run_id);
        let command = format!("{program} ..{run_id} --ckpt-path auto{more}");
        return Some(("Resume, with the arguments of the first start", command));
    }
    let run_id = run_dir.file_name()?.to_str()?;
    check_run_id(run_id).ok()?;
    let (parent, started) = (run_dir.parent()?, newest.trainer_config["logs"].as_str());
    let logs = started.filter(|logs| parent.ends_with(logs)).or_else(|| parent.file_name()?.to_str())?;
    let root = parent.ancestors().nth(Path::new(logs).components().count())?.to_str()?;
    let root = option("--root", root);
    let of_logs = match logs == started.unwrap_or(DEFAULT_LOGS) {
        true => String::new(),
        false => option("--set", &format!("logs={logs}")),
    };
    let run_id = option("--run-id", run_id);
    let command = format!("{program} ..{root}{of_logs}{run_id} --ckpt-path auto{more}");
    Some(("Resume this copy, with the other arguments of the first start", command))
}

/// Whether a run's directory is that in which its newest checkpoint was saved, as far as that is known: of a
/// relative root nothing says below which working directory.
fn is_where_it_was_started(run_dir: &Path, newest: &Metadata) -> bool {
    let setting = |name: &str| newest.trainer_config[name].as_str();
    let (Some(root), Some(logs)) = (setting("root"), setting("logs")) else {
        return run_dir.file_name().is_some_and(|name| name == newest.run_id.as_str());
    };
    let place = Path::new(root).join(logs).join(&newest.run_id);
    if place.is_absolute() {
        return storage::canonicalize(&place).ok().flatten().unwrap_or(place) == run_dir;
    }
    let below: PathBuf = place.components().filter(|part| *part != Component::CurDir).collect();
    run_dir.ends_with(below)
}

fn option(name: &str, value: &str) -> String {
    let separator = if value.starts_with('-') { '=' } else { ' ' };
    format!(" {name}{separator}{}", shell_word(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command for a run of this directory that was started with this root and id.
    fn command(run_dir: &str, root: &str, run_id: &str) -> Option<String> {
        let mut metadata = Metadata::new(jiff::Timestamp::UNIX_EPOCH).with_run_id(run_id);
        metadata.trainer_config = serde_json::json!({ "root": root, "logs": "logs" });
        resume(&RunLayout::at(run_dir), &metadata, "").map(|(_, command)| command)
    }

    #[test]
    fn a_run_whose_id_begins_with_a_dash_is_the_value_of_the_option() {
        let command = command("a/logs/-lead", ".", "-lead").unwrap();
        assert_eq!(command, "PROGRAM .. --run-id=-lead --ckpt-path auto");
    }

    #[test]
    fn a_copy_is_resumed_in_its_own_place() {
        for (run_dir, root, options) in [
            ("/a/logs/r1", "/a", Some("--run-id r1")),
            ("/a/logs/r1", "a", Some("--run-id r1")),
            ("/a/logs/r2", "/a", Some("--root /a --run-id r2")),
            ("/b/logs/r1", "/a", Some("--root /b --run-id r1")),
            ("/b/my runs/r1", "/a", Some("--root /b --set 'logs=my runs' --run-id r1")),
            ("/b/logs/r 1", "/a", Some("--root /b --run-id 'r 1'")),
            ("/b/logs/r\n1", "/a", None),
            ("/r1", "/a", None),
        ] {
            let expected = options.map(|options| format!("PROGRAM .. {options} --ckpt-path auto"));
            assert_eq!(command(run_dir, root, "r1"), expected, "{run_dir} {root}");
        }
    }
}
