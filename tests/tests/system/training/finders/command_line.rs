//! `--find-lr` and `--find-batch-size` of the training programs: what is printed, and that nothing else is
//! left.

use std::path::Path;

use system_tests::programs::commands::{ended_with, stderr, stdout, train_example, xtask_train_command};
use system_tests::run_files::{files, in_memory};

/// A model whose memory grows with each text by some megabytes, which the process has not before.
const HEAVY: &str =
    "char-lm --set width=32 --set layers=1 --set heads=2 --set context=256 --set num_workers=0";

fn found(directory: &Path, arguments: &str) -> String {
    let output = train_example(directory, &arguments.split(' ').collect::<Vec<_>>());
    assert!(stderr(&output).contains("no run is trained, saved, resumed or evaluated"), "{output:?}");
    stdout(&output)
}

/// The value behind `set it: --set KEY=`.
fn suggested<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("set it: --set {key}=")));
    line.unwrap_or_else(|| panic!("no {key} in {text}"))
}

#[test]
fn a_learning_rate_and_a_batch_size_are_printed_as_they_are_set() {
    let directory = in_memory();
    let searched = "--find-lr curve.svg --find-batch-size sizes.csv --memory-limit 1TiB --set channels=2";
    let text = found(directory.path(), searched);
    let size: usize = suggested(&text, "batch_size").parse().unwrap();
    assert_eq!(size, 1438, "all of the images: {text}");
    let rate: f64 = suggested(&text, "learning_rate").parse().unwrap();
    assert!(rate > 1e-6 && rate < 1.0, "{text}");
    assert_eq!(files(directory.path()), ["curve.svg", "sizes.csv"]);
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert!(
        read("curve.svg").contains("suggested learning rate") && read("sizes.csv").contains("1438,fits,")
    );

    // As printed, it can be set.
    let set = format!(
        "--fast-dev-run --set channels=2 --set batch_size={size} --set learning_rate={}",
        suggested(&text, "learning_rate")
    );
    stdout(&train_example(directory.path(), &set.split(' ').collect::<Vec<_>>()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_memory_limit_ends_the_search_on_a_cpu_before_the_memory_is_used() {
    const LIMIT: u64 = 400 << 20;
    let directory = in_memory();
    let text = found(directory.path(), &format!("{HEAVY} --find-batch-size sizes.csv --memory-limit 400MiB"));
    let size: usize = suggested(&text, "batch_size").parse().unwrap();
    assert!((2..512).contains(&size), "{text}");
    let csv = std::fs::read_to_string(directory.path().join("sizes.csv")).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for row in &rows {
        let memory: Option<u64> = row[4].parse().ok();
        match row[1] {
            "fits" => assert!(memory.is_none_or(|memory| memory <= LIMIT), "{csv}"),
            "not_tried" => assert!(memory.unwrap() > LIMIT, "{csv}"),
            // The prediction was too low, by less than a half.
            "above_limit" => assert!((LIMIT..LIMIT * 3 / 2).contains(&memory.unwrap()), "{csv}"),
            other => panic!("{other}: {csv}"),
        }
    }
    assert_eq!(rows.last().unwrap()[0].parse(), Ok(2 * size), "{csv}");

    let output = train_example(
        directory.path(),
        &format!("{HEAVY} --find-batch-size --memory-limit 1MiB").split(' ').collect::<Vec<_>>(),
    );
    let (_, said) = ended_with(&output, 2);
    assert!(said.contains("memory_limit cannot be used: it is 1.0 MiB"), "{said}");
}

#[test]
fn a_file_that_no_search_has_written_is_not_replaced() {
    let directory = in_memory();
    let file = directory.path().join("keep.svg");
    std::fs::write(&file, "<svg>mine</svg>").unwrap();
    let output = train_example(directory.path(), &["--find-lr", "keep.svg"]);
    let (_, said) = ended_with(&output, 2);
    assert!(said.contains("--find-lr") && said.contains("keep.svg is there"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "<svg>mine</svg>");
    std::fs::remove_file(&file).unwrap();
    // A second search replaces what the first has written.
    for _ in 0..2 {
        stdout(&train_example(directory.path(), &["--find-lr", "keep.svg", "--set", "channels=2"]));
    }
}

#[test]
fn what_cannot_be_searched_is_wrong_usage() {
    let directory = in_memory();
    for (arguments, expected) in [
        ("--find-lr --fast-dev-run", "--fast-dev-run"),
        ("--find-lr curve.png", ".svg or .csv"),
        ("--memory-limit 8GiB", "--find-batch-size"),
        ("--find-batch-size a.csv --find-lr a.csv", "each search needs a file of its own"),
        ("--find-batch-size a.csv --find-lr ./a.csv", "each search needs a file of its own"),
    ] {
        let output = train_example(directory.path(), &arguments.split(' ').collect::<Vec<_>>());
        let (_, said) = ended_with(&output, 2);
        assert!(said.contains(expected), "{arguments}: {said}");
    }
    assert!(files(directory.path()).is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_printed_is_a_failure() {
    let directory = in_memory();
    for flag in ["--find-lr", "--find-batch-size"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let arguments = [flag, "--set", "channels=2", "--set", "limit_train_batches=2"];
        let output = xtask_train_command(directory.path(), &arguments).stdout(full).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{flag}: {said}");
        assert!(said.contains("results cannot be written to standard output"), "{flag}: {said}");
    }
}
