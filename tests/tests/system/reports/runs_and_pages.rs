//! What `burn-ckpt runs` says of a best value that other settings gave, and of a run that has saved nothing.

use std::path::Path;

use serde_json::{Value, json};
use system_tests::programs::browser;
use system_tests::programs::commands::{burn_ckpt, ended_with, stdout};
use system_tests::programs::running::{Running, warmup};
use system_tests::run_files::{copy_tree, run_dir};
use system_tests::{config, train};

fn runs(directory: &Path) -> Vec<Value> {
    serde_json::from_str(&stdout(&burn_ckpt(&[&"runs", &directory, &"--json"]))).unwrap()
}

#[test]
fn a_best_value_that_other_settings_gave_is_marked_and_the_starts_say_what_changed() {
    let root = tempfile::tempdir().unwrap();
    let start = |flags: &str| Running::start(warmup(root.path(), flags)).end_well();
    start("--run-id r1 --epochs 2 --seed 3 --set learning_rate=0.01");
    let run = run_dir(root.path());
    let (out, err) = ended_with(&burn_ckpt(&[&"runs", &run]), 0);
    assert!(!out.contains('*') && err.is_empty(), "{out}{err}");
    start("--resume r1 --epochs 3 --set learning_rate=1 --set seed=7 --progress off");
    let best = &runs(&run)[0]["best"];
    assert_eq!(best["other_settings"], json!({ "learning_rate": 0.01, "seed": 3 }), "{best}");
    assert_eq!(best["is_trained_again"], false);
    let (out, err) = ended_with(&burn_ckpt(&[&"runs", &run]), 0);
    assert!(out.contains("* "), "{out}");
    let with = "was trained with learning_rate 0.01, seed 3";
    assert!(err.starts_with("note: *r1: the best checkpoint (step ") && err.contains(with), "{err}");
    let (_, err) = ended_with(&burn_ckpt(&[&"runs", &run, &"--columns", &"run,epochs"]), 0);
    assert!(err.is_empty(), "{err}");
    let shown = stdout(&burn_ckpt(&[&"show", &run.join("last")]));
    let changed = shown.lines().find(|line| line.trim_start().starts_with("changed ")).unwrap();
    for change in ["learning_rate 0.01 -> 1", "max_epochs 2 -> 3", "seed 3 -> 7"] {
        assert!(changed.contains(change), "{change}: {shown}");
    }
    assert!(!changed.contains("root") && !changed.contains("ckpt_path"), "{changed}");
    let page = root.path().join("page.html");
    ended_with(&burn_ckpt(&[&"report", &"-o", &page, &run]), 0);
    let said = browser::ask(
        &page,
        "async () => ({
           starts: [...document.querySelectorAll('[aria-label^=\"starts of\"] tbody tr')].map((row) => row.children[4].textContent),
           top: document.getElementById('top').textContent,
         })",
    );
    assert_eq!(said["starts"][0], "");
    assert!(said["starts"][1].as_str().unwrap().contains("learning_rate 0.01 -> 1"), "{said}");
    assert!(said["top"].as_str().unwrap().contains(with), "{said}");
}

#[test]
fn a_best_value_of_a_part_that_was_trained_again_is_marked() {
    let root = tempfile::tempdir().unwrap();
    let every_epoch = burn_trainer::strategy::Last::new().with_topk(burn_ckpt::retention::TopK::All);
    train(config(root.path(), 4).with_last(every_epoch.clone())).unwrap();
    let run = run_dir(root.path());
    let first = run.join("checkpoint/last/epoch=0-step=10.ckpt");
    let branch = config(root.path(), 2).with_last(every_epoch).with_ckpt_path(first.to_str().unwrap());
    train(branch).unwrap();
    let best = &runs(&run)[0]["best"];
    assert_eq!((&best["step"], &best["is_trained_again"]), (&json!(40), &json!(true)), "{best}");
    let (_, err) = ended_with(&burn_ckpt(&[&"runs", &run]), 0);
    assert!(err.contains("the best checkpoint (step 40) is of a part that was trained again"), "{err}");
}

