//! The program `burn-ckpt` with addresses of directories: what its verbs take and say. With each store:
//! `real_servers/program.rs`.

mod whole_runs;

use std::fs;

use burn_ckpt::mirror::{RunMirror, Store, Writer};
use burn_trainer::strategy::{Best, Last, StrategyConfig, TopK};
use serde_json::Value;
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, stderr, stdout};
use system_tests::run_files::{files, last_tensor_byte, run_dir};
use system_tests::{config, train, train_and_keep_all, train_scored};

#[test]
fn prune_takes_the_direction_of_a_metric_from_the_run_in_the_mirror() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 1.0, 2.0], 1).unwrap();
    let mirror = root.path().join("mirror");
    fs::create_dir(&mirror).unwrap();
    let address = format!("file://{}", mirror.display());
    stdout(&burn_ckpt(&[&"mirror", &run_dir(root.path()), &address]));
    let run = format!("{address}/r1");
    let prune = |rule: &str| burn_ckpt(&[&"prune", &run, &"--keep", &rule, &"--dry-run"]);
    assert_eq!(stdout(&prune("best=val_score:1")), "last/epoch=0-step=10.ckpt\n");
    let (_, err) = ended_with(&prune("best=val_score:1:max"), 2);
    assert!(err.contains("lower val_score is better"), "{err}");
    let (_, err) = ended_with(&prune("best=train_loss:1"), 1);
    assert!(err.contains("no checkpoint has the metric train_loss; the metrics are val_score"), "{err}");
}

#[test]
fn prune_takes_it_from_an_earlier_checkpoint_where_the_newest_does_not_say_it() {
    let root = tempfile::tempdir().unwrap();
    let ranked = |epochs, strategies: Vec<StrategyConfig>| {
        let config = config(root.path(), epochs).with_primary_metric("val_score").with_ckpt_path("auto");
        config.with_strategies(strategies)
    };
    let last = || StrategyConfig::Last(Last::new().with_topk(TopK::All));
    train_scored(ranked(1, vec![StrategyConfig::Best(Best::new()), last()]), &[3.0]).unwrap();
    train_scored(ranked(2, vec![last()]), &[1.0]).unwrap();
    let address = format!("file://{}", root.path().join("mirror").display());
    stdout(&burn_ckpt(&[&"mirror", &run_dir(root.path()), &address]));
    // With the wrong one it is an error, without one too.
    let prune = |rule: &str| burn_ckpt(&[&"prune", &format!("{address}/r1"), &"--keep", &rule, &"--dry-run"]);
    stdout(&prune("best=val_score:1"));
    let (_, err) = ended_with(&prune("best=val_score:1:max"), 2);
    assert!(err.contains("lower val_score is better"), "{err}");
}

#[test]
fn prune_verifies_what_stays_in_a_mirror_and_ls_shows_what_is_not_whole() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[1.0, 2.0, 3.0], 1).unwrap();
    let mirror = root.path().join("mirror");
    let address = format!("file://{}", mirror.display());
    stdout(&burn_ckpt(&[&"mirror", &run_dir(root.path()), &address]));
    let run = format!("{address}/r1");
    let last = mirror.join("r1/checkpoint/last");
    let newest = last.join("epoch=2-step=30.ckpt");
    let there = files(&last);
    let whole = fs::read(&newest).unwrap();
    let mut damaged = whole.clone();
    let place = last_tensor_byte(&damaged);
    damaged[place] ^= 1;
    fs::write(&newest, damaged).unwrap();
    for more in [&[][..], &["--dry-run"]] {
        let mut command = burn_ckpt_command();
        command.args(["prune", &run, "--keep", "last=1"]).args(more);
        let (out, err) = ended_with(&command.output().unwrap(), 1);
        assert!(out.is_empty() && err.contains("nothing is removed"), "{err}");
        assert!(err.contains("epoch=2-step=30.ckpt") && !err.contains("--broken"), "{err}");
    }
    assert_eq!(files(&last), there);
    fs::write(&newest, &whole[..10]).unwrap();
    let (out, _) = ended_with(&burn_ckpt(&[&"ls", &run]), 1);
    let row = out.lines().find(|line| line.starts_with("last/epoch=2-step=30.ckpt"));
    assert!(row.is_some_and(|row| row.contains("last")), "{out}");
    for name in there.iter().filter(|name| name.starts_with("epoch=2-step=30")) {
        fs::remove_file(last.join(name)).unwrap();
    }
    let (out, err) = ended_with(&burn_ckpt(&[&"ls", &run]), 1);
    assert!(out.contains("points to a missing file: last/epoch=2-step=30.ckpt"), "{out}");
    assert!(err.contains("the link last.ckpt leads to last/epoch=2-step=30.ckpt, which is missing"), "{err}");
}

