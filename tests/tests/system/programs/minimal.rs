//! The smallest program: it learns, and started again it resumes.

use std::path::Path;
use std::process::{Command, Output};

use system_tests::programs::commands::{build, ended_with, stderr, stdout, workspace};

/// Lines of the training program itself, which the README shows.
const MAIN_LINES: usize = 24;

fn start(directory: &Path) -> Output {
    Command::new(build(&["minimal"]).join("minimal")).current_dir(directory).output().unwrap()
}

fn run(directory: &Path) -> (String, String) {
    let output = start(directory);
    (stdout(&output), stderr(&output))
}

#[test]
fn it_learns_the_sine_and_a_second_start_trains_nothing_again() {
    let directory = tempfile::tempdir().unwrap();
    let (printed, said) = run(directory.path());
    let sine: f64 = printed.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((sine - 1.0_f64.sin()).abs() < 0.1, "{printed}");
    assert!(said.contains("epoch 30/30"), "{said}");

    let (again, said) = run(directory.path());
    assert_eq!(again, printed);
    assert!(!said.contains("epoch 1/30"), "{said}");
}

#[test]
fn what_keeps_it_from_starting_is_said_with_its_cause() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("burn_trainer_logs"), "not a directory").unwrap();
    let (_, said) = ended_with(&start(directory.path()), 1);
    assert_eq!(said, "Error: cannot create the directory ./burn_trainer_logs: not a directory\n");
}

#[test]
fn its_main_function_is_as_short_as_the_readme_says() {
    let source = std::fs::read_to_string(workspace().join("examples/minimal/src/main.rs")).unwrap();
    let main = source.split("fn main()").nth(1).unwrap();
    let lines = main.split("\n}\n").next().unwrap().lines().count();
    assert!(lines <= MAIN_LINES, "{lines} lines");
}
