//! `report = true`: the page of a run follows its training, says how it ended, and costs no run.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use burn::train::ExecutionStrategy;
use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_ckpt::report::RunReport;
use burn_trainer::Error;
use serde_json::{Value, json};
use system_tests::backend;
use system_tests::models::small::train_with_strategy;
use system_tests::programs::browser;
use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::programs::running::{Running, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{checkpoints, files, run_dir};
use system_tests::{config, train};

use super::page::{logged, shown};

/// 30 batches in an epoch.
const FLAGS: &str = "--run-id r1 --epochs 2 --ckpt-path auto --set report=true";
/// In the second epoch.
const BATCH: usize = 40;

/// What a page says of its only run.
fn of_run(page: &Path, key: &str) -> Value {
    browser::ask(page, &format!("async () => (await readData()).runs[0].{key}"))
}

/// The run's status in a word, and why.
fn status(run: &Path) -> (String, String) {
    let status = of_run(&run.join("report.html"), "status");
    serde_json::from_value(json!([status["word"], status["why"]])).unwrap()
}

fn unfinished(run: &Path) -> Vec<String> {
    files(run).into_iter().filter(|name| name.contains("report.html.")).collect()
}

#[test]
fn the_last_page_has_all_that_was_logged_and_says_that_the_run_is_done() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 3).with_report(true)).unwrap();
    let run = run_dir(root.path());
    let page = run.join("report.html");
    assert_eq!(shown(&page).remove("r1"), Some(logged(&run)));
    assert_eq!(status(&run), ("done".to_owned(), String::new()));
    assert_eq!(of_run(&page, "epochs"), 3);
    assert_eq!(unfinished(&run), [""; 0]);
}

#[test]
fn a_run_that_saves_nothing_has_a_page_with_the_steps_that_it_logged_and_is_not_replaced_in_silence() {
    let root = tempfile::tempdir().unwrap();
    let flags = "--run-id r1 --epochs 2 --set report=true --set checkpoint_saving=false";
    let first = Running::start(warmup(root.path(), flags)).end_well();
    assert!(!first.stderr.contains("is replaced"), "{}", first.stderr);
    let page = run_dir(root.path()).join("report.html");
    assert_eq!((of_run(&page, "epochs"), of_run(&page, "global_step")), (json!(2), json!(60)));
    assert!(of_run(&page, "training_time_seconds").as_f64().unwrap() > 0.0);
    let again = Running::start(warmup(root.path(), flags)).end_well();
    assert!(again.stderr.contains("metrics.jsonl of an earlier start"), "{}", again.stderr);
}

#[test]
fn the_page_follows_the_epochs_and_after_a_kill_and_a_resume_it_shows_both_starts() {
    let root = tempfile::tempdir().unwrap();
    let (run, gate) = (run_dir(root.path()), Gate::closed());
    let page = run.join("report.html");
    let hooks = TestHooks::wait(Split::Train, BATCH, &gate);
    let mut running = Running::start(hooks.given_to(warmup(root.path(), FLAGS)));
    running.wait_for("a page with an epoch", |_| {
        let html = fs::read_to_string(&page).unwrap_or_default();
        html.contains("\"word\":\"running\"") && html.contains("\"epochs\":1,")
    });
    // What the run resumes from.
    running.wait_for("a checkpoint", |_| checkpoints(root.path()).join("last.ckpt").exists());
    running.kill();
    assert!(browser::open(&page).document.contains("as of "));
    fs::write(run.join(".report.html.0-1.staging"), "half").unwrap();
    Running::start(warmup(root.path(), FLAGS)).end_well();
    assert_eq!(status(&run), ("done".to_owned(), String::new()));
    assert_eq!(of_run(&page, "starts.length"), 2);
    assert_eq!(unfinished(&run), [""; 0]);
}

#[test]
fn a_run_that_is_stopped_or_fails_has_a_page_that_says_why() {
    let root = tempfile::tempdir().unwrap();
    for (hooks, word, why) in [
        (TestHooks::stop(Split::Train, BATCH), "stopped", "enough is enough"),
        (TestHooks::panic(Split::Train, BATCH), "failed", "the batch 40 was told to panic"),
    ] {
        let root = root.path().join(word);
        let _ = Running::start(hooks.given_to(warmup(&root, FLAGS))).end();
        let (shown, reason) = status(&run_dir(&root));
        assert_eq!(shown, word, "{reason}");
        assert!(reason.contains(why), "{reason}");
    }
}

