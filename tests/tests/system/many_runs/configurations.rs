//! `burn-ckpt show` and `diff` know the trainer's configuration.

use std::process::Command;

use burn_trainer::TrainerConfig;
use burn_trainer::config::EarlyStopping;
use serde_json::{Value, json};
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, stdout};
use system_tests::{config, train};

fn trained(change: impl FnOnce(TrainerConfig) -> TrainerConfig) -> (tempfile::TempDir, String) {
    let root = tempfile::tempdir().unwrap();
    train(change(config(root.path(), 1))).unwrap();
    let last = root.path().join("burn_trainer_logs/r1/last").display().to_string();
    (root, last)
}

#[test]
fn two_runs_that_differ_in_their_seed_alone_say_so() {
    let (_a, a) = trained(|config| config);
    let (_b, b) = trained(|config| config.with_seed(7).with_tags(["other"]).with_name("second"));
    let (out, _) = ended_with(&burn_ckpt(&[&"diff", &a, &b, &"--json"]), 1);
    let differences: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(differences["trainer_config"], json!([{ "name": "seed", "a": 42, "b": 7 }]));
    let (out, _) = ended_with(&burn_ckpt(&[&"diff", &a, &b]), 1);
    assert!(out.contains("trainer settings\n  seed  42  7\n"), "{out}");
}

#[test]
fn settings_are_shown_with_their_paths_and_those_that_are_not_set_on_demand() {
    let (_root, last) = trained(|config| {
        config
            .with_seed(7)
            .with_tags(["a", "b"])
            .with_notes("before the\nnew data")
            .with_last(burn_trainer::strategy::Last::new().with_every_n_steps(5))
    });
    let text = stdout(&burn_ckpt(&[&"show", &last]));
    let settings = text.split("\ntrainer settings\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let has = |name: &str| settings.lines().any(|line| line.split_whitespace().next() == Some(name));
    assert!(has("seed") && has("last.every_n_steps") && !has("max_steps") && !has("overwrite"), "{settings}");
    assert!(
        text.contains("  tags ") && text.contains("a, b\n") && text.contains("before the\\nnew data\n"),
        "{text}"
    );
    let all = stdout(&burn_ckpt(&[&"show", &last, &"--all"]));
    assert!(all.contains("  max_steps ") && all.contains("null"), "{all}");
    let whole: Value = serde_json::from_str(&stdout(&burn_ckpt(&[&"show", &last, &"--json"]))).unwrap();
    assert_eq!(whole["metadata"]["trainer_config"]["seed"], 7);
}

#[test]
fn verbs_print_json() {
    let (root, last) = trained(|config| config);
    let logs = root.path().join("burn_trainer_logs").display().to_string();
    let run = format!("{logs}/r1");
    let out = |name: &str| root.path().join(name).display().to_string();
    let (exported, imported, average) = (out("a.safetensors"), out("a.ckpt"), out("b.ckpt"));
    let (_other, other) = trained(|config| config.with_seed(7));
    let verbs: [&[&str]; 10] = [
        &["export", &last, &exported],
        &["import", &exported, &imported],
        &["average", &other, &last, "-o", &average],
        &["runs", &logs],
        &["ls", &logs],
        &["show", &last],
        &["verify", &run],
        &["diff", &last, &last],
        &["tag", &run],
        &["env"],
    ];
    for arguments in verbs {
        let output = burn_ckpt_command().args(arguments).arg("--json").output().unwrap();
        let file = root.path().join("printed.json");
        std::fs::write(&file, stdout(&output)).unwrap();
        let judged = Command::new("python3").args(["-m", "json.tool"]).arg(&file).output().unwrap();
        assert!(judged.status.success() && !judged.stdout.is_empty(), "{arguments:?}: {judged:?}");
    }
    let damaged = root.path().join("damaged.ckpt");
    std::fs::write(&damaged, "not a checkpoint").unwrap();
    let (out, _) = ended_with(&burn_ckpt(&[&"verify", &run, &damaged, &"--json"]), 1);
    let found: Value = serde_json::from_str(&out).unwrap();
    let states: Vec<&str> =
        found.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["verified", "verified", "damaged"]);
    assert!(found[0]["checkpoint_checksum"].as_str().unwrap().starts_with("sha256:"), "{out}");
    assert!(found[2]["checkpoint_checksum"].is_null() && found[2]["problem"].is_string(), "{out}");
}

#[test]
fn early_stopping_that_some_runs_do_not_have_is_one_column_of_runs() {
    let root = tempfile::tempdir().unwrap();
    let stopping = EarlyStopping::new("val_loss");
    train(config(root.path(), 1).with_run_id("a")).unwrap();
    train(config(root.path(), 1).with_run_id("b").with_early_stopping(stopping.clone())).unwrap();
    let last = |more: &[&str]| -> Vec<String> {
        let output = burn_ckpt_command().arg("runs").arg(root.path()).args(more).output().unwrap();
        let text = stdout(&output);
        text.lines().map(|line| line.rsplit("  ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(last(&[]), ["early_stopping", "-", "val_loss, patience 3"]);
    let text = stdout(&burn_ckpt(&[&"runs", &root.path()]));
    assert_eq!(
        text.lines().next().unwrap().split_whitespace().filter(|name| name.contains("early")).count(),
        1
    );
    // It can be named, sorted by, and its fields are still settings.
    assert_eq!(last(&["--columns", "run,early_stopping"]), ["early_stopping", "-", "val_loss, patience 3"]);
    assert_eq!(last(&["--sort", "early_stopping", "--columns", "run"]), ["run", "b", "a"]);
    assert_eq!(last(&["--columns", "run,early_stopping.patience"])[2], "3");
    let one = stopping.with_patience(5).with_check_finite(false);
    train(config(root.path(), 1).with_run_id("c").with_early_stopping(one)).unwrap();
    let third = "val_loss, patience 5, check_finite false";
    assert_eq!(last(&[]), ["early_stopping", "-", "val_loss, patience 3", third]);
    let json: Value = serde_json::from_str(&stdout(&burn_ckpt(&[&"runs", &root.path(), &"--json"]))).unwrap();
    assert_eq!(json[1]["trainer_config"]["early_stopping.patience"], 3);
}
