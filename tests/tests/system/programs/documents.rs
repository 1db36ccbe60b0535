//! The documents say what is so: their Rust is compiled, and the profile that they show is the workspace's.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn_ckpt::FromCheckpoint;
use burn_trainer::TrainerConfig;
use burn_trainer::strategy::{Best, Last, OnException};
use digits::{Digits, DigitsConfig};
use system_tests::programs::commands::workspace;

/// A newcomer reads it in a few minutes.
const README_BYTES: usize = 9_000;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The README and the pages.
fn pages() -> Vec<PathBuf> {
    let pages = std::fs::read_dir(workspace().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> =
        pages.filter(|path| path.extension().is_some_and(|it| it == "md")).collect();
    pages.push(workspace().join("README.md"));
    pages
}

/// The blocks of a language on a page.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let start = format!("```{language}\n");
    page.split(start.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Adds the text of every Rust file below a directory.
fn collect_sources(directory: &Path, sources: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(read(&path));
        }
    }
}

/// Lines without their indentation, which differs within a function.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_start).collect()
}

/// The lines of `docs/checkpoints.md`, which compile as they stand there.
#[allow(unused_variables)]
fn loaded_as_the_page_does(device: Device) -> burn_ckpt::Result<(Digits, DigitsConfig)> {
    let model = Digits::from_checkpoint("runs/a/checkpoint/best_val_loss.ckpt", &device)?;
    let model = Digits::from_checkpoint_with("runs/a/best", &device, |h| h.with_dropout(0.0))?;
    let hparams = Digits::hparams_from_checkpoint("runs/a/last")?;
    Ok((model, hparams))
}

#[test]
fn loading_a_run_that_is_not_there_says_so() {
    let error = loaded_as_the_page_does(Device::flex()).unwrap_err();
    assert_eq!(error.kind(), burn_ckpt::ErrorKind::NotFound, "{error}");
}

#[test]
fn every_rust_block_of_the_pages_stands_in_a_file_that_is_compiled() {
    let mut sources = Vec::new();
    for directory in ["examples", "tests/tests"] {
        collect_sources(&workspace().join(directory), &mut sources);
    }
    let sources: Vec<Vec<&str>> = sources.iter().map(|source| lines(source)).collect();
    let mut seen = 0;
    for page in pages() {
        let text = read(&page);
        for block in blocks(&text, "rust") {
            let wanted = lines(block);
            let is_there = |source: &Vec<&str>| source.windows(wanted.len()).any(|part| part == wanted);
            assert!(sources.iter().any(is_there), "{}: not compiled anywhere:\n{block}", page.display());
            seen += 1;
        }
    }
    assert!(seen >= 15, "{seen} blocks");
}

#[test]
fn the_page_of_settings_has_each_one_once() {
    let page = read(&workspace().join("docs/settings.md"));
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let mut named: Vec<&str> = cells.flat_map(|cell| cell.trim_end_matches('`').split("`, `")).collect();
    named.sort_unstable();
    // The three are left out where they are not set.
    let config = TrainerConfig::new().with_best(Best::new()).with_last(Last::new());
    let config = serde_json::to_value(config.with_on_exception(OnException::new())).unwrap();
    let mut settings: Vec<&str> = config.as_object().unwrap().keys().map(String::as_str).collect();
    settings.sort_unstable();
    assert_eq!(named, settings);
}

#[test]
fn the_readme_is_short_and_shows_the_smallest_program_and_the_workspaces_profile() {
    let readme = read(&workspace().join("README.md"));
    assert!(readme.len() <= README_BYTES, "{} bytes", readme.len());
    assert!(blocks(&readme, "rust").iter().any(|block| block.contains("trainer.fit(training, learner)")));

    let shown = blocks(&readme, "toml")[0];
    let start = "[profile.dev.package.\"*\"]";
    let shown = &shown[shown.find(start).unwrap()..];
    let manifest = read(&workspace().join("Cargo.toml"));
    let ours =
        ["burn-ckpt", "burn-environment", "burn-trainer", "char-lm", "digits", "system-tests", "xtask"];
    let of_dependencies = |line: &&str| !ours.iter().any(|name| line.starts_with(&format!("{name}.debug")));
    let profile =
        &manifest[manifest.find(start).unwrap()..manifest.find("# A program that someone ships").unwrap()];
    let expected: Vec<&str> = profile.lines().filter(of_dependencies).collect();
    assert_eq!(shown.trim(), expected.join("\n").trim());
}