#[test]
fn what_is_in_the_pages_place_is_kept_and_said_once() {
    let root = tempfile::tempdir().unwrap();
    let elsewhere = root.path().join("elsewhere.html");
    fs::write(&elsewhere, "<meta name=\"generator\" content=\"burn-ckpt report\">").unwrap();
    let before = fs::read(&elsewhere).unwrap();
    for kind in ["file", "directory", "link"] {
        let root = root.path().join(kind);
        let page = run_dir(&root).join("report.html");
        fs::create_dir_all(page.parent().unwrap()).unwrap();
        match kind {
            "file" => fs::write(&page, "mine").unwrap(),
            "directory" => fs::create_dir(&page).unwrap(),
            _ => symlink(&elsewhere, &page).unwrap(),
        }
        let ended = Running::start(warmup(&root, FLAGS)).end_well();
        let said: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("report.html")).collect();
        assert!(matches!(said[..], [line] if line.contains("move it away")), "{kind}: {said:?}");
        assert!(page.is_symlink() || page.is_dir() || fs::read(&page).unwrap() == b"mine", "{kind}");
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
}

/// A disk that has no room for a page.
struct FullForPages;

impl Observer for FullForPages {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        let is_page = operation.path().to_string_lossy().contains(".report.html.");
        match is_page && matches!(operation, Operation::Write { .. }) {
            true => Verdict::Fail(io::Error::from_raw_os_error(28)), // ENOSPC
            false => Verdict::Proceed,
        }
    }
}

#[test]
fn a_disk_that_is_full_for_the_page_costs_the_page_alone() {
    let root = tempfile::tempdir().unwrap();
    let observation = observe(root.path(), Arc::new(FullForPages));
    train(config(root.path(), 2).with_report(true)).unwrap();
    drop(observation);
    let run = run_dir(root.path());
    assert!(!run.join("report.html").exists());
    assert_eq!(unfinished(&run), [""; 0]);
}

/// Deletes a checkpoint when its links are resolved, as a run does that trains meanwhile.
struct DeletesWhenRead;

impl Observer for DeletesWhenRead {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        if let Operation::Resolve(path) = operation
            && path.ends_with("last/epoch=0-step=10.ckpt")
        {
            let _ = fs::remove_file(path);
        }
        Verdict::Proceed
    }
}

#[test]
fn a_checkpoint_that_the_run_deletes_while_it_is_read_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    let last = burn_trainer::strategy::Last::new().with_topk(2);
    train(config(root.path(), 2).with_last(last)).unwrap();
    let run = run_dir(root.path());
    assert!(run.join("checkpoint/last/epoch=0-step=10.ckpt").exists());
    let observation = observe(root.path(), Arc::new(DeletesWhenRead));
    let html = RunReport::of([&run]).unwrap().html().unwrap();
    drop(observation);
    assert!(!run.join("checkpoint/last/epoch=0-step=10.ckpt").exists());
    assert!(html.contains("last/epoch=1-step=20.ckpt") && !html.contains("last/epoch=0-step=10.ckpt"));
}

#[test]
fn the_page_goes_with_its_run_and_a_users_file_stays() {
    for is_users in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let page = run_dir(root.path()).join("report.html");
        let write_users = || is_users.then(|| fs::write(&page, "mine").unwrap());
        train(config(root.path(), 1).with_report(true)).unwrap();
        write_users();
        train(config(root.path(), 1).with_overwrite(true)).unwrap();
        assert_eq!(page.exists(), is_users);
        train(config(root.path(), 1).with_overwrite(true).with_report(true)).unwrap();
        write_users();
        stdout(&burn_ckpt(&[&"rm", &run_dir(root.path()), &"--yes"]));
        assert_eq!(page.exists(), is_users);
    }
}

#[test]
fn only_the_process_that_writes_has_a_page() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1).with_report(true).with_rank(1)).unwrap();
    assert!(!run_dir(root.path()).join("report.html").exists());
}

#[test]
fn a_loop_that_is_not_the_trainers_has_no_page_which_is_an_error_before_the_first_step() {
    let root = tempfile::tempdir().unwrap();
    let single = ExecutionStrategy::single(backend::device().autodiff());
    let error = train_with_strategy(config(root.path(), 1).with_report(true), single).map(|_| ());
    let error = error.unwrap_err();
    assert!(matches!(&error, Error::Config { setting, .. } if setting == "report"), "{error:?}");
}
