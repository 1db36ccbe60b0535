//! What the logger of a run writes, answers and counts.

use super::*;
use crate::metrics::history_format::History;
use burn::train::logger::FileMetricLogger;
use burn::train::metric::store::NumericMetricUpdate;
use burn::train::metric::{MetricAttributes, NumericAttributes, SerializedEntry};
use std::fs;
use tempfile::{TempDir, tempdir};

const NAMES: [&str; 3] = ["My Loss", "AUROC @ 1", "Told"];

fn id(name: &str) -> MetricId {
    MetricId::new(Arc::new(name.to_owned()))
}

fn define(logger: &mut dyn MetricLogger) {
    for name in NAMES {
        let attributes = match name {
            "Told" => MetricAttributes::None,
            _ => NumericAttributes { unit: None, higher_is_better: false }.into(),
        };
        let name = Arc::new(name.to_owned());
        let metric_id = MetricId::new(name.clone());
        logger.log_metric_definition(MetricDefinition { metric_id, name, description: None, attributes });
    }
}

/// Lines of numeric metrics, and one of text.
fn update(numeric: &[(&str, &str)], text: &str) -> MetricsUpdate {
    let entry =
        |name: &str, line: &str| MetricEntry::new(id(name), SerializedEntry::new(String::new(), line.into()));
    let number = |(name, line): &(&str, &str)| {
        let number = NumericEntry::deserialize(line).ok();
        NumericMetricUpdate { entry: entry(name, line), numeric_entry: number, running_entry: None }
    };
    MetricsUpdate::new(vec![entry("Told", text)], numeric.iter().map(number).collect())
}

fn two_epochs(logger: &mut dyn MetricLogger) {
    define(logger);
    for epoch in 1..=2 {
        for split in [Split::Train, Split::Valid] {
            for loss in ["0.5,8", "0.25,4"] {
                logger.log(update(&[(NAMES[0], loss), (NAMES[1], "N/A")], "so, so"), epoch, &split);
            }
            let end = [(NAMES[0], "0.4166666666666667,final"), (NAMES[1], "NaN,final")];
            logger.log(update(&end, ""), epoch, &split);
            logger.log_epoch_summary(EpochSummary::new(epoch, split));
        }
    }
}

fn run_logger() -> RunMetricLogger {
    RunMetricLogger::new(RunMetrics::default())
}

#[test]
fn files_and_answers_are_those_of_burns_logger() {
    let (burns, ours) = (tempdir().unwrap(), tempdir().unwrap());
    let mut burns_logger = FileMetricLogger::new(burns.path());
    let mut logger = run_logger().with_files(ours.path(), true);
    two_epochs(&mut burns_logger);
    two_epochs(&mut logger);
    for (split, epoch) in [(Split::Train, 1), (Split::Train, 2), (Split::Valid, 1), (Split::Valid, 2)] {
        let read = |root: &TempDir| {
            let directory = root.path().join(format!("{split}/epoch-{epoch}"));
            let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
            let mut files: Vec<_> = files
                .map(|path| (path.file_name().unwrap().to_owned(), fs::read_to_string(path).unwrap()))
                .collect();
            files.sort();
            files
        };
        assert_eq!(read(&burns), read(&ours));
        assert_eq!(read(&ours).len(), 3);
        let burns_last = burns_logger.read_numeric(NAMES[0], epoch, &split).unwrap().pop().unwrap();
        let [ref ours_last] = logger.read_numeric(NAMES[0], epoch, &split).unwrap()[..] else { panic!() };
        assert_eq!(burns_last.serialize(), ours_last.serialize());
    }
}

#[test]
fn no_epoch_is_shown_after_the_one_that_the_loop_allows() {
    let mut logger = run_logger();
    two_epochs(&mut logger);
    let seen = |logger: &mut RunMetricLogger| {
        (1..=3).map(|epoch| logger.read_numeric(NAMES[0], epoch, &Split::Valid).unwrap().len()).sum::<usize>()
    };
    assert_eq!(seen(&mut logger), 2);
    for (until, count) in [(0, 0), (1, 1), (2, 2), (3, 2)] {
        logger.metrics.history.see_until(until);
        assert_eq!(seen(&mut logger), count, "{until}");
    }
}

