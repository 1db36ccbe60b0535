//! `cargo xtask test`: installs what the tests need, then runs everything that must hold, and ends with one
//! count over all test programs.

pub mod azurite;
mod needs;
mod panics;
pub mod python;
mod set_up;

use std::io::{BufRead, BufReader};
use std::num::NonZero;
use std::process::{ExitCode, Stdio};
use std::thread;

use crate::cargo::{disk, timed};
use crate::{cargo, check};
use panics::Panics;

/// What cargo's test runner prints before a test program's counts.
const SUMMARY: &str = "test result: ";

/// burn's wgpu backend, mirrors in object stores, devices of other machines: one build for all three, beside
/// the one of what every program has.
const EVERYTHING: [&str; 2] = ["--features", "system-tests/wgpu,system-tests/mirror,system-tests/remote"];
const WITH_EVERYTHING: [&str; 5] = ["test", "--workspace", EVERYTHING[0], EVERYTHING[1], "--no-fail-fast"];
const ALL_TESTS: [&str; 4] = ["test", "--workspace", "--tests", "--no-fail-fast"];
/// The tests beside the code, and the examples in its documentation: some are about these features.
const BESIDE_THE_CODE: [&[&str]; 2] = [&["--lib"], &["--doc"]];
/// The tests of training, saving, resuming and loading, once more on burn's wgpu backend: a GPU, or Mesa's
/// software Vulkan. Also the tests of the GPUs that this backend lists.
const ON_WGPU: [&str; 7] = [
    "--test",
    "system",
    "--",
    "on_each_backend::",
    "on_wgpu::",
    "gpus::vulkan::",
    // A test that fails in a step must not leave burn's one device to another in the middle of it; and the
    // device computes one thing at a time anyway.
    "--test-threads=1",
];
/// Mirrors, and servers of this machine, on the loopback interface.
const ON_THE_NETWORK: [&str; 10] = [
    "--test",
    "system",
    "--",
    "mirrors::",
    "mirrored_runs::",
    "programs::bench::a_mirror_in_a_slow_store",
    "programs::bench::a_store_that_takes_nothing",
    "remote::",
    "--skip",
    "remote::bench::",
];
/// It counts all bytes that cross the loopback interface, those of other tests too.
const NETWORK_ALONE: [&str; 4] = ["--test", "system", "--", "remote::bench::"];
/// Tells the system tests what to train on.
const BACKEND_VARIABLE: &str = "SYSTEM_TESTS_BACKEND";
/// Tells cargo's test runner how many tests run at once.
const THREADS_VARIABLE: &str = "RUST_TEST_THREADS";
/// Where git looks for no repository. Each run that a test trains has git describe the one around it, this
/// one, which took a third of the processor time of a short run. Tests of that have their own repositories.
const WITHOUT_REPOSITORY: &str = "GIT_CEILING_DIRECTORIES";
/// What tests start: cargo builds by itself only the programs of the package whose tests it builds, and the
/// others would be built within tests.
const PROGRAMS: [&str; 3] = ["build", "--workspace", "--bins"];
/// Those that the tests with everything start. Each takes 300 MB in that build, of which the others make some
/// 5 GB; what is missing here is built within the test that starts it.
const PROGRAMS_WITH_EVERYTHING: [&str; 10] = [
    "bench-mirror",
    "bench-remote",
    "burn-ckpt",
    "burn-serve",
    "char-lm",
    "default-device",
    "digits",
    "native-inference",
    "sample",
    "warmup",
];
/// What all this builds and installs below the target directory, in bytes.
const DISK: u64 = 16_000_000_000;

/// The verb's own flags.
#[derive(clap::Args)]
pub struct Args {
    /// Install what the tests need beside Rust, and end
    #[arg(long)]
    set_up_only: bool,
}

#[derive(Debug, Default, PartialEq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// The names of those that failed.
    failing: Vec<String>,
    /// What they panicked with.
    panics: Panics,
}

/// Checks, then tests. All tests run, also after one that failed.
pub fn run(args: &Args) -> ExitCode {
    if let Some(warning) = cargo::target().ok().and_then(|target| disk::too_little(&target, DISK)) {
        eprintln!("{warning}");
    }
    if let Err(failed) = timed("set up", set_up::set_up) {
        return failed;
    }
    let environments = python::make_all();
    if args.set_up_only {
        let _ = environments.join();
        eprintln!("everything that the tests need beside Rust is installed");
        return ExitCode::SUCCESS;
    }
    let checked = check::run();
    // Also where the checks have failed: a second run would find what is half made.
    let _ = timed("the rest of Python's packages", || environments.join());
    if let Err(failed) = checked {
        return failed;
    }
    let mut counts = Counts::default();
    let mut all_succeeded = true;
    // Libraries, programs and system tests.
    all_succeeded &= timed("programs", || cargo::run(&PROGRAMS)).is_ok();
    let threads = threads().to_string();
    all_succeeded &= tests(&ALL_TESTS, &[(THREADS_VARIABLE, &threads)], |line| counts.show(line));
    all_succeeded &= timed("programs with everything", || cargo::run(&programs_with_everything())).is_ok();
    for which in BESIDE_THE_CODE {
        all_succeeded &= tests(&with_everything(which), &[], |line| counts.show(line));
    }
    all_succeeded &= on_wgpu_and_the_network(&mut counts);
    all_succeeded &= tests(&with_everything(&NETWORK_ALONE), &[], |line| counts.show(line));
    for name in &counts.failing {
        println!("failed: {name}");
        counts.panics.of(name).for_each(|line| println!("    {line}"));
    }
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    if all_succeeded && counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// As many tests at once as use the processors: some wait, for a signal or a timeout.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get) + 1
}

