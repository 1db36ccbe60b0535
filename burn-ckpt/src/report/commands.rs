//! The commands that a page offers: those that work with what the run has.

use std::path::{Component, Path, PathBuf};

use crate::disk::storage;
use crate::format::metadata::Metadata;
use crate::format::section::Section;
use crate::load::checkpoint::Checkpoint;
use crate::metrics_log::ended_by_log;
use crate::run_dir::catalog::CatalogEntry;
use crate::run_dir::layout::{BEST_DIR, DEFAULT_LOGS, LAST_DIR, RunLayout, check_run_id};
use crate::run_dir::locate::locate;
use crate::run_dir::training_progress::{epochs_done, is_done};
use crate::text::printable::shell_word;

/// What a reader of the page types to work with the run.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// A title and a command each, which works as it stands.
    pub(super) commands: Vec<(&'static str, String)>,
    /// How the run is resumed, where no command does.
    pub(super) how_to_resume: Option<String>,
}

/// What is offered for a run. One without a checkpoint has no command, and one without a state that `auto`
/// resumes from is not resumed.
pub(super) fn offered(layout: &RunLayout, entries: &[CatalogEntry], primary_metric: Option<&str>) -> Offered {
    let Some(newest) = entries.last() else { return Offered::default() };
    let checkpoint = named(layout, newest, primary_metric).display().to_string();
    // A relative path can begin as an option does.
    let checkpoint = if checkpoint.starts_with('-') { format!("./{checkpoint}") } else { checkpoint };
    let model = newest.metadata.model["type"].as_str().unwrap_or("Model");
    let word = shell_word(&checkpoint);
    let mut offered = Offered::default();
    if let Some(Resumed::Further(epochs)) = entries.iter().rev().find_map(|entry| resumed(layout, entry)) {
        match resume(layout, &newest.metadata, epochs) {
            Some(Ok(command)) => offered.commands.push(("Resume", command)),
            Some(Err(how)) => offered.how_to_resume = Some(how),
            None => {}
        }
    }
    offered.commands.extend([
        ("Load in Rust", format!("let model = {model}::from_checkpoint({checkpoint:?}, &device)?;")),
        ("Verify", format!("burn-ckpt verify {word}")),
        ("Export to safetensors", format!("burn-ckpt export {word} model.safetensors")),
    ]);
    offered
}

/// The best checkpoint by a name that means one, or the newest.
fn named(layout: &RunLayout, newest: &CatalogEntry, primary_metric: Option<&str>) -> PathBuf {
    let best_of = primary_metric.map(|metric| format!("best_{metric}"));
    let names = [Some(BEST_DIR.to_owned()), best_of, Some(LAST_DIR.to_owned())];
    let paths = names.into_iter().flatten().map(|name| layout.run_dir().join(name));
    paths.into_iter().find(|path| locate(path).is_ok()).unwrap_or_else(|| newest.path.clone())
}

/// What a run does that resumes from a checkpoint.
enum Resumed {
    /// It trains further, with so many epochs if it needs more than it was to have.
    Further(Option<u64>),
    /// Nothing: another limit has ended it, or early stopping. It resumes only with other settings, which are
    /// not known.
    Nothing,
}

/// What a run does that resumes from this checkpoint. `None` if `auto` does not resume from it, but from an
/// older one.
fn resumed(layout: &RunLayout, CatalogEntry { path, metadata }: &CatalogEntry) -> Option<Resumed> {
    if !metadata.is_finite() {
        return None;
    }
    // One that cannot be opened is not resumed from.
    let checkpoint = Checkpoint::open(path).ok().filter(|found| found.has_section(Section::OPTIMIZER))?;
    let state = checkpoint.trainer_state().ok()?;
    let done = epochs_done(metadata, &state);
    // A run that is done resumes only with more epochs.
    if metadata.trainer_config["max_epochs"].as_u64().is_some_and(|max| done >= max) {
        return Some(Resumed::Further(Some(done.saturating_mul(2).max(1))));
    }
    let is_done = is_done(metadata, &state) || is_done_by_log(layout, metadata);
    Some(if is_done { Resumed::Nothing } else { Resumed::Further(None) })
}

/// Whether the log says that the run was done in the state of its newest checkpoint, which was saved before
/// that was known. A log that cannot be read says nothing.
fn is_done_by_log(layout: &RunLayout, metadata: &Metadata) -> bool {
    let step = metadata.global_step;
    let end = ended_by_log(layout.run_dir(), step, metadata.checkpoint_timestamp);
    end.is_ok_and(|end| end.is_some_and(|end| end.step == step && end.ended == "done"))
}