#[test]
fn checkpoints_in_a_directory_outside_of_the_run_are_sent_too() {
    let root = tempfile::tempdir().unwrap();
    let last = Last::new().with_dirpath(root.path().join("outside"));
    train(config(root.path(), 1).with_last(last)).unwrap();
    let address = format!("file://{}", root.path().join("mirror").display());
    for is in ["sent ", "there"] {
        let said = stdout(&burn_ckpt(&[&"mirror", &run_dir(root.path()), &address]));
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains(&format!("{is}    outside/epoch=0-step=10.ckpt")), "{said}");
    }
}

#[test]
fn a_credential_in_the_address_to_send_to_is_not_repeated() {
    let root = tempfile::tempdir().unwrap();
    let output = burn_ckpt(&[&"mirror", &root.path(), &"s3://user:canary@models/p"]);
    let (_, error) = ended_with(&output, 2);
    assert!(error.contains("could be a credential") && !error.contains("canary"), "{error}");
}

#[test]
fn a_program_that_cannot_print_what_it_has_sent_gives_the_lease_back() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let address = format!("file://{}", root.path().join("mirror").display());
    let mut command = burn_ckpt_command();
    command.arg("mirror").arg(run_dir(root.path())).arg(&address);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(command.stdout(full).output().unwrap().status.code(), Some(1));
    let store = Store::connect(&address.parse().unwrap()).unwrap();
    RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap().close().unwrap();
}

/// A run that was sent to a mirror in a directory. Returns the run's address too.
fn sent() -> (tempfile::TempDir, String) {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 1.0], 1).unwrap();
    let address = format!("file://{}", root.path().join("mirror").display());
    stdout(&burn_ckpt(&[&"mirror", &run_dir(root.path()), &address]));
    (root, format!("{address}/r1"))
}

#[test]
fn what_only_reads_makes_nothing_where_there_is_no_mirror_or_no_run() {
    let (root, run) = sent();
    let before = files(root.path());
    let nowhere = format!("file://{}/no/where/at/all", root.path().display());
    let typo = run.replace("r1", "r2");
    let copy = root.path().join("copy.ckpt");
    for address in [&nowhere, &typo] {
        let checkpoint = format!("{address}/last");
        let verbs: [&[&dyn AsRef<std::ffi::OsStr>]; 7] = [
            &[&"ls", address],
            &[&"show", &checkpoint],
            &[&"verify", address],
            &[&"verify", &checkpoint],
            &[&"diff", &checkpoint, &checkpoint],
            &[&"cp", &checkpoint, &copy],
            &[&"prune", address, &"--keep", &"last=1"],
        ];
        for arguments in verbs {
            let (out, err) = ended_with(&burn_ckpt(arguments), 1);
            assert!(out.is_empty() || out.starts_with("unknown"), "{out}");
            assert!(err.contains("error: ") || out.starts_with("unknown"), "{err}");
            assert!(files(root.path()) == before, "{err}");
            assert!(!root.path().join("no").exists() && !root.path().join("mirror/r2").exists(), "{err}");
        }
    }
}

#[test]
fn a_log_that_cannot_be_sent_keeps_no_link_back() {
    let (root, run) = sent();
    let directory = root.path().join("mirror/r1");
    let link = directory.join("checkpoint/last.ckpt");
    fs::remove_file(&link).unwrap();
    // No piece of the log gets its name, and the checkpoints have theirs.
    fs::remove_dir_all(directory.join("metrics")).unwrap();
    fs::write(directory.join("metrics"), "a file").unwrap();
    let address = run.strip_suffix("/r1").unwrap();
    let (out, err) = ended_with(&burn_ckpt(&[&"mirror", &run_dir(root.path()), &address]), 1);
    assert!(out.lines().all(|line| line.starts_with("there ")), "{out}");
    assert!(err.contains("error: ") && err.contains("metrics"), "{err}");
    assert!(link.exists(), "{err}");
}

