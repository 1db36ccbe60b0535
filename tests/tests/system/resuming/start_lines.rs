//! What a start says: what it verifies, from where it begins, and what differs from the checkpoint.

use std::path::Path;
use std::process::Command;

use burn_ckpt::metadata::RunStart;
use burn_ckpt::{Checkpoint, Contents};
use serde_json::{Value, json};
use system_tests::programs::commands::{burn_ckpt, ended_with, stdout};
use system_tests::programs::running::{Ended, Running, printed_command, warmup};
use system_tests::programs::stop_at_batch::stop_at_batch;
use system_tests::programs::test_hooks::{Split, TestHooks};
use system_tests::run_files::{checkpoints, last_metadata, metadata_path, run_dir};

fn run(root: &Path, arguments: &str) -> Ended {
    Running::start(warmup(root, arguments)).end_well()
}

/// The lines before the first of training, without the table of the model.
fn first_lines(ended: &Ended) -> Vec<&str> {
    let is_of_the_model = |line: &&str| line.starts_with("model ") || line.starts_with("  ");
    let lines = ended.stderr.lines().take_while(|line| !line.starts_with("epoch "));
    lines.filter(|line| !is_of_the_model(line)).collect()
}

#[test]
fn a_start_says_whether_it_is_new_and_a_resume_what_it_verifies_and_from_where_it_begins() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    assert_eq!(
        first_lines(&run(root, "--run-id r1 --epochs 1 --ckpt-path auto")),
        ["starting r1: no checkpoint yet"]
    );
    // best and last are one file with two names.
    let last = checkpoints(root).join("last/epoch=0-step=30.ckpt");
    let size = format!("{:.1} KiB", std::fs::metadata(last).unwrap().len() as f64 / 1024.0);
    let resumed = run(root, "--run-id r1 --epochs 2 --ckpt-path auto");
    let lines = first_lines(&resumed);
    assert_eq!(lines[0], format!("verifying checkpoints: 1 file, {size}"));
    assert_eq!(lines[1], "resuming r1 from last/epoch=0-step=30.ckpt (epoch 2 of 2)");
    assert_eq!(lines[2..], ["max_epochs is 2, was 1 in the checkpoint"]);
    let done = run(root, "--run-id r1 --epochs 2 --ckpt-path last");
    assert!(
        done.stderr.contains("resuming r1 from last/epoch=1-step=60.ckpt (2 epochs are done, of 2)"),
        "{done:?}"
    );
    assert_eq!(first_lines(&run(root, "--run-id r2 --epochs 1")), ["starting r2"]);
}

#[test]
fn a_resume_within_an_epoch_says_after_which_batch() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for (split, batch) in [(Split::Train, 8), (Split::Valid, 1)] {
        let ended = stop_at_batch(warmup(root, "--run-id r1 --epochs 1 --overwrite"), split, batch);
        let steps = last_metadata(root).global_step;
        let expected = match split {
            Split::Train => format!("(epoch 1 of 1, after {steps} batches)"),
            _ => "(epoch 1 of 1, before its validation)".to_owned(),
        };
        let resumed = Running::start(printed_command(&ended.stdout)).end_well();
        assert!(resumed.stderr.contains(&expected), "{expected} is not in {resumed:?}");
    }
}

#[test]
fn auto_without_a_run_id_says_that_the_run_is_new_and_how_to_name_it() {
    let directory = tempfile::tempdir().unwrap();
    let ended = run(directory.path(), "--epochs 1 --ckpt-path auto");
    let [line] = first_lines(&ended)[..] else { panic!("{ended:?}") };
    let says = ["a new run", "ckpt_path \"auto\" finds no earlier one", "--run-id"];
    assert!(says.iter().all(|part| line.contains(part)), "{line}");
}

#[test]
fn last_and_best_without_a_run_id_are_an_error_that_asks_for_it() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), "--run-id r1 --epochs 1");
    for name in ["last", "best"] {
        let ended = Running::start(warmup(directory.path(), &format!("--ckpt-path {name}"))).end();
        assert_eq!(ended.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains("no run is named: name it with run_id (--run-id)"), "{ended:?}");
    }
    let logs = std::fs::read_dir(directory.path().join("burn_trainer_logs")).unwrap();
    let runs = logs.map(|entry| entry.unwrap()).filter(|entry| entry.path().is_dir());
    assert_eq!(runs.map(|entry| entry.file_name()).collect::<Vec<_>>(), ["r1"]);
}

