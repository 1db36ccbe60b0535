//! `cargo xtask train`: its flags, its exit statuses, and what goes to which output.

use std::process::Stdio;

use system_tests::programs::commands::{
    stderr, stdout, train_example, xtask_train_command, xtask_train_on_a_terminal,
};
use system_tests::programs::running::{Running, digits, warmup};
use system_tests::run_files::{checkpoints, metadata, stems};

#[test]
fn wrong_usage_ends_with_status_2_and_names_what_is_right() {
    let root = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["--set", "max_epoch=3"][..], &["max_epoch", "max_epochs", "batch_size"][..]),
        (
            &["--set", "max_epochs=\"three\""],
            &["max_epochs", "a whole number from 0, as in --set max_epochs=10"],
        ),
        (&["--set", "batch_size=-1"], &["batch_size", "a whole number"]),
        (&["--set", "run_id=[r1"], &["not JSON", "quotes"]),
        (&["--set", "seed"], &["KEY=VALUE"]),
        (&["--set", "strategies.0.topk=0"], &["topk", "above 0"]),
        (&["--set", "strategies.0.topkk=0"], &["strategies.0 has kind, metric, mode, topk"]),
        (&["--set", "strategies.7.topk=0"], &["strategies has the numbers below 3"]),
        (&["--set", "strategies.2.timeout_seconds=1e300"], &["timeout_seconds"]),
        (&["--topk", "0"], &["topk"]),
        (&["--save-every-steps", "0"], &["above 0"]),
        (&["--save-every-seconds", "-1"], &["save-every-seconds"]),
        (&["--no-such-flag"], &["--no-such-flag"]),
        (&["--set", "primary_metric=\"val_los\""], &["val_los", "train_loss", "val_accuracy"]),
        (&["--set", "strategies.1.filename=\"{epok}\""], &["epok", "epoch, step"]),
        (&["--run-id", "a/b"], &["run id"]),
        (&["--set", "batch_size=0"], &["batch_size", "above 0"]),
        (&["--set", "dropout=1.5"], &["dropout"]),
        (&["--set", "learning_rate=0"], &["learning_rate"]),
        (&["--set", "data=\"letters\""], &["digits|mnist"]),
        (&["--data", "digits", "--set", "data=mnist"], &["--set data=mnist", "--data says it too"]),
        (&["--topk", "2", "--set", "strategies.0.topk=3"], &["strategies.0.topk=3", "--topk says it too"]),
    ] {
        let output = train_example(root.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
        for word in expected {
            assert!(stderr(&output).contains(word), "{arguments:?}: no {word:?} in {}", stderr(&output));
        }
    }
    // The command has the program's status and messages.
    let output = xtask_train_command(root.path(), &["--set", "max_epoch=3"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(output.stdout.is_empty() && stderr(&output).contains("max_epochs"), "{}", stderr(&output));
}

#[test]
fn flags_reach_the_configuration() {
    let root = tempfile::tempdir().unwrap();
    let flags = [
        "--run-id",
        "r1",
        "--epochs",
        "2",
        "--seed",
        "7",
        "--save-every-steps",
        "20",
        "--topk",
        "2",
        "--set",
        "channels=4",
        "--set",
        "strategies.1.topk=\"all\"",
        "--set",
        "name=\"a try\"",
        "--set",
        "dropout=0.1",
    ];
    let output = train_example(root.path(), &flags);
    stdout(&output);
    let directory = checkpoints(root.path());
    let described = metadata(&directory.join("last.ckpt"));
    assert_eq!(described["name"], "a try");
    assert_eq!(described["hparams"]["channels"], 4);
    assert_eq!(described["hparams"]["dropout"], 0.1);
    let config = &described["trainer_config"];
    assert_eq!((config["seed"].as_u64(), config["max_epochs"].as_u64()), (Some(7), Some(2)));
    assert_eq!(config["strategies"][0]["topk"], 2);
    let saved = ["0-step=20", "0-step=40", "0-step=45", "1-step=60", "1-step=80", "1-step=90"];
    let saved: Vec<String> = saved.iter().map(|name| format!("epoch={name}")).collect();
    assert_eq!(stems(&directory.join("last")), saved);
    assert_eq!(stems(&directory.join("best")).len(), 2);
    // Progress is not a result.
    assert!(stderr(&output).contains("epoch 1/2 train") && !stdout(&output).contains("epoch 1/2"));
}

#[test]
fn the_printed_command_resumes_from_there() {
    let root = tempfile::tempdir().unwrap();
    let place = "a place with spaces";
    let printed = stdout(&train_example(root.path(), &["--root", place, "--run-id", "r1", "--epochs", "1"]));
    let command = printed.lines().find_map(|line| line.strip_prefix("resume: ")).unwrap();
    let words = "cargo xtask train ";
    assert!(command.starts_with(words), "{command}");
    // A shell takes the command apart, as it does for a user who copies it.
    let script = format!("printf '%s\\n' {}", &command[words.len()..]);
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    let arguments = stdout(&output);
    let arguments: Vec<&str> = arguments.lines().collect();
    stdout(&xtask_train_command(root.path(), &arguments).output().unwrap());
    let last = root.path().join(place).join("burn_trainer_logs/r1/checkpoint/last.ckpt");
    assert_eq!(metadata(&last)["global_step"], 90);
}

#[test]
fn a_run_that_exists_is_wrong_usage_without_a_word_on_what_to_do_with_it() {
    let root = tempfile::tempdir().unwrap();
    let flags = ["--run-id", "r1", "--epochs", "1"];
    stdout(&train_example(root.path(), &flags));
    let output = train_example(root.path(), &flags);
    assert_eq!(output.status.code(), Some(2));
    for word in ["auto", "overwrite", "run id"] {
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
    }
    stdout(&train_example(root.path(), &[&flags[..], &["--overwrite"]].concat()));
}

#[test]
fn on_a_terminal_there_is_burns_dashboard_and_the_results_outlast_it() {
    let root = tempfile::tempdir().unwrap();
    let output = xtask_train_on_a_terminal(root.path(), &["--run-id", "r1", "--epochs", "2"]);
    let shown = stdout(&output);
    // The terminal's own commands for its second screen, which a dashboard is drawn on.
    let (opened, closed) = (shown.find("\x1b[?1049h"), shown.rfind("\x1b[?1049l"));
    let results = shown.find("checkpoints: ");
    assert!(opened.is_some() && opened < closed && closed < results, "{opened:?} {closed:?} {results:?}");
    assert!(shown.contains("resume: cargo xtask train digits"));
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_run() {
    let root = tempfile::tempdir().unwrap();
    stdout(&train_example(root.path(), &["--run-id", "r0", "--epochs", "1"]));
    // The program itself, which that has built.
    let program = std::env::current_exe().unwrap();
    let program = program.parent().and_then(std::path::Path::parent).unwrap().join("digits");
    // head leaves after the first line of either output, and the shell with it, unless it is told to wait.
    let command = format!("'{}' --run-id r1 --epochs 2", program.display());
    let script =
        format!("{{ {command}; touch done; }} 2>&1 | head -n 1; until [ -e done ]; do sleep 0.1; done");
    let output =
        std::process::Command::new("sh").args(["-c", &script]).current_dir(root.path()).output().unwrap();
    assert_eq!(stdout(&output), "starting r1\n");
    assert_eq!(metadata(&checkpoints(root.path()).join("last.ckpt"))["global_step"], 90);
    assert!(!root.path().join("burn_trainer_logs/r1/run.lock").exists());
}

#[test]
fn a_limit_that_ends_a_run_is_named_and_a_command_that_would_do_nothing_is_not() {
    let root = tempfile::tempdir().unwrap();
    let run = |more: &str| {
        Running::start(warmup(root.path(), &format!("--run-id r1 --epochs 9 {more}"))).end_well()
    };
    for more in ["", "--ckpt-path auto"] {
        let ended = run(&format!("--set max_steps=10 {more}"));
        assert!(ended.stdout.contains("max_steps ended the run after 10 steps"), "{ended:?}");
        assert!(!ended.stdout.contains("resume: "), "{ended:?}");
        // Of nothing there is no line, and no NaN.
        assert_eq!(ended.stderr.contains("epoch 1/9 train"), more.is_empty(), "{ended:?}");
        assert_eq!(ended.stdout.contains("nothing to do"), !more.is_empty(), "{ended:?}");
    }
    let ended = run("--set max_time=0.000001 --ckpt-path auto");
    assert!(ended.stdout.contains("max_time ended the run after 10 steps"), "{ended:?}");
    assert!(!ended.stdout.contains("resume: "), "{ended:?}");
    // A larger one trains it further.
    let ended = run("--set max_steps=20 --ckpt-path auto");
    assert!(ended.stdout.contains("max_steps ended the run after 20 steps"), "{ended:?}");
    // One that falls on the end of the last epoch has ended nothing.
    let ended = run("--set max_steps=270 --ckpt-path auto");
    assert!(
        ended.stdout.contains("epochs 9, steps 270") && !ended.stdout.contains("ended the run"),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("max_steps is reached with the last epoch: a larger one"), "{ended:?}");
    assert!(!ended.stdout.contains("resume: "), "{ended:?}");
    let ended = run("--set max_steps=999 --ckpt-path auto");
    assert!(ended.stdout.contains("nothing to do") && !ended.stdout.contains("is reached"), "{ended:?}");
    assert!(ended.stdout.contains("resume: ") && ended.stdout.contains("--epochs 18"), "{ended:?}");
}

#[test]
fn a_run_whose_states_are_not_finite_is_not_to_be_resumed_and_says_why() {
    let root = tempfile::tempdir().unwrap();
    let ended =
        Running::start(digits(root.path(), "--run-id r1 --epochs 1 --set learning_rate=1e30")).end_well();
    assert!(
        ended.stdout.contains("not to be resumed: ") && ended.stdout.contains("not all finite"),
        "{ended:?}"
    );
    assert!(!ended.stdout.contains("resume: "), "{ended:?}");
    let again = Running::start(digits(root.path(), "--run-id r1 --epochs 2 --ckpt-path auto")).end();
    assert_ne!(again.code(), Some(0), "{again:?}");
}

#[test]
fn an_address_in_the_place_of_a_path_is_wrong_usage_and_makes_no_directory_of_that_name() {
    let root = tempfile::tempdir().unwrap();
    for flags in [
        &["--root", "s3://canary@b/p"][..],
        &["--set", "logs=s3://canary@b/p"],
        &["--set", "best.dirpath=file:///canary"],
        &["--resume", "s3://canary@b/r1"],
        &["--ckpt-path", "s3://canary@b/r1/last"],
        &["--evaluate", "s3://canary@b/r1/last"],
        &["--find-lr", "s3://canary@b/x.svg"],
    ] {
        let output = train_example(root.path(), &[flags, &["--epochs", "1"]].concat());
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {error}");
        assert!(error.contains("address") && !error.contains("canary"), "{flags:?}: {error}");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "{flags:?}: {error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_printed_are_an_error_and_a_reader_that_has_gone_is_none() {
    let root = tempfile::tempdir().unwrap();
    let run = |id: &str, output: Stdio| {
        let few = "--epochs 1 --set limit_train_batches=2 --set limit_valid_batches=1 --run-id";
        let mut command = digits(root.path(), &format!("{few} {id}"));
        command.stdout(output).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
    };
    let full = run("full", std::fs::File::options().write(true).open("/dev/full").unwrap().into());
    assert_eq!(full.status.code(), Some(1), "{}", stderr(&full));
    assert!(stderr(&full).contains("results cannot be written to standard output"), "{}", stderr(&full));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let closed = run("closed", writer.into());
    assert_eq!(closed.status.code(), Some(0), "{}", stderr(&closed));
}

#[test]
fn results_name_a_strategy_by_its_kind_and_a_run_without_checkpoints_has_its_values() {
    let root = tempfile::tempdir().unwrap();
    let few = ["--epochs", "1", "--set", "limit_train_batches=2", "--set", "limit_valid_batches=1"];
    let elsewhere = ["--set", "best.dirpath=kept", "--set", "last.dirpath=kept"];
    let text = stdout(&train_example(root.path(), &[&few[..], &elsewhere, &["--run-id", "kept"]].concat()));
    assert!(text.contains("\nbest val_loss: ") && text.contains("\nlast: "), "{text}");
    let named = ["--set", "last.filename={epoch:03}-{step}", "--run-id", "named"];
    let text = stdout(&train_example(root.path(), &[&few[..], &named].concat()));
    assert!(text.contains("/last/000-2.ckpt"), "{text}");
    let none = ["--set", "checkpoint_saving=false", "--run-id", "none"];
    let text = stdout(&train_example(root.path(), &[&few[..], &none].concat()));
    assert!(
        text.starts_with("train_loss ") && text.contains("val_loss ") && !text.contains("checkpoints"),
        "{text}"
    );
}