#[test]
fn a_directory_of_others_or_a_run_that_cannot_be_read_hides_no_other_run() {
    let (root, run) = sent();
    let address = run.strip_suffix("/r1").unwrap();
    let mirror = root.path().join("mirror");
    let long = "x".repeat(200);
    fs::create_dir_all(mirror.join(&long).join("data")).unwrap();
    fs::write(mirror.join(&long).join("data/file"), "not a run's").unwrap();
    for verb in ["ls", "verify"] {
        stdout(&burn_ckpt(&[&verb, &address]));
    }
    // As a run's, but no run has such an id.
    fs::create_dir_all(mirror.join(&long).join("checkpoint/last")).unwrap();
    fs::write(mirror.join(&long).join("checkpoint/last/x.ckpt"), "content").unwrap();
    for (verb, row) in [("ls", "last/epoch=0-step=10.ckpt"), ("verify", "verified ")] {
        let (out, err) = ended_with(&burn_ckpt(&[&verb, &address]), 1);
        assert!(out.lines().any(|line| line.starts_with(row)), "{out}");
        assert!(err.contains(&format!("error: {address}/{long} cannot be read: ")), "{err}");
    }
    let (out, _) = ended_with(&burn_ckpt(&[&"ls", &address, &"--json"]), 1);
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(listed[0]["run"], "r1");
    assert!(listed[1]["unreadable"][0].as_str().is_some_and(|why| why.contains("160 are allowed")), "{out}");
}

#[test]
fn a_run_whose_id_is_the_name_of_a_link_is_verified_by_its_address() {
    let root = tempfile::tempdir().unwrap();
    let address = format!("file://{}", root.path().join("mirror").display());
    for run_id in ["best", "last", "best_resnet"] {
        train(config(root.path(), 1).with_run_id(run_id)).unwrap();
        let run = run_dir(root.path()).with_file_name(run_id);
        stdout(&burn_ckpt(&[&"mirror", &run, &address]));
        let run = format!("{address}/{run_id}");
        let verified = stdout(&burn_ckpt(&[&"verify", &run]));
        assert_eq!(verified.lines().count(), 2, "{verified}");
        let verified = stdout(&burn_ckpt(&[&"verify", &format!("{run}/last")]));
        assert_eq!(verified.lines().count(), 1, "{verified}");
    }
    // Also a mirror can be named so.
    let named = format!("file://{}", root.path().join("best").display());
    stdout(&burn_ckpt(&[&"mirror", &run_dir(root.path()).with_file_name("last"), &named]));
    assert_eq!(stdout(&burn_ckpt(&[&"verify", &named])).lines().count(), 2);
}

#[test]
fn each_flag_works_for_an_address_or_is_an_error() {
    let (root, run) = sent();
    let copy = root.path().join("copy.ckpt");
    let last = format!("{run}/last");
    stdout(&burn_ckpt(&[&"cp", &last, &copy]));
    let (_, err) = ended_with(&burn_ckpt(&[&"cp", &last, &copy]), 1);
    assert!(err.contains("copy.ckpt exists: choose another name, or --force"), "{err}");
    fs::write(&copy, "damaged").unwrap();
    stdout(&burn_ckpt(&[&"cp", &last, &copy, &"--force"]));
    stdout(&burn_ckpt(&[&"diff", &last, &copy]));
    let (_, err) = ended_with(&burn_ckpt(&[&"ls", &run, &"--tag", &"foo"]), 2);
    assert!(err.contains("--tag is not for addresses"), "{err}");
    let (_, err) = ended_with(&burn_ckpt(&[&"ls", &run, &"--metrics", &"typo"]), 1);
    assert!(err.contains("no checkpoint has the metric typo; the metrics are "), "{err}");
    let prune = |more: &[&dyn AsRef<std::ffi::OsStr>]| {
        burn_ckpt(&[&[&"prune" as &dyn AsRef<std::ffi::OsStr>, &run, &"--keep"], more].concat())
    };
    let (_, err) = ended_with(&prune(&[&"last=1", &"--broken"]), 2);
    assert!(err.contains("--broken is not for addresses"), "{err}");
    let (_, err) = ended_with(&prune(&[&"best=typo:1:min"]), 1);
    assert!(err.contains("no checkpoint has the metric typo"), "{err}");
    assert!(stdout(&burn_ckpt(&[&"verify", &run])).lines().count() > 1, "nothing was removed");
}