#[test]
fn a_log_that_a_new_run_replaces_is_a_warning_that_is_said_in_any_case() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), "--run-id r1 --epochs 1");
    std::fs::remove_dir_all(checkpoints(directory.path())).unwrap();
    let ended = run(directory.path(), "--run-id r1 --epochs 1 --progress off");
    let warning = "metrics.jsonl of an earlier start, which left no checkpoint, is replaced";
    assert!(ended.stderr.starts_with("warning: ") && ended.stderr.contains(warning), "{ended:?}");
}

#[test]
fn a_run_that_begins_with_another_runs_checkpoint_names_that_run() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(root, "--run-id r1 --epochs 1");
    let from = checkpoints(root).join("last/epoch=0-step=30.ckpt");
    let tuned = run(root, &format!("--run-id tuned --epochs 2 --ckpt-path {}", from.display()));
    let expected = format!(
        "starting tuned from {} of the run r1 (epoch 2 of 2); its list of best checkpoints begins empty",
        from.display()
    );
    assert!(first_lines(&tuned).contains(&expected.as_str()), "{expected} is not in {tuned:?}");
}

#[test]
fn each_setting_that_differs_from_the_checkpoints_has_a_line_with_both_values() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(root, "--run-id r1 --epochs 1 --set learning_rate=0.001 --set dropout=0.5 --topk 2");
    let resumed = run(root, "--run-id r1 --epochs 1 --ckpt-path auto");
    let lines = first_lines(&resumed);
    for expected in [
        "warning: hparams.learning_rate is 0.01, was 0.001 in the checkpoint",
        "warning: hparams.dropout is 0.2, was 0.5 in the checkpoint",
        "best.topk is 1, was 2 in the checkpoint",
    ] {
        assert!(lines.contains(&expected), "{expected} is not in {lines:?}");
    }
    assert_eq!(lines.len(), 5, "nothing else differs: {lines:?}");
}

#[test]
fn differing_hyperparameters_are_an_error_or_fine_where_the_configuration_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(root, "--run-id r1 --epochs 1 --set dropout=0.5");
    let resume = |level: &str| {
        Running::start(warmup(
            root,
            &format!("--run-id r1 --epochs 2 --ckpt-path auto --set changed_hparams=\"{level}\""),
        ))
        .end()
    };
    let before = last_metadata(root);
    let refused = resume("error");
    assert_eq!(refused.code(), Some(2), "{refused:?}");
    let says = ["hparams.dropout is 0.2, was 0.5 in the checkpoint", "changed_hparams"];
    assert!(says.iter().all(|part| refused.stderr.contains(part)), "{refused:?}");
    assert_eq!(last_metadata(root), before, "nothing was trained");
    let allowed = resume("allow");
    assert_eq!(allowed.code(), Some(0), "{allowed:?}");
    assert!(!allowed.stderr.contains("dropout"), "{allowed:?}");
}