#[test]
fn lines_of_a_checkpoint_that_are_not_numbers_are_left_out() {
    let root = tempdir().unwrap();
    let mut logger = run_logger().with_files(root.path(), true).resumed_in(1, false);
    let json = r#"{"epochs":[],"entries":{"My Loss":[[1,"0.5,18446744073709551615"],[2,"a,b,c"],
        [3,"0.5,18446744073709551615"],[4,"1\n2"]],"Told":[[1,"a,b,c"]],"../../other":[[1,"1"]]}}"#;
    let history: History = serde_json::from_str(json).unwrap();
    logger.metrics.history.restore(history, 1, 4);
    define(&mut logger);
    logger.log(update(&[(NAMES[0], "0.25,4")], "so"), 1, &Split::Train);
    let read = |name: &str| fs::read_to_string(root.path().join("train/epoch-1").join(name)).unwrap();
    let huge = "0.5,18446744073709551615\n";
    assert_eq!(read("My_Loss.log"), format!("{huge}{huge}0.25,4\n"));
    assert_eq!(read("Told.log"), "a,b,c\nso\n");
    assert_eq!(fs::read_dir(root.path().join("train/epoch-1")).unwrap().count(), 2);
    assert_eq!(logger.read_numeric(NAMES[0], 1, &Split::Train).unwrap().len(), 1);
}

#[test]
fn an_update_is_counted_after_all_else_has_it() {
    const UPDATES: u32 = 20_000;
    let mut logger = run_logger();
    define(&mut logger);
    let metrics = logger.metrics.clone();
    // As a save after a failure does, which waits for the count.
    let reader = std::thread::spawn(move || {
        let mut counted = 0;
        while counted < u64::from(UPDATES) {
            counted = metrics.history.updates(1);
            let value = metrics.values().get("train_my_loss").copied().unwrap_or_default();
            assert!(value >= counted as f64, "{value} after {counted} updates");
        }
    });
    for number in 1..=UPDATES {
        let line = format!("{number},1");
        logger.log(update(&[(NAMES[0], &line)], "so"), 1, &Split::Train);
    }
    reader.join().unwrap();
}

/// An epoch of more batches than a checkpoint has lines of.
#[test]
fn a_long_epoch_that_is_resumed_has_the_files_and_means_of_one_that_was_not() {
    const BATCHES: u64 = 270_000;
    let line = |batch: u64| format!("{},{}", 1.0 / (batch as f64 + 0.3), 3 + batch % 2);
    let log = |logger: &mut RunMetricLogger, from: u64| {
        for batch in from..BATCHES + 3 {
            logger.log(update(&[(NAMES[0], &line(batch))], "so"), 1, &Split::Train);
        }
        let [ref value] = logger.read_numeric(NAMES[0], 1, &Split::Train).unwrap()[..] else { panic!() };
        value.current()
    };
    let mut history = History::default();
    let mut file = String::new();
    for batch in 0..BATCHES {
        for (name, line) in [("Told", "so"), (NAMES[0], &*line(batch))] {
            history.entries.entry(name.to_owned()).or_default().push(batch + 1, line);
        }
        file.push_str(&format!("{}\n", line(batch)));
    }
    let section = || history.clone().section(false).unwrap();
    let bytes = section().tensors[0].byte_len();
    assert!(bytes < 20_000_000, "{bytes}");

    // Whole, as no checkpoint has it.
    let mut whole = run_logger();
    whole.metrics.history.restore(history.clone(), 1, BATCHES);
    whole = whole.resumed_in(1, false);
    define(&mut whole);
    let mean = log(&mut whole, BATCHES);
    for with_file in [true, false] {
        let root = tempdir().unwrap();
        let path = root.path().join("train/epoch-1/My_Loss.log");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // The run has logged more lines since the checkpoint.
        let there = if with_file { format!("{file}0.125,1\n0.5") } else { "0.5,1\n".to_owned() };
        fs::write(&path, there).unwrap();
        let mut resumed = run_logger().with_files(root.path(), true).resumed_in(1, true);
        resumed.metrics.history.restore(History::from_section(section()).unwrap(), 1, BATCHES);
        define(&mut resumed);
        assert_eq!(log(&mut resumed, BATCHES).to_bits(), mean.to_bits());
        let rest: String = (BATCHES..BATCHES + 3).map(|batch| line(batch) + "\n").collect();
        let (written, whole) = (fs::read_to_string(&path).unwrap(), format!("{file}{rest}"));
        match with_file {
            true => assert!(written == whole, "{} and {} bytes", written.len(), whole.len()),
            false => assert!(written.len() < whole.len() && whole.ends_with(&written)),
        }
    }
}
