//! Files changed by chance, a fixed number of them from a fixed seed: `cargo xtask fuzz` reads more of them.

#![cfg(target_os = "linux")]

use system_tests::fuzz::{Campaign, Share, Target};
use system_tests::programs::commands::build;

const SEED: u64 = 20;

/// Reads so many changed files for each target. There is no finding.
fn fuzzed(targets: &[Target], files: u64) {
    let programs = build(&["fuzz", "burn-ckpt"]);
    let findings = tempfile::tempdir().unwrap();
    let share = Share::Files(files);
    let campaign = Campaign { seed: SEED, targets, share, programs: &programs, findings: findings.path() };
    let report = campaign.run().unwrap_or_else(|error| panic!("{error}"));
    println!("{report}");
    assert_eq!(report.files(), files * targets.len() as u64);
    assert!(report.findings.is_empty(), "{report}");
}

#[test]
fn changed_files_end_in_an_error_or_are_accepted() {
    fuzzed(&[Target::Checkpoint, Target::Metadata, Target::Hparams, Target::FileNames], 300);
}

#[test]
fn changed_states_end_in_an_error_or_are_resumed() {
    fuzzed(&[Target::TrainerState, Target::History], 20);
}

#[test]
fn changed_foreign_files_end_in_an_error_or_are_imported() {
    fuzzed(&[Target::Pickle, Target::Safetensors, Target::ShardIndex], 60);
}

/// What the fuzzer says of a file that another program than `burn-ckpt` reads.
fn said_of(script: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let programs = tempfile::tempdir().unwrap();
    let program = programs.path().join("burn-ckpt");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let share = Share::Files(0);
    let (programs, findings) = (programs.path(), programs.path());
    let campaign = Campaign { seed: SEED, targets: &[], share, programs, findings };
    campaign.again(Target::Pickle, &program).unwrap()
}

#[test]
fn the_fuzzer_finds_what_a_reader_must_not_do() {
    assert_eq!(said_of("echo 'error: it is damaged' >&2; exit 1"), "error");
    for (script, found) in [
        ("kill -ABRT $$", "ended with signal: 6"),
        ("echo 'error: the reader panicked' >&2; exit 1", "ended with exit status: 1"),
        ("exit 1", "ended with exit status: 1"),
        ("exit 0", "ended with exit status: 0"),
        ("echo 'error: '; : > \"$4\"; exit 1", "ended with exit status: 1"),
        ("cp \"$3\" \"$4\"", "what it wrote: "),
        ("printf 'error: \\033[2J' >&2; exit 1", "control sequence"),
        ("head -c 30000 /dev/zero >&2; exit 1", "more than 20000 bytes"),
        ("test $(ulimit -d) = 98304 && exit 7", "ended with exit status: 7"),
        ("while :; do :; done", "it hangs; signal: 9"),
    ] {
        let said = said_of(script);
        assert!(said.contains(found), "{script}: {said}");
    }
}
