//! `burn-ckpt diff`: what differs is named, what does not is not, and tensors are read only where they must
//! be.

use std::fs;
use std::path::{Path, PathBuf};

use burn_ckpt::{Checkpoint, Contents, Metadata};
use burn_trainer::strategy::{Last, StrategyConfig};
use serde_json::{Value, json};
use system_tests::programs::commands::{burn_ckpt, ended_with, workspace};
use system_tests::run_files::{checkpoints, copy_checkpoint, edit_metadata, metadata, run_dir};
use system_tests::{config, train, train_and_keep_all};

fn last(root: &Path, epoch: usize) -> PathBuf {
    checkpoints(root).join(format!("last/epoch={epoch}-step={}.ckpt", 10 * (epoch + 1)))
}

fn differences(a: &Path, b: &Path) -> Value {
    let (out, _) = ended_with(&burn_ckpt(&[&"diff", &a, &b, &"--json"]), 1);
    serde_json::from_str(&out).unwrap()
}

fn names(changes: &Value) -> Vec<&str> {
    changes.as_array().unwrap().iter().map(|change| change["name"].as_str().unwrap()).collect()
}

/// A copy of a checkpoint that was changed, with metadata that fits it.
fn changed(from: &Path, to: &Path, change: impl FnOnce(&mut Contents)) {
    let checkpoint = Checkpoint::open(from).unwrap();
    let mut contents = Contents::new(&checkpoint.hparams::<Value>().unwrap()).unwrap();
    contents.trainer_state = checkpoint.trainer_state().unwrap();
    for name in checkpoint.sections() {
        contents = contents.with_section(name, checkpoint.section(name).unwrap());
    }
    change(&mut contents);
    contents.save(to, checkpoint.metadata().unwrap()).unwrap();
}

fn edit_metadata_beside(checkpoint: &Path, edit: impl FnOnce(&mut Value)) {
    let mut described = metadata(checkpoint);
    edit(&mut described);
    fs::write(format!("{}.metadata.json", checkpoint.display()), described.to_string()).unwrap();
}

#[test]
fn one_state_under_two_names_does_not_differ() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let (out, err) = ended_with(&burn_ckpt(&[&"diff", &run.join("last"), &run.join("best")]), 0);
    assert!(
        out.starts_with("no difference in ") && out.contains("none was read") && err.is_empty(),
        "{out}{err}"
    );
    let (out, _) = ended_with(&burn_ckpt(&[&"diff", &run.join("last"), &run.join("best"), &"--json"]), 0);
    let differences: Value = serde_json::from_str(&out).unwrap();
    for key in
        ["state_and_machine", "metrics", "hparams", "git", "packages", "scalars", "sections", "tensors"]
    {
        assert_eq!(differences[key], json!([]), "{key}");
    }
}

#[test]
fn two_runs_of_one_seed_do_not_differ() {
    let [a, b] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for root in [&a, &b] {
        train(config(root.path(), 1)).unwrap();
    }
    // Their parameter ids are random, and when they ran is another time.
    let bytes = [&a, &b].map(|root| fs::read(last(root.path(), 0)).unwrap());
    assert_ne!(bytes[0], bytes[1]);
    let (out, _) = ended_with(&burn_ckpt(&[&"diff", &last(a.path(), 0), &last(b.path(), 0)]), 0);
    assert!(out.starts_with("no difference"), "{out}");
}

#[test]
fn two_steps_of_a_run_differ_in_what_training_changes() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 1.0], 1).unwrap();
    let (a, b) = (last(root.path(), 0), last(root.path(), 1));
    let differences = differences(&a, &b);
    let expected = json!([{ "name": "epoch", "a": 0, "b": 1 }, { "name": "global_step", "a": 10, "b": 20 }]);
    assert_eq!(differences["state_and_machine"], expected);
    assert_eq!(differences["metrics"], json!([{ "name": "val_score", "a": 3.0, "b": 1.0 }]));
    for key in ["hparams", "git", "packages", "sections"] {
        assert_eq!(differences[key], json!([]), "{key}");
    }
    assert!(names(&differences["scalars"]).contains(&"optimizer.input.weight.momentum.time"));
    // By the bytes themselves: those whose bytes are others, and no more.
    let tensors = |path: &Path| -> Vec<(String, Vec<u8>)> {
        let checkpoint = Checkpoint::open(path).unwrap();
        let of = |section: &String| {
            let tensors = checkpoint.section(section).unwrap().tensors;
            let named = tensors
                .into_iter()
                .map(|tensor| (format!("{section}.{}", tensor.name), tensor.to_bytes().unwrap().to_vec()));
            named.collect::<Vec<_>>()
        };
        checkpoint.sections().iter().flat_map(of).collect()
    };
    let others = tensors(&b);
    let mut expected: Vec<String> =
        tensors(&a).into_iter().filter(|tensor| !others.contains(tensor)).map(|(name, _)| name).collect();
    let mut found: Vec<String> = names(&differences["tensors"]).into_iter().map(str::to_owned).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert!(!found.is_empty());
}

