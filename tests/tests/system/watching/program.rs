//! `burn-ckpt watch`: lines and JSON, a program for each checkpoint, and how it ends.

use std::path::Path;
use std::process::{Command, Stdio};

use burn_trainer::strategy::{Best, StrategyConfig};
use serde_json::{Value, json};
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, sha256sum};
use system_tests::programs::running::{Ended, Running, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{checkpoints, edit_metadata, last_tensor_byte, run_dir};
use system_tests::{config, train, train_and_keep_all};

fn watch(run: &Path, arguments: &[&str]) -> Command {
    let mut command = burn_ckpt_command();
    command.arg("watch").arg(run).args(["--interval", "0.01"]).args(arguments);
    command
}

fn ended(command: Command, status: i32) -> Ended {
    let ended = Running::start(command).end();
    assert_eq!(ended.code(), Some(status), "{ended:?}");
    ended
}

#[test]
fn beside_a_training_process_each_line_is_a_checkpoint_that_is_verified() {
    let root = tempfile::tempdir().unwrap();
    let watching = Running::start(watch(&run_dir(root.path()), &["--json"]));
    Running::start(warmup(root.path(), "--run-id r1 --epochs 4 --topk 9")).end_well();
    let ended = watching.end_well();
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<u64> = lines.iter().map(|line| line["global_step"].as_u64().unwrap()).collect();
    assert!(steps.is_sorted() && steps.last() == Some(&120), "{ended:?}");
    for line in lines {
        let path = Path::new(line["path"].as_str().unwrap());
        if path.exists() {
            let expected = format!("sha256:{}", sha256sum(path).unwrap());
            assert_eq!(line["checkpoint_checksum"], expected);
        }
        assert!(line["metrics"]["val_loss"].is_number() || line["reason"] != "best", "{line}");
    }
    assert!(ended.stderr.contains("waiting for the run "), "{ended:?}");
    assert!(ended.stderr.contains("it is done; ") && !ended.stderr.contains("error"), "{ended:?}");
}

#[test]
fn a_line_has_path_step_and_metrics_and_a_metric_chooses_its_best() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 1.0, 2.0], 1).unwrap();
    let best = ended(watch(&run_dir(root.path()), &["--metric", "val_score"]), 0);
    let path = checkpoints(root.path()).canonicalize().unwrap().join("best/epoch=1-step=20.ckpt");
    let begin = format!("{}  epoch 1  step 20  ", path.display());
    assert!(best.stdout.starts_with(&begin) && best.stdout.contains("  val_score 1.000"), "{best:?}");
    assert_eq!(best.stdout.lines().count(), 1);
    let last = ended(watch(&run_dir(root.path()), &["--metric", "last"]), 0);
    assert!(last.stdout.contains("  step 30  "), "{last:?}");
    let new = ended(watch(&run_dir(root.path()), &["--only-new"]), 0);
    assert!(new.stdout.is_empty() && new.stderr.contains("it is done; 0 checkpoints"), "{new:?}");
}

#[test]
fn a_program_gets_the_path_as_it_is_and_no_shell_sees_it() {
    let root = tempfile::tempdir().unwrap();
    let odd = root.path().join("a $(touch pwned); b\n*'\"");
    train(config(&odd, 2)).unwrap();
    let script = r#"printf '%s|%s|%s|%s|%s\n' "$#" "$1" "$2" "$BURN_CKPT_STEP" "$BURN_CKPT_METRICS" >> "$OUT"; test "$1" = "$BURN_CKPT_PATH" -o "$2" = "$BURN_CKPT_PATH""#;
    for (arguments, count) in [(&["{}", "--flag"][..], "2|"), (&["--flag"], "2|--flag|"), (&[], "1|")] {
        let out = root.path().join("out");
        let _ = std::fs::remove_file(&out);
        let words = [&["--metric", "last", "--exec", "sh", "-c", script, "sh"][..], arguments].concat();
        let mut command = watch(&run_dir(&odd), &words);
        command.env("OUT", &out).current_dir(root.path());
        ended(command, 0);
        let written = std::fs::read_to_string(&out).unwrap();
        assert!(written.starts_with(count), "{written}");
        let path = checkpoints(&odd).canonicalize().unwrap().join("last/epoch=1-step=20.ckpt");
        assert!(written.contains(path.to_str().unwrap()) && written.contains("|20|{\""), "{written}");
    }
    assert!(!root.path().join("pwned").exists());
}

