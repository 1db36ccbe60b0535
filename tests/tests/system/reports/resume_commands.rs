//! The command that resumes a run works as it stands, or there is a sentence in its place.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use system_tests::programs::browser;
use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::programs::running::{Ended, Running, printed_command, warmup};
use system_tests::run_files::{files, run_dir};
use system_tests::{config, train};

use super::page::report;

/// What the page of a run says of how it is resumed: the command, or the sentence.
fn offered(root: &Path, run: &Path) -> (Option<String>, Option<String>) {
    let answer = browser::ask(
        &report(root, &[run]),
        "async () => {
           const blocks = [...document.querySelectorAll('.command')].map((block) => block.parentElement);
           const resume = blocks.find((block) => block.querySelector('h3').textContent.startsWith('Resume'));
           return [resume?.querySelector('pre').textContent ?? null, document.querySelector('.how')?.textContent ?? null];
         }",
    );
    serde_json::from_value(answer).unwrap()
}

/// Runs the command as a user does who copies it into a shell.
fn by_a_shell(command: &str) -> Ended {
    Running::start(printed_command(&format!("resume: {command}"))).end_well()
}

fn epochs(run: &Path) -> Value {
    let runs: Value = serde_json::from_str(&stdout(&burn_ckpt(&[&"runs", &run, &"--json"]))).unwrap();
    runs[0]["epochs"].clone()
}

#[test]
fn the_command_resumes_the_run_with_its_settings_wherever_its_root_is() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("a place");
    fs::create_dir(&place).unwrap();
    let flags = "--run-id r1 --epochs 1 --set learning_rate=0.02 --set hidden=16";
    Running::start(warmup(&place, flags)).end_well();
    let run = run_dir(&place);
    let (command, how) = offered(root.path(), &run);
    let command = command.unwrap();
    assert!(how.is_none() && command.ends_with(" --epochs 2") && !command.contains(".."), "{command}");
    let ended = by_a_shell(&command);
    assert!(ended.stderr.contains("resuming r1 from "), "{command}: {ended:?}");
    assert_eq!(epochs(&run), 2);
    let metadata = system_tests::run_files::metadata(&run.join("checkpoint/last.ckpt"));
    assert_eq!(
        (&metadata["hparams"]["learning_rate"], &metadata["hparams"]["hidden"]),
        (&0.02.into(), &16.into())
    );
    assert_eq!(metadata["starts"][1]["hparams"], Value::Null, "nothing has changed");
}

#[test]
fn the_command_for_a_copy_resumes_the_copy_and_not_the_original() {
    let root = tempfile::tempdir().unwrap();
    Running::start(warmup(root.path(), "--run-id r1 --epochs 1 --set learning_rate=0.02")).end_well();
    let run = run_dir(root.path());
    let elsewhere = root.path().join("my runs");
    fs::create_dir(&elsewhere).unwrap();
    let copy = elsewhere.join("r1-again");
    assert!(Command::new("cp").arg("-r").args([&run, &copy]).status().unwrap().success());
    let before = files(&run);
    let command = offered(root.path(), &copy).0.unwrap();
    let ended = by_a_shell(&command);
    assert!(ended.stderr.contains("resuming r1-again from "), "{command}: {ended:?}");
    assert_eq!(epochs(&copy), 2);
    assert_eq!(files(&run), before, "the original is as it was");
}

#[test]
fn for_a_program_without_flags_a_sentence_says_what_to_set_in_its_code() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let (command, how) = offered(root.path(), &run_dir(root.path()));
    let how = how.unwrap();
    assert!(command.is_none(), "{command:?}");
    assert!(how.ends_with(r#"with_run_id("r1"), with_ckpt_path("auto"), with_max_epochs(4)"#), "{how}");
}
