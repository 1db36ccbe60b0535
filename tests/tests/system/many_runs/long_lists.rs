//! `burn-ckpt ls` of many runs and of many checkpoints: short by default, everything where it is asked for.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, stdout};
use system_tests::run_files::{checkpoints, copy_checkpoint, copy_tree, run_dir};
use system_tests::{config, train};

#[test]
fn many_runs_have_a_line_each_and_all_of_their_checkpoints_are_a_flag_away() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let logs = root.path().join("burn_trainer_logs");
    for number in 2..=58 {
        copy_tree(&run_dir(root.path()), &logs.join(format!("r{number}")));
    }
    fs::remove_file(logs.join("r7/checkpoint/last/epoch=0-step=10.ckpt")).unwrap();
    let (short, note) = ended_with(&burn_ckpt(&[&"ls", &logs]), 1);
    assert_eq!(short.lines().count(), 59, "{short}");
    assert!(
        note.contains("58 runs, a line each") && note.contains("--all") && note.contains("burn-ckpt runs"),
        "{note}"
    );
    let line =
        |name: &str| short.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap().to_owned();
    let words = |name: &str| {
        line(name)
            .split("  ")
            .map(|cell| cell.trim().to_owned())
            .filter(|cell| !cell.is_empty())
            .collect::<Vec<_>>()
    };
    assert_eq!(words("r2")[..4], ["r2", "2", "0", "10"]);
    // The best one and the last one are one file, as `runs` counts it.
    let size = stdout(&burn_ckpt(&[&"runs", &run_dir(root.path()), &"--columns", &"size"]));
    assert_eq!(words("r1")[4], size.lines().last().unwrap().trim());
    assert_eq!(
        (words("r7")[1].as_str(), words("r7").last().unwrap().as_str()),
        ("1", "1 link to missing files")
    );

    let (all, note) = ended_with(&burn_ckpt(&[&"ls", &logs, &"--all"]), 1);
    assert_eq!(all.matches("best/epoch=0-step=10.ckpt").count(), 58);
    assert!(note.starts_with("error: 1 link leads to a missing file: "), "{note}");
    let (listed, _) = ended_with(&burn_ckpt(&[&"ls", &logs, &"--json"]), 1);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["checkpoints"].as_array().unwrap().len())
            .sum::<usize>(),
        115
    );
}

#[test]
fn of_many_checkpoints_the_newest_and_those_that_stand_out_are_listed() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let directory = checkpoints(root.path());
    for number in 0..70 {
        copy_checkpoint(&directory.join("last.ckpt"), &directory.join(format!("last/{number:02}.ckpt")));
    }
    fs::write(directory.join("last/03.ckpt"), "not a checkpoint").unwrap();
    let run = run_dir(root.path());
    let (text, err) = ended_with(&burn_ckpt(&[&"ls", &run]), 1);
    assert!(err.contains("1 of 72 checkpoints is damaged"), "{err}");
    let shown = text.lines().filter(|line| line.contains(".ckpt")).count();
    let rest = text.lines().last().unwrap();
    assert_eq!(rest, format!("and {} older (--all)", 72 - shown));
    assert!((50..55).contains(&shown), "{text}");
    for name in ["last/03.ckpt", "best/epoch=0-step=10.ckpt", "last/epoch=0-step=10.ckpt"] {
        assert!(text.contains(name), "{name}: {text}");
    }
    let (all, _) = ended_with(&burn_ckpt(&[&"ls", &run, &"--all"]), 1);
    assert_eq!(all.lines().count(), 73);
}

/// Bytes that `ls` of a run reads, by the kernel's count.
fn read_by_ls(run: &Path) -> u64 {
    // The count of a process has those of its children.
    let script = "\"$0\" ls \"$1\" > /dev/null && cat /proc/$$/io";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(burn_ckpt_command().get_program()).arg(run);
    let io = stdout(&shell.output().unwrap());
    io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).unwrap()
}

#[test]
fn a_file_in_the_place_of_a_link_is_read_once_however_many_checkpoints_there_are() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let (run, copy) = (run_dir(root.path()), root.path().join("copy"));
    let directory = checkpoints(root.path());
    for number in 0..70 {
        copy_checkpoint(&directory.join("last.ckpt"), &directory.join(format!("last/{number:02}.ckpt")));
    }
    assert!(Command::new("cp").arg("-rL").args([&run, &copy]).status().unwrap().success());
    let bytes = fs::metadata(directory.join("last.ckpt")).unwrap().len();
    let (linked, copied) = (read_by_ls(&run), read_by_ls(&copy));
    assert!(
        copied < linked + 10 * bytes,
        "{linked} with links, {copied} with files of {bytes} in their places"
    );
}
