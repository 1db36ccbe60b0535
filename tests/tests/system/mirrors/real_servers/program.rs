//! The program `burn-ckpt` with the addresses of a real server: sends an old run, and lists, shows, verifies,
//! compares, copies and prunes what is in a mirror.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use jiff::Timestamp;
use serde_json::Value;
use system_tests::object_stores::StoreServer;
use system_tests::programs::commands::burn_ckpt_command;

use super::super::{files_of, run_in, save};
use super::{Start, for_each_store};

for_each_store!(
    an_old_run_is_sent_and_each_verb_takes_its_address,
    what_is_wrong_with_an_address_is_said_and_the_exit_status_is_1,
);

fn run(server: &StoreServer, arguments: &[&str]) -> Output {
    let mut command: Command = burn_ckpt_command();
    command.args(arguments).envs(server.variables());
    command.output().unwrap()
}

fn text(server: &StoreServer, output: &Output) -> String {
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let text = format!("{stdout}{stderr}");
    server.assert_no_secret("the output", text.as_bytes());
    text
}

fn succeeds(server: &StoreServer, arguments: &[&str]) -> String {
    let output = run(server, arguments);
    let text = text(server, &output);
    assert!(output.status.success(), "{arguments:?}: {}: {text}", output.status);
    text
}

fn only_there(one: &Value, other: &Value) -> Vec<String> {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>();
    keys(one).difference(&keys(other)).cloned().collect()
}

/// What `ls` prints of an address has the keys of what it prints on disk.
fn has_the_keys_of(listed: &Value, on_disk: &Value) {
    assert_eq!(only_there(listed, on_disk), [""; 0]);
    assert_eq!(only_there(on_disk, listed), [""; 0]);
    let rows = |run: &Value| run["checkpoints"].as_array().unwrap().clone();
    assert_eq!(rows(listed).len(), rows(on_disk).len());
    for (there, here) in rows(listed).iter().zip(&rows(on_disk)) {
        assert_eq!(only_there(there, here), ["files"]);
        assert_eq!(only_there(here, there), [""; 0]);
        // Tags and notes are not sent.
        let differs = ["path", "files", "tags", "notes"];
        for (key, value) in there.as_object().unwrap() {
            assert!(differs.contains(&&**key) || *value == here[key], "{key}: {value}");
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

fn an_old_run_is_sent_and_each_verb_takes_its_address(start: Start) {
    let root = tempfile::tempdir().unwrap();
    let server = start(root.path());
    let mirror = &format!("{}/team a", server.bucket);
    let disk = run_in(root.path());
    let time = |second: i64| Timestamp::new(1_800_000_000 + second, 0).unwrap();
    let paths: Vec<_> = (1..=3)
        .map(|step| save(&disk, &format!("last/step={step}.ckpt"), step, time(step as i64), step, step == 2))
        .collect();
    symlink("last/step=3.ckpt", disk.checkpoint_dir().join("last.ckpt")).unwrap();
    let run_dir = disk.run_dir().display().to_string();

    let sent = succeeds(&server, &["mirror", &run_dir, mirror]);
    assert!(sent.contains("3 checkpoints sent"), "{sent}");
    assert!(sent.find("step=3").unwrap() < sent.find("step=1").unwrap(), "the newest first: {sent}");
    let again = succeeds(&server, &["mirror", &run_dir, mirror]);
    assert!(again.contains("3 there already"), "{again}");

    let listed: Value =
        serde_json::from_str(&succeeds(&server, &["ls", "--json", &format!("{mirror}/r1")])).unwrap();
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
    is_pruned_as(&pruned(&format!("{mirror}/r1")), &pruned(&run_dir));
    assert!(succeeds(&server, &["ls", mirror]).contains("last/step=2.ckpt"));
    assert!(succeeds(&server, &["show", &format!("{mirror}/r1/last")]).contains("model"));
    assert!(succeeds(&server, &["verify", &format!("{mirror}/r1")]).contains("3 checkpoints, all verified"));
    let (mirrored, local) =
        (format!("{mirror}/r1/checkpoint/last/step=2.ckpt"), paths[1].display().to_string());
    succeeds(&server, &["diff", &mirrored, &local]);
    assert_eq!(run(&server, &["diff", &mirrored, &format!("{mirror}/r1/last")]).status.code(), Some(1));
    let got = root.path().join("got");
    fs::create_dir(&got).unwrap();
    succeeds(&server, &["cp", &mirrored, &got.display().to_string()]);
    assert_eq!(files_of(&got.join("step=2.ckpt")), files_of(Path::new(&local)));

    let dry = succeeds(&server, &["prune", &format!("{mirror}/r1"), "--keep", "last=1", "--dry-run"]);
    assert!(dry.contains("2 checkpoints would be removed"), "{dry}");
    succeeds(&server, &["prune", &format!("{mirror}/r1"), "--keep", "last=1"]);
    let left: Value =
        serde_json::from_str(&succeeds(&server, &["ls", "--json", &format!("{mirror}/r1")])).unwrap();
    assert_eq!(left[0]["checkpoints"].as_array().unwrap().len(), 1);
}

fn what_is_wrong_with_an_address_is_said_and_the_exit_status_is_1(start: Start) {
    let root = tempfile::tempdir().unwrap();
    let server = start(root.path());
    let mirror = &format!("{}/team a", server.bucket);
    let missing = match &server.bucket[..2] {
        "az" => "ContainerNotFound",
        _ => "NoSuchBucket",
    };
    for (verb, address, expected) in [
        ("ls", mirror.clone(), "has no checkpoints"),
        ("show", format!("{mirror}/r1/last"), "the mirror has no such run"),
        ("verify", format!("{}/r1/last", mirror.replace("models", "other")), missing),
        ("ls", mirror.replace("models", "user:canary@models"), "could be a credential"),
    ] {
        let arguments = [verb, &address];
        let output = run(&server, &arguments);
        let text = text(&server, &output);
        assert!(text.contains(expected) && !text.contains("canary"), "{arguments:?}: {text}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    }
}