#[test]
fn a_checkpoint_of_an_address_is_exported_averaged_and_taken_as_an_example() {
    let (root, run) = sent();
    let (last, first) = (format!("{run}/last"), format!("{run}/checkpoint/last/epoch=0-step=10.ckpt"));
    let [exported, average, imported] =
        ["x.safetensors", "average.ckpt", "y.ckpt"].map(|name| root.path().join(name));
    stdout(&burn_ckpt(&[&"export", &last, &exported]));
    stdout(&burn_ckpt(&[&"average", &last, &first, &"-o", &average]));
    stdout(&burn_ckpt(&[&"import", &exported, &imported, &"--like", &last]));
    stdout(&burn_ckpt(&[&"verify", &average, &imported]));
}

#[test]
fn a_checkpoint_of_an_address_needs_no_metadata_beside_it() {
    let (root, run) = sent();
    let last = root.path().join("mirror/r1/checkpoint/last");
    let beside = last.join("epoch=1-step=20.ckpt.metadata.json");
    let text = fs::read(&beside).unwrap();
    fs::write(&beside, vec![b' '; text.len()]).unwrap();
    let (last, first) = (format!("{run}/last"), format!("{run}/checkpoint/last/epoch=0-step=10.ckpt"));
    let [exported, average] = ["x.safetensors", "average.ckpt"].map(|name| root.path().join(name));
    ended_with(&burn_ckpt(&[&"export", &last, &exported]), 0);
    ended_with(&burn_ckpt(&[&"average", &last, &first, &"-o", &average]), 0);
}

#[test]
fn checkpoints_that_are_not_whole_and_links_that_lead_nowhere_or_are_none_are_counted_and_named() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 1.0, 2.0], 1).unwrap();
    let mirror = root.path().join("mirror");
    let address = format!("file://{}", mirror.display());
    stdout(&burn_ckpt(&[&"mirror", &run_dir(root.path()), &address]));
    let run = format!("{address}/r1");
    assert!(stderr(&burn_ckpt(&[&"verify", &run])).contains("4 checkpoints, all verified"));
    let checkpoints = mirror.join("r1/checkpoint");
    let link = fs::read_to_string(checkpoints.join("last.ckpt")).unwrap();
    let nowhere = link.replacen("step=30", "step=99", 1);
    assert_ne!(nowhere, link);
    fs::write(checkpoints.join("gone.ckpt"), nowhere).unwrap();
    fs::write(checkpoints.join("own.ckpt"), "not a link").unwrap();
    let content = checkpoints.join("last/epoch=0-step=10.ckpt");
    let half = fs::metadata(&content).unwrap().len() / 2;
    fs::File::options().write(true).open(&content).unwrap().set_len(half).unwrap();
    let (out, err) = ended_with(&burn_ckpt(&[&"verify", &run]), 1);
    assert!(err.contains("6 checkpoints, 3 not verified"), "{err}");
    for (state, name) in [
        ("damaged", "own.ckpt"),
        ("damaged", "last/epoch=0-step=10.ckpt"),
        ("missing", "gone.ckpt: the link points to a missing file: last/epoch=2-step=99.ckpt"),
    ] {
        let named = |line: &str| line.starts_with(state) && line.contains(&format!("checkpoint/{name}"));
        assert_eq!(out.lines().filter(|line| named(line)).count(), 1, "{name}: {out}");
    }
    let (_, err) = ended_with(&burn_ckpt(&[&"ls", &run]), 1);
    for error in [
        "error: own.ckpt: ",
        "error: last/epoch=0-step=10.ckpt is not whole: ",
        "error: the link gone.ckpt leads to last/epoch=2-step=99.ckpt, which is missing",
    ] {
        assert_eq!(err.lines().filter(|line| line.starts_with(error)).count(), 1, "{error}: {err}");
    }
}

#[test]
fn a_run_of_which_each_metadata_object_is_lost_is_shown_copied_and_sent_again() {
    let (root, run) = sent();
    let last = root.path().join("mirror/r1/checkpoint/last");
    let whole = files(&last);
    let show = || stdout(&burn_ckpt(&[&"show", &format!("{run}/last"), &"--json"]));
    let shown = show();
    let beside: Vec<_> = whole.iter().filter(|name| name.ends_with(".metadata.json")).collect();
    assert_eq!(beside.len(), 2);
    beside.iter().for_each(|name| fs::remove_file(last.join(name)).unwrap());
    assert_eq!(show(), shown);
    let (_, err) = ended_with(&burn_ckpt(&[&"ls", &run]), 0);
    assert_eq!(err.matches(".metadata.json is lost").count(), 2, "{err}");
    stdout(&burn_ckpt(&[&"verify", &run]));
    let copies = root.path().join("copies");
    fs::create_dir(&copies).unwrap();
    stdout(&burn_ckpt(&[&"cp", &format!("{run}/last"), &copies]));
    let name = "epoch=1-step=20.ckpt.metadata.json";
    let on_disk = run_dir(root.path()).join("checkpoint/last").join(name);
    assert_eq!(fs::read_to_string(copies.join(name)).unwrap(), fs::read_to_string(on_disk).unwrap());
    // What is on disk still is sent again.
    let address = run.strip_suffix("/r1").unwrap();
    stdout(&burn_ckpt(&[&"mirror", &run_dir(root.path()), &address]));
    let (_, err) = ended_with(&burn_ckpt(&[&"ls", &run]), 0);
    assert!(!err.contains("is lost"), "{err}");
}

