//! The program `burn-ckpt` with addresses: sends an old run, and lists, shows, verifies, compares, copies and
//! prunes what is in a mirror.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use burn_ckpt::mirror::{RunMirror, Store, Writer};
use burn_trainer::strategy::{Best, Last, StrategyConfig, TopK};
use jiff::Timestamp;
use serde_json::Value;
use system_tests::object_stores::moto_server::{ACCESS_KEY, MotoServer, SECRET_KEY};
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, stdout};
use system_tests::run_files::{files, last_tensor_byte, run_dir};
use system_tests::{config, train, train_and_keep_all, train_scored};

use super::{files_of, run_in, save};

fn run(server: &MotoServer, arguments: &[&str]) -> Output {
    let mut command: Command = burn_ckpt_command();
    command.args(arguments).envs(server.environment());
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let text = format!("{stdout}{stderr}");
    assert!(!text.contains(SECRET_KEY) && !text.contains(ACCESS_KEY), "{text}");
    text
}

fn succeeds(server: &MotoServer, arguments: &[&str]) -> String {
    let output = run(server, arguments);
    let text = text(&output);
    assert!(output.status.success(), "{arguments:?}: {}: {text}", output.status);
    text
}

fn only_there(one: &Value, other: &Value) -> Vec<String> {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>();
    keys(one).difference(&keys(other)).cloned().collect()
}

/// What `ls` prints of an address is what it prints on disk, but for what one of the two does not have.
fn has_the_keys_of(listed: &Value, on_disk: &Value) {
    assert_eq!(only_there(listed, on_disk), [""; 0]);
    assert_eq!(only_there(on_disk, listed), ["unfinished", "unreadable"]);
    let rows = |run: &Value| run["checkpoints"].as_array().unwrap().clone();
    assert_eq!(rows(listed).len(), rows(on_disk).len());
    for (there, here) in rows(listed).iter().zip(&rows(on_disk)) {
        assert_eq!(only_there(there, here), ["files"]);
        assert_eq!(only_there(here, there), ["notes", "tags"]);
        for (key, value) in there.as_object().unwrap() {
            assert!(["path", "files"].contains(&&**key) || *value == here[key], "{key}: {value}");
        }
    }
}

fn is_pruned_as(there: &Value, here: &Value) {
    assert_eq!(only_there(there, here), [""; 0]);
    assert_eq!(only_there(here, there), ["removed_links", "unfinished"]);
    for key in ["dry_run", "kept", "broken"] {
        assert_eq!(there[key], here[key], "{key}");
    }
    let removed = |pruned: &Value| {
        let removed = pruned["removed"].as_array().unwrap().iter();
        removed.map(|removed| removed["file"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(removed(there), removed(here));
    assert!(there["removed"][0]["freed_bytes"].as_u64() >= here["removed"][0]["freed_bytes"].as_u64());
}

#[test]
fn an_old_run_is_sent_and_each_verb_takes_its_address() {
    let root = tempfile::tempdir().unwrap();
    let server = MotoServer::start(root.path(), "models");
    let disk = run_in(root.path());
    let time = |second: i64| Timestamp::new(1_800_000_000 + second, 0).unwrap();
    let paths: Vec<_> = (1..=3)
        .map(|step| save(&disk, &format!("last/step={step}.ckpt"), step, time(step as i64), step, step == 2))
        .collect();
    symlink("last/step=3.ckpt", disk.checkpoint_dir().join("last.ckpt")).unwrap();
    let run_dir = disk.run_dir().display().to_string();

    let sent = succeeds(&server, &["mirror", &run_dir, "s3://models/p"]);
    assert!(sent.contains("3 checkpoints sent"), "{sent}");
    assert!(sent.find("step=3").unwrap() < sent.find("step=1").unwrap(), "the newest first: {sent}");
    let again = succeeds(&server, &["mirror", &run_dir, "s3://models/p"]);
    assert!(again.contains("3 there already"), "{again}");

    let listed: Value =
        serde_json::from_str(&succeeds(&server, &["ls", "--json", "s3://models/p/r1"])).unwrap();
    let names: Vec<_> = listed[0]["checkpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["file"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["last/step=1.ckpt", "last/step=2.ckpt", "last/step=3.ckpt"]);
    assert_eq!(listed[0]["checkpoints"][2]["links"][0], "last");
    // As of the disk.
    let on_disk: Value = serde_json::from_slice(&run(&server, &["ls", "--json", &run_dir]).stdout).unwrap();
    has_the_keys_of(&listed[0], &on_disk[0]);
    let rules = ["--keep", "last=1", "--dry-run", "--json"];
    let pruned = |run: &str| -> Value {
        let output = self::run(&server, &[&["prune", run], &rules[..]].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    is_pruned_as(&pruned("s3://models/p/r1"), &pruned(&run_dir));
    assert!(succeeds(&server, &["ls", "s3://models/p"]).contains("last/step=2.ckpt"));
    assert!(succeeds(&server, &["show", "s3://models/p/r1/last"]).contains("model"));
    assert!(succeeds(&server, &["verify", "s3://models/p/r1"]).contains("3 checkpoints, all whole"));
    let (mirrored, local) = ("s3://models/p/r1/checkpoint/last/step=2.ckpt", paths[1].display().to_string());
    succeeds(&server, &["diff", mirrored, &local]);
    assert_eq!(run(&server, &["diff", mirrored, "s3://models/p/r1/last"]).status.code(), Some(1));
    let got = root.path().join("got");
    fs::create_dir(&got).unwrap();
    succeeds(&server, &["cp", mirrored, &got.display().to_string()]);
    assert_eq!(files_of(&got.join("step=2.ckpt")), files_of(Path::new(&local)));

    let dry = succeeds(&server, &["prune", "s3://models/p/r1", "--keep", "last=1", "--dry-run"]);
    assert!(dry.contains("2 checkpoints would be removed"), "{dry}");
    succeeds(&server, &["prune", "s3://models/p/r1", "--keep", "last=1"]);
    let left: Value =
        serde_json::from_str(&succeeds(&server, &["ls", "--json", "s3://models/p/r1"])).unwrap();
    assert_eq!(left[0]["checkpoints"].as_array().unwrap().len(), 1);
}

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
fn what_is_wrong_with_an_address_is_said_and_the_exit_status_is_1() {
    let root = tempfile::tempdir().unwrap();
    let server = MotoServer::start(root.path(), "models");
    for (arguments, expected) in [
        (vec!["ls", "s3://models/none"], "has no checkpoints"),
        (vec!["show", "s3://models/none/r1/last"], "no complete checkpoint of this run"),
        (vec!["verify", "s3://other/r1/last"], "NoSuchBucket"),
        (vec!["ls", "s3://user:canary@models/p"], "could be a credential"),
    ] {
        let output = run(&server, &arguments);
        let text = text(&output);
        assert!(text.contains(expected) && !text.contains("canary"), "{arguments:?}: {text}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    }
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
