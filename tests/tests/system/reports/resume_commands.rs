//! The command that resumes a run works as it stands, or there is a sentence in its place.

use std::fs;
use std::path::Path;
use std::process::Command;

use burn_trainer::config::EarlyStopping;
use burn_trainer::strategy::{Last, TopK};
use serde_json::Value;
use system_tests::programs::browser;
use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::programs::running::{Ended, Running, printed_command, warmup};
use system_tests::run_files::{files, run_dir};
use system_tests::{config, train, train_scored};

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

#[test]
fn a_run_that_a_limit_or_early_stopping_has_ended_is_not_offered_to_be_resumed() {
    let keeps_all = |root: &Path| config(root, 5).with_last(Last::new().with_topk(TopK::All));
    let [steps, early] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let ended = train(keeps_all(steps.path()).with_max_steps(15)).unwrap();
    assert_eq!(ended.global_step, 15);
    let early_stopping = EarlyStopping::new("val_score").with_patience(1);
    let scores = [1.0, 2.0, 3.0, 4.0, 5.0];
    let config = keeps_all(early.path()).with_primary_metric("val_score").with_early_stopping(early_stopping);
    let ended = train_scored(config, &scores).unwrap();
    assert!(ended.epochs < 5);
    for root in [steps, early] {
        let run = run_dir(root.path());
        assert!(run.join("checkpoint/last/epoch=0-step=10.ckpt").exists(), "an older state is there");
        assert_eq!(offered(root.path(), &run), (None, None));
    }
}