/// The tests on wgpu beside those of the network: the former run one at a time, and the latter wait for
/// servers. What the former print comes when both have ended.
fn on_wgpu_and_the_network(counts: &mut Counts) -> bool {
    let mut lines = Vec::new();
    let succeeded = thread::scope(|scope| {
        let on_wgpu = scope.spawn(|| {
            let variables = [(BACKEND_VARIABLE, "wgpu")];
            tests(&with_everything(&ON_WGPU), &variables, |line| lines.push(line.to_owned()))
        });
        let network = tests(&with_everything(&ON_THE_NETWORK), &[], |line| counts.show(line));
        on_wgpu.join().unwrap_or(false) && network
    });
    lines.iter().for_each(|line| counts.show(line));
    succeeded
}

fn with_everything(tests: &[&'static str]) -> Vec<&'static str> {
    [&WITH_EVERYTHING[..], tests].concat()
}

fn programs_with_everything() -> Vec<&'static str> {
    let programs = PROGRAMS_WITH_EVERYTHING.iter().flat_map(|program| ["--bin", program]);
    ["build", "--workspace"].into_iter().chain(EVERYTHING).chain(programs).collect()
}

/// Runs cargo, takes what it prints line by line, and says how long it took. Returns whether it succeeded.
fn tests(arguments: &[&str], variables: &[(&str, &str)], take: impl FnMut(&str)) -> bool {
    timed(&format!("cargo {}", arguments.join(" ")), || lines_of(arguments, variables, take))
}

fn lines_of(arguments: &[&str], variables: &[(&str, &str)], mut take: impl FnMut(&str)) -> bool {
    let child = cargo::command()
        .args(arguments)
        .env(WITHOUT_REPOSITORY, cargo::root())
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("error: cargo cannot be started: {error}");
            return false;
        }
    };
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).lines().map_while(Result::ok).for_each(|line| take(&line));
    }
    child.wait().is_ok_and(|status| status.success())
}

impl Counts {
    /// Prints a line of cargo's test runner, and adds what it counts.
    fn show(&mut self, line: &str) {
        println!("{line}");
        self.add(line);
    }

    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`, and
    /// `test module::name ... FAILED`.
    fn add(&mut self, line: &str) {
        let test = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED"));
        self.failing.extend(test.map(str::to_owned));
        self.panics.add(line);
        let Some(summary) = line.strip_prefix(SUMMARY) else { return };
        let summary = summary.split_once(". ").map_or(summary, |(_, counts)| counts);
        for part in summary.split("; ") {
            let mut words = part.split(' ');
            let (Some(Ok(number)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_counts_of_all_test_programs_are_added_up() {
        let mut counts = Counts::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test a::passes ... ok",
            "test a::fails ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.00s",
        ] {
            counts.add(line);
        }
        let failing = vec!["a::fails".to_owned()];
        assert_eq!(counts, Counts { passed: 5, failed: 1, skipped: 1, failing, ..Counts::default() });
    }

    /// A program that cargo does not build as a test has none in its file and in the modules of that.
    #[test]
    fn a_program_that_is_not_tested_has_no_tests() {
        let root = cargo::root();
        let members = ["bench", "burn-serve", "examples/char-lm", "examples/digits", "tests"];
        let untested = members.map(|member| {
            let directory = root.join(member);
            let manifest = fs::read_to_string(directory.join("Cargo.toml")).unwrap();
            let manifest: toml::Table = manifest.parse().unwrap();
            let programs = manifest["bin"].as_array().unwrap().iter();
            let programs = programs.filter(|program| program["test"].as_bool() == Some(false));
            programs.map(|program| without_tests(&directory.join(program["path"].as_str().unwrap()))).count()
        });
        assert_eq!(untested.iter().sum::<usize>(), 17, "{untested:?}");
    }

    fn without_tests(file: &Path) {
        let text = fs::read_to_string(file).unwrap();
        assert!(!text.contains("#[test]"), "remove `test = false` of this program: {}", file.display());
        let modules = text.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
        modules.for_each(|module| without_tests(&file.with_file_name(format!("{module}.rs"))));
    }
}