#[test]
fn a_program_that_fails_is_named_and_the_watch_continues() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 2.0, 1.0], 1).unwrap();
    let run = run_dir(root.path());
    let failed = ended(watch(&run, &["--exec", "sh", "-c", "test $BURN_CKPT_STEP != 20"]), 1);
    assert_eq!(failed.stdout.lines().count(), 3, "{failed:?}");
    assert!(failed.stderr.contains("error: sh ended with exit status: 1 for "), "{failed:?}");
    assert!(failed.stderr.contains("3 checkpoints, 1 failure"), "{failed:?}");
    let missing = ended(watch(&run, &["--exec", "no-such-program"]), 1);
    assert!(missing.stderr.contains("cannot run no-such-program: "), "{missing:?}");
    // One that fails as the run has deleted its file meanwhile does not count as a failure.
    let gone = r#"rm "$BURN_CKPT_PATH"; exit 3"#;
    let note = ended(watch(&run, &["--metric", "best", "--exec", "sh", "-c", gone]), 0);
    assert!(note.stderr.contains("note: sh ended with exit status: 3, and the run deleted "), "{note:?}");
}

#[test]
fn a_damaged_checkpoint_is_named_and_is_the_status() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[2.0, 1.0], 1).unwrap();
    let damaged = checkpoints(root.path()).join("last/epoch=0-step=10.ckpt");
    let mut bytes = std::fs::read(&damaged).unwrap();
    let place = last_tensor_byte(&bytes);
    bytes[place] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let ended = ended(watch(&run_dir(root.path()), &[]), 1);
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("error: ") && ended.stderr.contains("epoch=0-step=10.ckpt"), "{ended:?}");
}

#[test]
fn signals_end_it_with_their_status_and_the_program_that_it_runs() {
    let root = tempfile::tempdir().unwrap();
    for (signal, status) in [("TERM", 143), ("INT", 130)] {
        let mut env = Command::new("/usr/bin/env");
        let command = watch(&run_dir(root.path()), &[]);
        env.arg("--default-signal=INT").arg(command.get_program()).args(command.get_args());
        let mut watching = Running::start(env);
        watching.wait_for("the line", |said| said.contains("waiting for the run "));
        watching.send(signal);
        assert_eq!(watching.end().code(), Some(status));
    }
    train(config(root.path(), 1)).unwrap();
    let pid = root.path().join("pid");
    let script = format!("echo $$ > '{0}.new'; mv '{0}.new' '{0}'; exec sleep 100", pid.display());
    let mut watching = Running::start(watch(&run_dir(root.path()), &["--exec", "sh", "-c", &script]));
    watching.wait_for("the program", |_| pid.exists());
    watching.send("TERM");
    assert_eq!(watching.end().code(), Some(143));
    let child = std::fs::read_to_string(&pid).unwrap();
    assert!(!Path::new("/proc").join(child.trim()).exists(), "the program still runs");
}

#[test]
fn a_run_that_was_killed_is_waited_for_unless_told_otherwise() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let command =
        TestHooks::wait(Split::Train, 45, &gate).given_to(warmup(root.path(), "--run-id r1 --epochs 3"));
    let mut running = Running::start(command);
    let last = checkpoints(root.path()).join("last.ckpt");
    running.wait_for("the batch and a checkpoint", |_| gate.is_reached() && last.exists());
    running.kill();
    let stopped = ended(watch(&run_dir(root.path()), &["--until-stopped"]), 1);
    assert!(stopped.stderr.contains("it is not done, and no process writes to it: "), "{stopped:?}");
    assert_eq!(stopped.stdout.lines().count(), 1, "{stopped:?}");
    let mut watching = Running::start(watch(&run_dir(root.path()), &[]));
    watching.wait_for("the line", |said| said.contains("to be resumed"));
    Running::start(warmup(root.path(), "--run-id r1 --epochs 3 --ckpt-path auto")).end_well();
    let done = watching.end_well();
    assert!(done.stdout.contains("  step 90  ") && done.stderr.contains("it is done; "), "{done:?}");
}

