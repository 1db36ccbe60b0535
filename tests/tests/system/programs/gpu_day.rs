//! The day on a card, rehearsed at its smallest: every step but those that need a card runs from end to end,
//! and a step that hangs is ended with what it started.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use system_tests::programs::commands::{build, stderr, stdout};

fn day(out: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(build(&["gpu-check"]).join("gpu-check"));
    command.args(["day", "--rehearse", "--smallest", "--out"]).arg(out).args(arguments);
    command.output().unwrap()
}

fn lines(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("results.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How each step ended, in their order.
fn ends(lines: &[Value]) -> Vec<(&str, &str)> {
    let steps = lines.iter().filter(|line| line.get("end").is_some());
    steps.map(|line| (line["step"].as_str().unwrap(), line["end"].as_str().unwrap())).collect()
}

#[test]
fn every_step_of_the_day_works_and_leaves_its_page_and_its_figures() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let output = day(&out, &["--python", "/no/such/python"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines = lines(&out);
    let ends = ends(&lines);
    let passed: Vec<&str> = ends.iter().filter(|(_, end)| *end == "passed").map(|(step, _)| *step).collect();
    assert_eq!(
        passed,
        ["environment", "check-flex-small", "train-flex-char-lm-small", "one-device-twice-flex"],
        "{}",
        stderr(&output)
    );
    // burn has no collectives for the processor: an error that says so, and not a panic.
    let ddp = lines.iter().find(|line| line["step"] == "ddp-on-one-device-flex").unwrap();
    assert_eq!((ddp["end"].as_str(), ends.len()), (Some("failed (exit status: 2)"), 5));
    assert!(ddp["messages"].as_str().unwrap().contains("needs CUDA devices"), "{ddp}");

    let checks: Vec<&Value> = lines.iter().filter(|line| line.get("check").is_some()).collect();
    assert_eq!(checks.len(), 2);
    for check in checks {
        assert_eq!(
            (&check["different_when_repeated"], &check["different_when_resumed"]),
            (&0.into(), &0.into())
        );
        assert!(check["passed"] == true && check["host_memory_bytes"].as_u64().unwrap() > 1 << 20, "{check}");
    }
    let trained = |every: u64, contender: &str| {
        let is = |line: &&Value| line["save_every"] == every && line["contender"] == contender;
        lines.iter().find(is).unwrap_or_else(|| panic!("{contender}, every {every}"))
    };
    let (without, with) = (trained(0, "burn-trainer, dev"), trained(1, "burn-trainer, dev"));
    assert!(without["measured"]["saves"].is_null() && without["measured"]["seconds"].as_f64().unwrap() > 0.0);
    assert!(with["measured"]["saves"].as_u64().unwrap() > 0, "{with}");
    assert!(trained(1, "Lightning")["failed"].as_str().unwrap().contains("/no/such/python"));

    let page = std::fs::read_to_string(out.join("page.md")).unwrap();
    for (step, _) in ends {
        assert!(page.contains(&format!("### {step}\n")), "{page}");
    }
    assert!(page.contains("the same to the bit") && page.contains("char-lm, one layer, saving"), "{page}");
}

#[test]
fn a_step_that_hangs_is_ended_at_its_limit_with_the_processes_that_it_started() {
    let root = tempfile::tempdir().unwrap();
    let (out, python, started) =
        (root.path().join("out"), root.path().join("python"), root.path().join("started"));
    std::fs::write(&python, format!("#!/bin/sh\necho $$ > {}\nexec tail -f /dev/null\n", started.display()))
        .unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    // What the step does before it starts the program takes a slow machine longer than the first limit.
    let mut limits = ["8", "45", "180"].into_iter();
    let process = loop {
        let seconds = limits.next().unwrap();
        let arguments = ["--only", "train,one-device", "--seconds", seconds, "--python"];
        let output = day(&out, &[&arguments[..], &[python.to_str().unwrap()]].concat());
        assert!(!output.status.success(), "{}", stderr(&output));
        if let Ok(process) = std::fs::read_to_string(&started) {
            break process;
        }
        std::fs::remove_dir_all(&out).unwrap();
    };
    assert!(!Path::new("/proc").join(process.trim()).join("fd").exists() || is_zombie(process.trim()));
    let lines = lines(&out);
    assert_eq!(
        ends(&lines),
        [
            ("train-flex-char-lm-small", "stopped at its time limit"),
            ("one-device-twice-flex", "left out: no time")
        ]
    );
}

/// Whether a process has ended, and its parent has not asked how yet.
fn is_zombie(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with('Z'))
}

#[test]
fn the_script_says_how_it_is_used_and_has_no_other_verbs() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/gpu-day.sh");
    let output = Command::new("bash").arg(script).arg("dance").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let said = stderr(&output);
    for verb in ["prepare", "run", "--rehearse"] {
        assert!(said.contains(&format!("gpu-day.sh {verb}")), "{said}");
    }
    let help = stdout(
        &Command::new(build(&["gpu-check"]).join("gpu-check")).args(["day", "--help"]).output().unwrap(),
    );
    for flag in ["--out", "--python", "--backends", "--seconds"] {
        assert!(said.contains(flag) && help.contains(flag), "{said}{help}");
    }
}