#[test]
fn a_run_whose_id_is_checkpoint_is_pruned_and_its_mirror_is_a_directory_of_runs() {
    let root = tempfile::tempdir().unwrap();
    let last = Last::new().with_topk(TopK::All).with_every_n_steps(4);
    train(config(root.path(), 1).with_run_id("checkpoint").with_last(last)).unwrap();
    let address = format!("file://{}", root.path().join("mirror").display());
    let run = format!("{address}/checkpoint");
    stdout(&burn_ckpt(&[&"mirror", &run_dir(root.path()).with_file_name("checkpoint"), &address]));
    let prune = |address: &str| burn_ckpt(&[&"prune", &address, &"--keep", &"last=1"]);
    let (_, err) = ended_with(&prune(&address), 1);
    assert!(err.contains(&format!("a directory of runs: name one of them: {run}")), "{err}");
    // Also without a writer's lease, as in a copy.
    fs::remove_file(root.path().join("mirror/checkpoint/lease.json")).unwrap();
    let (_, err) = ended_with(&prune(&address), 1);
    assert!(err.contains(&format!("a directory of runs: name one of them: {run}")), "{err}");
    let removed = stdout(&prune(&run));
    assert!(removed.lines().any(|name| name == "last/epoch=0-step=4.ckpt"), "{removed}");
    assert!(stdout(&burn_ckpt(&[&"verify", &run])).contains("epoch=0-step=10.ckpt"));
}

#[test]
fn the_address_of_a_run_names_its_checkpoints_where_one_is_needed() {
    let (root, run) = sent();
    let copy = root.path().join("copy.ckpt");
    for arguments in [&[&"show" as &dyn AsRef<std::ffi::OsStr>, &run][..], &[&"cp", &run, &copy]] {
        let (_, err) = ended_with(&burn_ckpt(arguments), 1);
        assert!(err.contains("it is a run; name one of its checkpoints: "), "{err}");
        let last = format!("{run}/last");
        assert!(err.trim_end().split([' ', ',']).any(|word| word == last), "{err}");
    }
    let runs = run_dir(root.path());
    let runs = runs.parent().unwrap();
    let (_, err) = ended_with(&burn_ckpt(&[&"mirror", &runs, &run]), 1);
    assert!(err.contains("but one of runs: name one of them: ") && err.contains("r1"), "{err}");
}

#[test]
fn the_checkpoint_that_says_how_the_run_ended_stays_in_the_mirror_by_every_rule() {
    let root = tempfile::tempdir().unwrap();
    let two_best = StrategyConfig::Best(Best::new().with_topk(TopK::Count(2)));
    let config = config(root.path(), 3).with_primary_metric("val_score").with_strategies([two_best]);
    // No link leads to the last state, and it is not the best.
    train_scored(config, &[1.0, 3.0, 2.0]).unwrap();
    let mirror = format!("file://{}", root.path().join("mirror").display());
    stdout(&burn_ckpt(&[&"mirror", &run_dir(root.path()), &mirror]));
    let run = format!("{mirror}/r1");
    for rule in ["links", "last=1", "best=val_score:1"] {
        stdout(&burn_ckpt(&[&"prune", &run, &"--keep", &rule]));
        let listed: Value = serde_json::from_str(&stdout(&burn_ckpt(&[&"ls", &run, &"--json"]))).unwrap();
        let rows = listed[0]["checkpoints"].as_array().unwrap();
        let left: Vec<&Value> = rows.iter().map(|row| &row["file"]).collect();
        assert_eq!(left, ["best/epoch=0-step=10.ckpt", "best/epoch=2-step=30.ckpt"], "{rule}");
    }
}