#[test]
fn a_run_that_has_ended_without_a_checkpoint_is_the_end() {
    let root = tempfile::tempdir().unwrap();
    let run = run_dir(root.path());
    Running::start(warmup(root.path(), "--run-id r1 --epochs 1 --set checkpoint_saving=false")).end_well();
    let done = ended(watch(&run, &[]), 0);
    assert!(done.stdout.is_empty() && done.stderr.contains("it is done; 0 checkpoints"), "{done:?}");
    let named = ended(watch(&run, &["--metric", "val_loss"]), 1);
    assert!(named.stderr.contains("no checkpoint for \"best_val_loss\""), "{named:?}");
    // The last line is what says it.
    let log = run.join("metrics.jsonl");
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, text.replace("\"ended\":\"done\"", "\"ended\":\"exception: the disk is full\""))
        .unwrap();
    let failed = ended(watch(&run, &["--until-stopped"]), 1);
    assert!(failed.stderr.contains("exception: the disk is full"), "{failed:?}");
    let mut watching = Running::start(watch(&run, &[]));
    watching.wait_for("the line", |said| said.contains("to be resumed"));
    watching.send("TERM");
    assert_eq!(watching.end().code(), Some(143));
}

#[test]
fn a_checkpoint_is_not_waited_for_as_a_run() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let (one, several) = ("a checkpoint", "a directory of checkpoints");
    for (name, what) in [("best", one), ("last", one), ("checkpoint/last", several)] {
        let path = run_dir(root.path()).join(name);
        for verb in ["watch", "log", "csv", "plot", "rm", "tag"] {
            let (_, err) = ended_with(&burn_ckpt(&[&verb, &path]), 1);
            let expected = format!("{} is {what}, not a run", path.display());
            assert!(err.contains(&expected), "{verb}: {err}");
        }
        let (_, err) = ended_with(&burn_ckpt(&[&"prune", &path, &"--keep", &"last=1"]), 1);
        assert!(err.contains(&format!("{} is {what}, not a run", path.display())), "{err}");
    }
}

#[test]
fn it_ends_when_its_output_is_not_read() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let training =
        TestHooks::wait(Split::Train, 45, &gate).given_to(warmup(root.path(), "--run-id r1 --epochs 3"));
    let mut training = Running::start(training);
    training.wait_for("an epoch", |_| gate.is_reached());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = watch(&run_dir(root.path()), &[]).stdout(writer).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_metric_that_no_checkpoint_of_a_run_that_is_done_has_is_an_error_with_those_there_are() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let typo = ended(watch(&run_dir(root.path()), &["--metric", "val_los"]), 1);
    let expected = "error: the run saves no checkpoint as best_val_los; it has, or will have, best_val_loss, last; did you mean val_loss?\n";
    assert!(typo.stdout.is_empty() && typo.stderr == expected, "{typo:?}");
    // The words are those of a link, which is written in another way.
    let typo = ended(watch(&run_dir(root.path()), &["--metric", "val-loss"]), 1);
    assert!(
        typo.stderr.ends_with("has, or will have, best_val_loss, last; did you mean val_loss?\n"),
        "{typo:?}"
    );
    let new = ended(watch(&run_dir(root.path()), &["--metric", "val_loss", "--only-new"]), 0);
    assert!(new.stderr.contains("it is done; 0 checkpoints"), "{new:?}");
}

#[test]
fn the_best_of_a_run_with_several_is_an_error_that_names_them() {
    let root = tempfile::tempdir().unwrap();
    let best = |metric: &str| StrategyConfig::Best(Best::new().with_metric(metric));
    train(config(root.path(), 1).with_strategies([best("val_loss"), best("train_loss")])).unwrap();
    let typo = ended(watch(&run_dir(root.path()), &["--metric", "best"]), 1);
    let expected = "no checkpoint as best; it has, or will have, best_val_loss, best_train_loss\n";
    assert!(typo.stderr.ends_with(expected), "{typo:?}");
}

#[test]
fn a_metric_that_a_run_will_not_have_is_an_error_while_the_run_trains() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let command =
        TestHooks::wait(Split::Train, 45, &gate).given_to(warmup(root.path(), "--run-id r1 --epochs 3"));
    let mut training = Running::start(command);
    let last = checkpoints(root.path()).join("last.ckpt");
    training.wait_for("the batch and a checkpoint", |_| gate.is_reached() && last.exists());
    let typo = ended(watch(&run_dir(root.path()), &["--metric", "val_nope"]), 1);
    let expected = "no checkpoint as best_val_nope; it has, or will have, best_val_loss, last\n";
    assert!(typo.stderr.ends_with(expected), "{typo:?}");
    gate.open();
    training.end_well();
}