#[test]
fn a_section_whose_tensors_all_have_other_values_is_one_line() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 1.0], 1).unwrap();
    let (a, b) = (last(root.path(), 0), last(root.path(), 1));
    let printed = |a: &Path, b: &Path, more: &[&str]| {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"diff", &a, &b];
        arguments.extend(more.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
        let (out, _) = ended_with(&burn_ckpt(&arguments), 1);
        let tensors = out.split_once("\ntensors: ").unwrap().1;
        tensors.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let of = |section: &str| Checkpoint::open(&a).unwrap().section(section).unwrap().tensors.len();
    let (model, optimizer) = (of("model"), of("optimizer"));
    let lines = printed(&a, &b, &[]);
    let shown = |section: &str| {
        let mut rows = lines.iter().filter_map(|line| line.split_once("  "));
        rows.find(|(name, _)| *name == section).unwrap_or_else(|| panic!("{lines:?}")).1.trim()
    };
    assert_eq!(shown("model"), format!("all {model} tensors have other values (--all)"));
    assert_eq!(shown("optimizer"), format!("all {optimizer} tensors have other values (--all)"));
    // The history has grown, which is not another value.
    assert!(lines.len() == 4 && shown("history.epochs").contains(" in A, "), "{lines:?}");
    assert_eq!(printed(&a, &b, &["--all"]).len(), 2 + model + optimizer);
    // Two tensors were not trained.
    let frozen = root.path().join("frozen.ckpt");
    let from = Checkpoint::open(&a).unwrap().section("model").unwrap().tensors;
    changed(&b, &frozen, |contents| {
        let tensors = &mut contents.sections["model"].tensors;
        for name in ["input.weight", "input.bias"] {
            let place = tensors.iter().position(|tensor| tensor.name == name).unwrap();
            tensors[place] = from.iter().find(|tensor| tensor.name == name).unwrap().clone();
        }
    });
    let lines = printed(&a, &frozen, &[]);
    let expected =
        format!("{} tensors have other values (--all), and not input.weight, input.bias", model - 2);
    assert!(lines[1].ends_with(&expected), "{lines:?}");
}

#[test]
fn a_section_that_one_lacks_is_one_line() {
    let root = tempfile::tempdir().unwrap();
    let strategy = Last::new().with_save_weights_only(true);
    train(config(root.path(), 1).with_strategies([StrategyConfig::Last(strategy)])).unwrap();
    let full = tempfile::tempdir().unwrap();
    train(config(full.path(), 1)).unwrap();
    let (a, b) = (last(full.path(), 0), last(root.path(), 0));
    let (out, _) = ended_with(&burn_ckpt(&[&"diff", &a, &b]), 1);
    let lines: Vec<&str> = out.lines().filter(|line| line.contains("only in")).collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert!(lines[0].starts_with("section optimizer: only in A (12 tensors, "), "{out}");
    assert!(!out.contains("moment_1"), "{out}");
    let found = differences(&a, &b);
    assert_eq!(names(&found["sections"]), ["optimizer", "scheduler", "history"]);
    assert_eq!((&found["tensors"], &found["sections"][0]["only_in"]), (&json!([]), &json!("a")));
    assert_eq!(differences(&b, &a)["sections"][0]["only_in"], "b");
}