/// The command that resumes a run where it is, with the settings in its checkpoint; or how it is resumed,
/// where there is no such command. `None` for a directory whose name cannot be a run's id.
fn resume(layout: &RunLayout, newest: &Metadata, epochs: Option<u64>) -> Option<Result<String, String>> {
    let real = storage::canonicalize(layout.run_dir()).ok().flatten();
    let run_dir = real.as_deref().unwrap_or(layout.run_dir());
    let parent = run_dir.parent()?;
    let (run_id, logs, root) = (name(run_dir)?, name(parent)?, parent.parent()?);
    check_run_id(run_id).ok()?;
    let program = newest.starts.last().and_then(|start| start.program.as_deref());
    let more = epochs.map(|epochs| format!(" --epochs {epochs}")).unwrap_or_default();
    let command = |program: &str| {
        let run_dir = run_dir.display().to_string();
        format!("{}{}{more}", shell_word(program), option("--resume", &run_dir))
    };
    Some(match program {
        Some(program) if is_here(program) => Ok(command(program)),
        Some(program) => Err(format!(
            "The program that trained this run, {program}, is not on this machine: build it, and start it with \
             --resume {}{more}",
            run_dir.display()
        )),
        None => Err(in_code(run_dir, (root, logs, run_id), newest, epochs)),
    })
}

/// Whether a program can be started: of one that a shell finds by its name that is not known.
fn is_here(program: &str) -> bool {
    !program.contains('/') || storage::stat(Path::new(program)).is_ok_and(|stat| stat.is_some())
}

/// How a program without flags resumes a run.
fn in_code(
    run_dir: &Path,
    (root, logs, run_id): (&Path, &str, &str),
    newest: &Metadata,
    epochs: Option<u64>,
) -> String {
    let mut settings = Vec::new();
    if !is_where_it_was_started(run_dir, newest) {
        settings.push(format!("with_root({:?})", root.display().to_string()));
        if logs != newest.trainer_config["logs"].as_str().unwrap_or(DEFAULT_LOGS) {
            settings.push(format!("with_logs({logs:?})"));
        }
    }
    settings.push(format!("with_run_id({run_id:?})"));
    settings.push("with_ckpt_path(\"auto\")".to_owned());
    settings.extend(epochs.map(|epochs| format!("with_max_epochs({epochs})")));
    format!("To resume this run, give these to the configuration in its program: {}", settings.join(", "))
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
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
    use crate::format::run_start::RunStart;

    /// What is offered for a run of this directory that a program was started for with this root.
    fn resumed_by(program: Option<&str>, run_dir: &str, root: &str) -> Option<Result<String, String>> {
        let mut metadata = Metadata::new(jiff::Timestamp::UNIX_EPOCH).with_run_id("r1");
        metadata.trainer_config = serde_json::json!({ "root": root, "logs": "logs" });
        metadata.starts = vec![RunStart::new(jiff::Timestamp::UNIX_EPOCH, "r1")];
        metadata.starts[0].program = program.map(str::to_owned);
        resume(&RunLayout::at(run_dir), &metadata, Some(8))
    }

    #[test]
    fn a_program_with_flags_resumes_the_directory_of_the_run_also_a_copy() {
        for (run_dir, word) in [
            ("/a/logs/r1", Some("/a/logs/r1")),
            ("/b/my runs/r1", Some("'/b/my runs/r1'")),
            ("/b/logs/r 1", Some("'/b/logs/r 1'")),
            ("-a/logs/r1", Some("=-a/logs/r1")),
            ("/r1", None),
        ] {
            let offered = resumed_by(Some("digits"), run_dir, "/a");
            let expected = word.map(|word| {
                let option = if word.starts_with('=') { "--resume" } else { "--resume " };
                Ok(format!("digits {option}{word} --epochs 8"))
            });
            assert_eq!(offered, expected, "{run_dir}");
        }
        let gone = resumed_by(Some("/none/digits"), "/a/logs/r1", "/a").unwrap().unwrap_err();
        assert!(
            gone.contains("/none/digits, is not on this machine") && gone.contains("--resume /a/logs/r1")
        );
    }

    #[test]
    fn a_program_without_flags_is_told_what_to_set() {
        let of = |run_dir: &str, root: &str| {
            let how = resumed_by(None, run_dir, root).unwrap().unwrap_err();
            how.split_once(": ").unwrap().1.to_owned()
        };
        let tail = "with_run_id(\"r1\"), with_ckpt_path(\"auto\"), with_max_epochs(8)";
        assert_eq!(of("/a/logs/r1", "/a"), tail);
        assert_eq!(of("/a/logs/r1", "a"), tail);
        assert_eq!(of("/b/logs/r1", "/a"), format!("with_root(\"/b\"), {tail}"));
        assert_eq!(of("/b/my runs/r1", "/a"), format!("with_root(\"/b\"), with_logs(\"my runs\"), {tail}"));
    }
}
