//! `burn-ckpt env`: the metadata of a run, without a run.

use std::collections::BTreeSet;

use serde_json::Value;
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, stdout, workspace};
use system_tests::programs::running::{Running, warmup};
use system_tests::run_files::{checkpoints, metadata};

fn environment() -> Value {
    serde_json::from_str(&stdout(&burn_ckpt(&[&"env", &"--json"]))).unwrap()
}

#[test]
fn the_json_is_the_environment_of_a_run_that_is_made_at_the_same_time() {
    let root = tempfile::tempdir().unwrap();
    // In a repository, wherever git is told to look for none.
    let mut run = warmup(root.path(), "--run-id r1 --epochs 1");
    run.current_dir(workspace());
    Running::start(run).end_well();
    let mut expected = metadata(&checkpoints(root.path()).join("last.ckpt"))["environment"].clone();
    let output = burn_ckpt_command().args(["env", "--json"]).current_dir(workspace()).output().unwrap();
    let mut shown: Value = serde_json::from_str(&stdout(&output)).unwrap();
    // It computes on nothing.
    assert_eq!(expected["hardware"]["devices_used"].as_array().unwrap().len(), 1);
    expected["hardware"]["devices_used"] = serde_json::json!([]);
    for environment in [&mut expected, &mut shown] {
        for gpu in environment["hardware"]["gpu_devices"].as_array_mut().unwrap() {
            gpu["used"] = Value::Null;
            gpu["burn_devices"] = Value::Null;
        }
    }
    assert_eq!(shown, expected);
}

#[test]
fn the_table_has_every_value_of_the_json() {
    let (text, json) = (stdout(&burn_ckpt(&[&"env"])), environment());
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: BTreeSet<Vec<String>> = text.lines().map(words).collect();
    let has = |name: &str, value: &str| {
        let line = [vec![name.to_owned()], words(value)].concat();
        assert!(lines.contains(&line), "{name} {value} in {text}");
    };
    let mut groups = 0;
    for (name, part) in json.as_object().unwrap() {
        let mut part = part.clone();
        match (name.as_str(), &mut part) {
            ("packages", _) => continue,
            (_, Value::Null) => has(name, "none"),
            (_, Value::Object(facts)) => {
                has(name, "");
                let gpus = facts.remove("gpu_devices");
                facts.iter().for_each(|(key, value)| has(key, &shown(key, value)));
                for (number, gpu) in (1..).zip(gpus.iter().flat_map(|gpus| gpus.as_array().unwrap())) {
                    has("gpu", &number.to_string());
                    let facts = gpu.as_object().unwrap().iter();
                    facts.for_each(|(key, value)| has(key, &shown(key, value)));
                }
            }
            (name, other) => panic!("{name} is {other}"),
        }
        groups += 1;
    }
    assert_eq!(groups, 6, "all but the packages");
    assert!(text.lines().all(|line| line.len() < 120), "{text}");
}

/// A value as the table has it.
fn shown(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => {
            let item = |item: &Value| match item {
                Value::Object(api) => {
                    let words = [&api["name"], &api["version"]].into_iter().filter_map(Value::as_str);
                    words.collect::<Vec<_>>().join(" ")
                }
                item => shown("", item),
            };
            items.iter().map(item).collect::<Vec<_>>().join(", ")
        }
        Value::Number(bytes) if key.ends_with("_bytes") => {
            let gibibytes = bytes.as_f64().unwrap() / f64::from(1 << 30);
            format!("{gibibytes:.1} GiB ({bytes} bytes)")
        }
        other => other.to_string(),
    }
}

#[test]
fn the_packages_are_counted_unless_all_are_asked_for() {
    let json = environment();
    let packages = json["packages"].as_array().unwrap();
    let (short, long) = (stdout(&burn_ckpt(&[&"env"])), stdout(&burn_ckpt(&[&"env", &"--packages"])));
    let line = |text: &str, words: &str| {
        text.lines().any(|line| line.split_whitespace().eq(words.split_whitespace()))
    };
    let count = format!("count {} packages", packages.len());
    assert!(packages.len() > 100 && line(&short, &count) && line(&long, &count), "{short}");
    for package in packages {
        let (name, version) = (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        assert!(line(&long, &format!("{name} {version}")), "{name} {version}");
    }
    assert!(line(&short, "burn 0.22.1") && !short.contains("serde"), "{short}");
}

#[test]
fn the_command_line_knows_the_verb() {
    for arguments in [&["env", "here"][..], &["env", "--json", "--packages"]] {
        let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = arguments.iter().map(|word| word as _).collect();
        let (out, err) = ended_with(&burn_ckpt(&arguments), 2);
        assert!(out.is_empty() && err.contains("error:"), "{out}{err}");
    }
    let help = stdout(&burn_ckpt(&[&"--help"]));
    assert!(help.lines().any(|line| line.trim().starts_with("env ")), "{help}");
    assert!(stdout(&burn_ckpt(&[&"env", &"--help"])).contains("NVIDIA's driver"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&burn_ckpt(&[&"completions", &shell]));
        assert!(script.contains("env") && script.contains("packages"), "{shell}");
    }
}