#[test]
fn what_was_changed_is_named_by_its_path() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let (from, to) = (last(root.path(), 0), root.path().join("changed.ckpt"));
    changed(&from, &to, |contents| {
        contents.hparams["hidden"] = json!(7);
        contents.hparams["optimizer"] = json!({ "betas": [0.9, 0.99] });
        let tensors = &mut contents.sections["model"].tensors;
        tensors.retain(|tensor| tensor.name != "input.bias");
        let weight = tensors.iter_mut().find(|tensor| tensor.name == "input.weight").unwrap();
        weight.shape = [6, 4].into();
        let mut more = tensors[0].clone();
        more.name = "more".to_owned();
        tensors.push(more);
    });
    edit_metadata(&to, |described| {
        described["metrics"]["val_loss"] = json!("NaN");
        let environment = &mut described["environment"];
        environment["git"] = json!({ "branch": "b", "commit": "c", "dirty": true });
        environment["packages"] = json!([{ "name": "new", "version": "1.0.0", "source": "registry" }]);
        environment["rust"]["version"] = json!("another");
        environment["hardware"]["cpu_count"] = json!(1000);
    });
    edit_metadata(&from, |described| {
        described["environment"]["git"] = json!({ "branch": "a", "commit": "c", "dirty": false });
        let old = json!({ "name": "old", "version": "0.1.0", "source": "registry" });
        let versions = ["1.0.0", "0.9.0"].map(|version| json!({ "name": "new", "version": version }));
        described["environment"]["packages"] = json!([old, versions[0], versions[1]]);
    });
    let found = differences(&from, &to);
    let expected =
        json!([{ "name": "hidden", "a": 6, "b": 7 }, { "name": "optimizer.betas", "b": [0.9, 0.99] }]);
    assert_eq!(found["hparams"], expected);
    let change = |name: &str, kind: &str| {
        let mut changes = found[kind].as_array().unwrap().iter();
        changes.find(|change| change["name"] == name).cloned().unwrap_or_else(|| panic!("{name}: {found:#}"))
    };
    let (four, six) =
        (json!({ "dtype": "f32", "shape": [4, 6] }), json!({ "dtype": "f32", "shape": [6, 4] }));
    assert_eq!(
        change("model.input.weight", "tensors"),
        json!({ "name": "model.input.weight", "a": four, "b": six })
    );
    assert!(change("model.input.bias", "tensors").get("b").is_none());
    assert!(change("model.more", "tensors").get("a").is_none());
    assert_eq!(names(&found["tensors"]).len(), 3);
    assert_eq!(change("val_loss", "metrics")["b"], "NaN");
    assert_eq!(names(&found["git"]), ["branch", "dirty"]);
    let packages =
        json!([{ "name": "old", "a": "0.1.0" }, { "name": "new", "a": "1.0.0, 0.9.0", "b": "1.0.0" }]);
    assert_eq!(found["packages"], packages);
    assert_eq!(names(&found["state_and_machine"]), ["rust.version", "hardware.cpu_count"]);
    let (out, _) = ended_with(&burn_ckpt(&[&"diff", &from, &to]), 1);
    for words in
        ["f32 [4, 6] in A, f32 [6, 4] in B", "only in A: f32 [6]", "only in B: f32 ", "optimizer.betas"]
    {
        assert!(out.contains(words), "no {words} in {out}");
    }
}

#[test]
fn with_both_digests_no_tensor_is_read_and_without_them_they_are_computed() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = (root.path().join("a.ckpt"), root.path().join("b.ckpt"));
    // Of version 1: later ones have their digests themselves.
    let golden = workspace().join("tests/golden/v1/digits/checkpoint/best/epoch=0-step=45.ckpt");
    copy_checkpoint(&golden, &a);
    copy_checkpoint(&golden, &b);
    // The last byte of a tensor in b, which its metadata does not know of.
    let mut bytes = fs::read(&b).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&b, bytes).unwrap();
    let (out, _) = ended_with(&burn_ckpt(&[&"diff", &a, &b]), 0);
    assert!(out.contains("none was read"), "{out}");
    // Metadata that says nothing of a tensor as it is in the file does not count.
    edit_metadata_beside(&b, |described| described["tensors"] = json!({}));
    let found = differences(&a, &b);
    assert_eq!(
        (names(&found["tensors"]).len(), &found["tensor_digests_from"]),
        (1, &json!(["metadata", "file"]))
    );
    fs::remove_file(format!("{}.metadata.json", b.display())).unwrap();
    let output = burn_ckpt(&[&"diff", &a, &b, &"--json"]);
    let (out, err) = ended_with(&output, 1);
    assert!(err.contains("no metadata") && err.contains("not compared"), "{err}");
    let without: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(without["tensors"], found["tensors"]);
    assert_eq!((&without["metrics"], &without["git"]), (&Value::Null, &Value::Null));
    fs::remove_file(format!("{}.metadata.json", a.display())).unwrap();
    let (out, _) = ended_with(&burn_ckpt(&[&"diff", &a, &b]), 1);
    assert!(out.contains("read from both files"), "{out}");
}

#[test]
fn long_lists_are_cut_for_a_human_only() {
    let root = tempfile::tempdir().unwrap();
    let [a, b] = ["a.ckpt", "b.ckpt"].map(|name| root.path().join(name));
    for (path, value) in [(&a, 1), (&b, 2)] {
        let hparams: serde_json::Map<String, Value> =
            (0..50).map(|place| (format!("h{place:02}"), json!(value))).collect();
        Contents::new(&hparams).unwrap().save(path, Metadata::new(jiff::Timestamp::UNIX_EPOCH)).unwrap();
    }
    let (out, _) = ended_with(&burn_ckpt(&[&"diff", &a, &b]), 1);
    assert!(out.contains("h19") && !out.contains("h20") && out.contains("and 30 more (--all)"), "{out}");
    let (out, _) = ended_with(&burn_ckpt(&[&"diff", &a, &b, &"--all"]), 1);
    assert!(out.contains("h49") && !out.contains("more"), "{out}");
    assert_eq!(names(&differences(&a, &b)["hparams"]).len(), 50);
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let (out, err) = ended_with(&burn_ckpt(&[&"diff", &last(root.path(), 0), &root.path().join("gone")]), 1);
    assert!(out.is_empty() && err.starts_with("error: ") && err.contains("gone"), "{err}");
}