#[test]
fn resume_takes_settings_and_hyperparameters_from_the_checkpoint_and_changes_only_what_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let made =
        "--run-id r1 --epochs 1 --seed 7 --set hidden=8 --set dropout=0.5 --save-every-steps 9 --topk 2";
    run(root, made);
    let resume = |run: &Path, more: &str| {
        let mut command = warmup(root, more);
        command.arg("--resume").arg(run);
        Running::start(command).end_well()
    };
    let ended = resume(&run_dir(root), "--epochs 2 --set dropout=0.25");
    let lines = first_lines(&ended);
    assert_eq!(
        lines[2..],
        [
            "warning: hparams.dropout is 0.25, was 0.5 in the checkpoint",
            "max_epochs is 2, was 1 in the checkpoint"
        ]
    );
    let metadata = last_metadata(root);
    let hparams = |key: &str| metadata.hparams[key].clone();
    assert_eq!([hparams("hidden"), hparams("dropout")], [json!(8), json!(0.25)]);
    let config = &metadata.trainer_config;
    assert_eq!((&config["seed"], &config["max_epochs"]), (&json!(7), &json!(2)));
    assert_eq!(config.pointer("/strategies/1/every_n_steps"), Some(&json!(9)));
    // The printed command resumes in the same way, and so does the run's id, and a checkpoint.
    let printed = ended.stdout.lines().find(|line| line.starts_with("resume: ")).unwrap();
    assert!(printed.contains(&format!("--resume {} --epochs 4", run_dir(root).display())), "{printed}");
    let again = Running::start(printed_command(&ended.stdout)).end_well();
    assert!(again.stdout.contains("steps 120"), "{again:?}");
    assert_eq!(last_metadata(root).hparams, metadata.hparams);
    for name in [Path::new("r1").to_path_buf(), checkpoints(root).join("last.ckpt")] {
        let ended = resume(&name, "");
        assert!(ended.stdout.contains("nothing to do: the run r1"), "{ended:?}");
    }
}

#[test]
fn a_setting_of_a_strategy_has_one_name_where_it_is_set_and_where_it_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(root, "--run-id r1 --epochs 1");
    let set = "--epochs 2 --set best.topk=3 --set last.every_n_steps=7";
    let mut command = warmup(root, set);
    command.arg("--resume").arg(run_dir(root));
    let ended = Running::start(command).end_well();
    for expected in ["best.topk is 3, was 1 in the checkpoint", "last.every_n_steps is 7, was "] {
        assert!(first_lines(&ended).iter().any(|line| line.starts_with(expected)), "{expected}: {ended:?}");
    }
    let runs = ["--columns", "run,best.topk,trainer.last.every_n_steps"];
    let table = stdout(&burn_ckpt(&[&"runs", &root, &runs[0], &runs[1]]));
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [["run", "best.topk", "last.every_n_steps"], ["r1", "3", "7"]], "{table}");
    run(root, "--run-id r2 --epochs 1");
    let [one, other] = ["r1", "r2"].map(|run| root.join("burn_trainer_logs").join(run).join("last"));
    let (text, _) = ended_with(&burn_ckpt(&[&"diff", &one, &other]), 1);
    let line = text.lines().find(|line| line.trim_start().starts_with("best.topk ")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["best.topk", "3", "1"], "{text}");
    assert!(!text.contains("strategies."), "{text}");
}

#[test]
fn by_name_a_run_resumes_with_the_settings_of_the_checkpoint_that_auto_takes() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let flags = r#"--run-id r1 --ckpt-path auto --set strategies=[{"kind":"last","topk":2}]"#;
    run(root, &format!("{flags} --epochs 1 --set dropout=0.5"));
    run(root, &format!("{flags} --epochs 2"));
    // The newest one is complete by its digests, and its state cannot be.
    let newest = checkpoints(root).join("last/epoch=1-step=60.ckpt");
    let copy = root.join("copy.ckpt");
    std::fs::copy(&newest, &copy).unwrap();
    let (from, described) = (Checkpoint::open(&copy).unwrap(), last_metadata(root));
    let mut contents = Contents::new(&from.hparams::<Value>().unwrap()).unwrap();
    contents.trainer_state = from.trainer_state().unwrap();
    contents.trainer_state["training_time_seconds"] = json!(-1.0);
    for name in from.sections() {
        contents = contents.with_section(name, from.section(name).unwrap());
    }
    std::fs::remove_file(metadata_path(&newest)).unwrap();
    std::fs::remove_file(&newest).unwrap();
    contents.save(&newest, described).unwrap();

    let ended = run(root, "--resume r1 --epochs 3");
    let says =
        ["its training time is -1 seconds", "resuming r1 from last/epoch=0-step=30.ckpt (epoch 2 of 3)"];
    assert!(says.iter().all(|part| ended.stderr.contains(part)), "{ended:?}");
    let resumed = last_metadata(root);
    assert_eq!((resumed.global_step, &resumed.hparams["dropout"]), (90, &json!(0.5)), "{ended:?}");
}