#[test]
fn before_the_first_checkpoint_the_log_says_which_metrics_there_are() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    // As of a run that trains, and has saved nothing.
    std::fs::remove_dir_all(run.join("checkpoint")).unwrap();
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("\"ended\"")).collect();
    let write = |lines: &[&str]| std::fs::write(run.join("metrics.jsonl"), lines.join("\n") + "\n").unwrap();
    write(&lines);
    for (typo, near) in [("val_los", "val_loss"), ("val_lss", "val_loss"), ("train_los", "train_loss")] {
        let typo = ended(watch(&run, &["--metric", typo]), 1);
        let said = typo.stderr.starts_with("error: the run logs no metric ");
        assert!(said && typo.stderr.ends_with(&format!("; did you mean {near}?\n")), "{typo:?}");
    }
    let waits = |metric: &str, line: &str| {
        let mut watching = Running::start(watch(&run, &["--metric", metric]));
        watching.wait_for("the line", |said| said.contains("it has no checkpoint, and no process"));
        watching.send("TERM");
        let ended = watching.end();
        assert_eq!(ended.code(), Some(143));
        assert_eq!(ended.stderr.matches("waiting for the metric ").count(), usize::from(!line.is_empty()));
        assert!(ended.stderr.contains(line), "{ended:?}");
    };
    waits("val_bleu", "waiting for the metric val_bleu: so far the run logs ");
    waits("val_loss", "");
    // Within the first epoch nothing is known yet.
    let batches: Vec<&str> = lines.into_iter().filter(|line| !line.contains("\"validation\"")).collect();
    write(&batches);
    waits("val_los", "");
}

#[test]
fn of_a_run_with_a_strategy_of_its_own_a_near_metric_is_meant_and_another_name_may_come() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[2.0, 1.0], 1).unwrap();
    let last = std::fs::canonicalize(checkpoints(root.path()).join("last.ckpt")).unwrap();
    edit_metadata(&last, |metadata| metadata["trainer_config"]["strategies"] = json!([{ "kind": "mine" }]));
    let said =
        |metric: &str, status| ended(watch(&run_dir(root.path()), &["--metric", metric]), status).stderr;
    let typo = said("val_scor", 1);
    assert_eq!(typo, "error: the run logs no metric val_scor; it logs val_score; did you mean val_score?\n");
    // It is done, and has none.
    let other = said("best_of_both", 1);
    let line = "waiting for a checkpoint saved as best_of_both: so far there are best_val_score, last\n";
    assert!(other.starts_with(line) && other.contains("no checkpoint for \"best_of_both\""), "{other}");
    assert!(!said("val_score", 0).contains("waiting"));
}

#[test]
fn what_is_there_and_is_not_a_directory_is_an_error_at_once() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    for path in [&*run_dir(root.path()).join("metrics.jsonl"), Path::new("/dev/null")] {
        let ended = ended(watch(path, &[]), 1);
        let expected = format!("cannot watch the run {}: not a directory", path.display());
        assert!(ended.stderr.contains(&expected), "{ended:?}");
        let error = burn_ckpt::watch::Watch::new(path).poll().unwrap_err();
        assert!(matches!(error, burn_ckpt::Error::Io { action: "watch the run", .. }), "{error:?}");
    }
}

#[test]
fn wrong_usage_is_status_2_and_a_wrong_name_is_an_error_at_once() {
    let root = tempfile::tempdir().unwrap();
    for interval in ["0", "-1", "NaN", "soon", "1e9"] {
        let output = burn_ckpt(&[&"watch", &root.path(), &format!("--interval={interval}")]);
        ended_with(&output, 2);
    }
}

#[test]
fn a_directory_of_runs_is_not_a_run_and_its_runs_are_named() {
    let root = tempfile::tempdir().unwrap();
    for run in ["a", "b"] {
        train(config(root.path(), 1).with_run_id(run)).unwrap();
    }
    let logs = root.path().join("burn_trainer_logs");
    let named = format!("{0}/a, {0}/b", logs.display());
    for directory in [root.path(), &logs] {
        for verb in ["watch", "log", "plot", "csv", "rm"] {
            let (_, err) = ended_with(&burn_ckpt(&[&verb, &directory]), 1);
            assert!(
                err.contains("is not a run's directory, but one of runs") && err.contains(&named),
                "{verb}: {err}"
            );
        }
        let (_, err) = ended_with(&burn_ckpt(&[&"tag", &directory, &"x"]), 1);
        assert!(err.contains(&named), "{err}");
    }
}
