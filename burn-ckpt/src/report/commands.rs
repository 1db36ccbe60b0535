//! The commands that a page offers: those that work with what the run has.

use std::path::PathBuf;

use serde_json::Value;

use crate::format::metadata::Metadata;
use crate::format::section::Section;
use crate::load::checkpoint::Checkpoint;
use crate::run_dir::catalog::CatalogEntry;
use crate::run_dir::layout::{BEST_DIR, LAST_DIR, RunLayout};
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
    commands.extend(
        entries
            .iter()
            .rev()
            .find_map(resumed)
            .map(|more| ("Resume, with the arguments of the first start", resume(&newest.metadata, &more))),
    );
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

fn resume(newest: &Metadata, more: &str) -> String {
    let program = newest.environment.pointer(PROGRAM).and_then(Value::as_str);
    let program = program.and_then(|program| program.split(' ').next()).unwrap_or("PROGRAM");
    let (program, run_id) = (shell_word(program), shell_word(&newest.run_id));
    let separator = if newest.run_id.starts_with('-') { '=' } else { ' ' };
    format!("{program} .. --run-id{separator}{run_id} --ckpt-path auto{more}")
}

/// Text as one word of a shell: what is in a run's files is never a command.
fn shell_word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_./=:@%+-,".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_run_is_one_word_of_a_shell() {
        for (text, word) in [
            ("runs/a-1/best", "runs/a-1/best"),
            ("a b; touch c", "'a b; touch c'"),
            ("it's", "'it'\\''s'"),
            ("$(id)", "'$(id)'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn a_run_whose_id_begins_with_a_dash_is_the_value_of_the_option() {
        let metadata = Metadata::new(jiff::Timestamp::UNIX_EPOCH).with_run_id("-lead");
        assert_eq!(resume(&metadata, ""), "PROGRAM .. --run-id=-lead --ckpt-path auto");
    }
}