#[test]
fn what_cannot_be_resumed_by_name_is_an_error_that_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(root, "--run-id r1 --epochs 1");
    let stray = root.join("stray.ckpt");
    for end in ["", ".metadata.json"] {
        let name = |path: &Path| format!("{}{end}", path.display());
        std::fs::copy(name(&checkpoints(root).join("last/epoch=0-step=30.ckpt")), name(&stray)).unwrap();
    }
    std::fs::create_dir_all(root.join("burn_trainer_logs/empty/checkpoint")).unwrap();
    let given = |command: &mut Command, run: &str| {
        command.args(["--resume", run]);
        Running::start(std::mem::replace(command, Command::new("true"))).end()
    };
    for (name, says) in [
        ("r7", "there is no run"),
        ("empty", "no checkpoint to resume from"),
        (stray.to_str().unwrap(), "--ckpt-path"),
    ] {
        let ended = given(&mut warmup(root, ""), name);
        assert_eq!(ended.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains(says) && ended.stderr.contains(name), "{says:?} is not in {ended:?}");
    }
    let both = given(&mut warmup(root, "--ckpt-path auto"), "r1");
    assert_eq!(both.code(), Some(2), "{both:?}");
}

#[test]
fn the_metadata_lists_every_start_with_its_settings_and_how_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let flags = "--run-id r1 --epochs 2 --save-every-steps 5 --set dropout=0.5";
    stop_at_batch(warmup(root, flags), Split::Train, 8);
    let again = format!("{flags} --ckpt-path auto");
    let panics = Running::start(TestHooks::panic(Split::Train, 4).given_to(warmup(root, &again))).end();
    assert_eq!(panics.code(), Some(1), "{panics:?}");
    run(root, "--run-id r1 --epochs 2 --ckpt-path auto");
    run(root, "--run-id r1 --epochs 3 --ckpt-path auto");
    let metadata = last_metadata(root);
    let starts = &metadata.starts;
    let shown = |start: &RunStart| (start.epoch, start.global_step, start.ended.clone().unwrap_or_default());
    assert_eq!(
        starts.iter().map(shown).collect::<Vec<_>>(),
        [
            (0, 0, "stopped: SIGTERM".to_owned()),
            (0, 8, "exception: the batch 4 was told to panic".to_owned()),
            (0, 11, "done".to_owned()),
            (2, 60, String::new()),
        ]
    );
    let from: Vec<_> = starts.iter().map(|start| start.resumed_from.as_deref()).collect();
    assert_eq!(from[..2], [None, Some("last/epoch=0-step=8.ckpt")]);
    assert!(from[2].is_some_and(|path| path.starts_with("on_exception/")), "{from:?}");
    let dropout = |start: &RunStart| start.hparams.as_ref().map(|hparams| hparams["dropout"].clone());
    assert_eq!(
        starts.iter().map(dropout).collect::<Vec<_>>(),
        [Some(json!(0.5)), None, Some(json!(0.2)), None]
    );
    let epochs = |start: &RunStart| start.trainer_config.as_ref().map(|config| config["max_epochs"].clone());
    assert_eq!(epochs(&starts[0]), Some(json!(2)));
    assert_eq!(epochs(&starts[3]), Some(Value::from(3)));
    assert!(starts.is_sorted_by(|one, other| one.timestamp < other.timestamp));
    assert_eq!(metadata.start_timestamp, starts[0].timestamp);
}

#[test]
fn the_name_of_a_file_writes_nothing_but_its_text_to_the_terminal() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), "--run-id r1 --epochs 1");
    std::fs::write(checkpoints(root.path()).join("last/\u{1b}[2Jx.ckpt"), "not a checkpoint").unwrap();
    let resumed = run(root.path(), "--run-id r1 --epochs 2 --ckpt-path auto");
    let is_named =
        |line: &str| line.starts_with("warning: skipped ") && line.contains(r"last/\u{1b}[2Jx.ckpt");
    assert!(resumed.stderr.lines().any(is_named), "{resumed:?}");
    assert!(!resumed.stderr.contains('\u{1b}'), "{resumed:?}");
}