#[test]
fn a_run_that_has_saved_nothing_has_what_its_log_says() {
    let root = tempfile::tempdir().unwrap();
    let logs = run_dir(root.path()).parent().unwrap().to_path_buf();
    train(config(root.path(), 2).with_run_id("saved")).unwrap();
    train(config(root.path(), 3).with_run_id("unsaved").with_checkpoint_saving(false)).unwrap();
    let found = runs(&logs);
    let [saved, unsaved] = [&found[0], &found[1]];
    assert_eq!(unsaved["status"], "never saved");
    assert_eq!((&unsaved["epochs"], &unsaved["steps"]), (&json!(3), &json!(30)));
    assert!(unsaved["training_time_seconds"].as_f64().unwrap() > 0.0, "{unsaved}");
    for key in ["hparams", "trainer_config", "checkpoint_timestamp", "best", "max_epochs"] {
        assert_eq!(unsaved[key], Value::Null, "{key}");
    }
    let page = root.path().join("page.html");
    ended_with(&burn_ckpt(&[&"report", &"-o", &page, &logs.join("unsaved")]), 0);
    let shown = browser::ask(&page, "async () => (await readData()).runs[0]");
    assert_eq!((&shown["epochs"], &shown["global_step"]), (&unsaved["epochs"], &unsaved["steps"]));
    let log: Vec<Value> =
        serde_json::from_str(&stdout(&burn_ckpt(&[&"log", &logs.join("unsaved"), &"--json"]))).unwrap();
    assert_eq!(unsaved["metrics"]["val_loss"]["newest"], log[2]["metrics"]["val_loss"]);
    // It has trained for longer, and its settings are not known: no setting differs.
    let text = stdout(&burn_ckpt(&[&"runs", &logs, &"--sort", &"val_loss"]));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].starts_with("unsaved ") && lines[2].starts_with("saved "), "{text}");
    let heading: Vec<&str> = lines[0].split_whitespace().collect();
    assert!(!heading.contains(&"seed") && !heading.contains(&"hidden"), "{text}");
    assert!(saved["best"]["value"].is_number(), "{saved}");
}

#[test]
fn runs_are_listed_by_their_numbers_by_both_verbs() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    for number in [2, 10] {
        copy_tree(&run, &run.with_file_name(format!("r{number}")));
    }
    for verb in ["ls", "runs"] {
        let text = stdout(&burn_ckpt(&[&verb, &root.path(), &"--json"]));
        let listed: Vec<Value> = serde_json::from_str(&text).unwrap();
        let names: Vec<&str> = listed.iter().map(|run| run["run"].as_str().unwrap()).collect();
        assert_eq!(names, ["r1", "r2", "r10"], "{verb}");
    }
}

#[test]
fn an_id_that_looks_like_another_is_an_error_and_one_that_is_there_is_shown_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    for (id, reason) in [
        (" r1", "\" r1\" begins or ends with a space"),
        ("r1\u{a0}", "begins or ends with a space"),
        ("a\u{202e}b", "a\\u{202e}b has \\u{202e}, which cannot be seen"),
    ] {
        let error = train(config(root.path(), 1).with_run_id(id)).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(!run_dir(root.path()).parent().unwrap().join(id).exists(), "{id:?}");
    }
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let turned = run.with_file_name("a\u{202e}b");
    std::fs::rename(&run, &turned).unwrap();
    train(config(root.path(), 2).with_run_id("a\u{202e}b").with_ckpt_path("auto")).unwrap();
    let page = root.path().join("page.html");
    ended_with(&burn_ckpt(&[&"report", &"-o", &page, &turned]), 0);
    let shown = browser::ask(&page, "async () => document.body.innerText + document.title");
    assert!(!shown.as_str().unwrap().contains('\u{202e}'), "{shown}");
    assert!(shown.as_str().unwrap().contains("a\\u{202e}b"), "{shown}");
}
