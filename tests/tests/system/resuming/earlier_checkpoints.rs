//! A start verifies what it resumes. The other checkpoints of the run are verified beside training, before
//! they count.

use std::fs;
use std::path::Path;

use burn_trainer::burn_ckpt::retention::{MetricMode, TopK};
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use burn_trainer::{FitResult, TrainerConfig};
use system_tests::bytes_read::bytes_read;
use system_tests::models::small::Model;
use system_tests::programs::running::{Running, warmup};
use system_tests::run_files::{checkpoints, stems, target};
use system_tests::{config, train_scored};

fn scored(root: &Path, k: usize, scores: &[f64], epochs: usize) -> FitResult<Model> {
    let best = Best::new().with_mode(MetricMode::Min).with_topk(k).with_filename("{epoch}");
    let strategies = [StrategyConfig::Best(best), StrategyConfig::Last(Last::default())];
    let config: TrainerConfig =
        config(root, epochs).with_primary_metric("val_score").with_strategies(strategies);
    train_scored(config.with_ckpt_path("auto"), scores).unwrap()
}

/// Flips a bit in the last tensor, and keeps the size.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    // Another name of the file stays as it is.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_best_of_an_earlier_start_is_never_reported_as_best() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), 2, &[1.0, 3.0, 2.0], 3);
    let directory = checkpoints(root.path());
    assert_eq!(stems(&directory.join("best")), ["0", "2"]);
    damage(&directory.join("best/0.ckpt"));
    // Nothing is left to train: it is verified before the end.
    let result = scored(root.path(), 2, &[], 3);
    assert_eq!(result.checkpoints["best:val_score"].path, directory.join("best/2.ckpt"));
    assert_eq!(target(&directory.join("best_val_score.ckpt")), Path::new("best/2.ckpt"));
    assert!(directory.join("best/0.ckpt").exists(), "its file stays");
}

#[test]
fn a_damaged_checkpoint_does_not_push_out_an_intact_one() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), 2, &[1.0, 3.0, 2.0], 3);
    let directory = checkpoints(root.path());
    damage(&directory.join("best/0.ckpt"));
    // By the metadata, epochs 0 and 3 are the best two, and epoch 4 is none of them.
    let result = scored(root.path(), 2, &[1.5, 1.75], 5);
    assert_eq!(stems(&directory.join("best")), ["0", "3", "4"]);
    assert_eq!(result.checkpoints["best:val_score"].path, directory.join("best/3.ckpt"));
}

#[test]
fn an_intact_one_pushes_out_worse_ones_as_if_it_had_been_verified_first() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), 1, &[1.0, 3.0], 2);
    let result = scored(root.path(), 1, &[2.0, 4.0], 4);
    let directory = checkpoints(root.path());
    assert_eq!(stems(&directory.join("best")), ["0"]);
    assert_eq!(result.checkpoints["best:val_score"].path, directory.join("best/0.ckpt"));
    assert_eq!(result.saves, 2, "only `last` has saved");
}

#[test]
fn a_start_reads_the_bytes_of_what_it_resumes_alone() {
    let root = tempfile::tempdir().unwrap();
    let all = |epochs| {
        let last = StrategyConfig::Last(Last::new().with_topk(TopK::All));
        config(root.path(), epochs).with_strategies([last]).with_ckpt_path("auto")
    };
    system_tests::train(all(20)).unwrap();
    // Every tensor is a file's own: with the content of a sparse file, a read of all would take long.
    let size = fs::metadata(checkpoints(root.path()).join("last.ckpt")).unwrap().len();
    let opened = |config: TrainerConfig| {
        bytes_read(|| {
            burn_trainer::Trainer::<Model>::new(config, &serde_json::json!({})).map(|_| ()).unwrap()
        })
        .1
    };
    let metadata: u64 = fs::read_dir(checkpoints(root.path()).join("last"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".json"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    let read = opened(all(21));
    // The newest is read for its two digests. Of all, the metadata is read up to three times.
    assert!(read < 3 * metadata + 4 * size, "{read} bytes; the metadata has {metadata}, a file {size}");
}

#[test]
fn a_damaged_checkpoint_is_named_in_one_line_while_training_continues() {
    let root = tempfile::tempdir().unwrap();
    let flags = "--run-id r1 --topk 3";
    Running::start(warmup(root.path(), &format!("{flags} --epochs 3"))).end_well();
    let oldest = checkpoints(root.path()).join("best/epoch=0-step=30.ckpt");
    damage(&oldest);
    let resumed =
        Running::start(warmup(root.path(), &format!("{flags} --epochs 4 --ckpt-path auto"))).end_well();
    let named: Vec<&str> =
        resumed.stderr.lines().filter(|line| line.contains("best/epoch=0-step=30.ckpt")).collect();
    let [line] = named[..] else { panic!("{resumed:?}") };
    let expected = format!("warning: skipped {}: it is damaged: ", oldest.display());
    assert!(line.starts_with(&expected), "{line}");
    // The newest, of which a start is to resume, is read twice and named once.
    let newest = checkpoints(root.path()).join("last/epoch=3-step=120.ckpt");
    fs::write(&newest, "cut").unwrap();
    let resumed =
        Running::start(warmup(root.path(), &format!("{flags} --epochs 4 --ckpt-path auto"))).end_well();
    let path = newest.display().to_string();
    let named: Vec<&str> =
        resumed.stderr.lines().filter(|line| line.contains(&format!("skipped {path}"))).collect();
    let [line] = named[..] else { panic!("{resumed:?}") };
    assert!(line.starts_with(&format!("warning: skipped {path}: it is damaged: ")), "{line}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_named_in_one_line_and_a_loop_of_links_beside_a_complete_checkpoint_ends_no_start() {
    let root = tempfile::tempdir().unwrap();
    let start = |flags: &str| {
        let flags = format!("--run-id r1 {flags}");
        Running::start(warmup(root.path(), &flags)).end_well().stderr
    };
    start("--epochs 2");
    let last = checkpoints(root.path()).join("last");
    let (pipe, shards) = (last.join("new.ckpt"), last.join("epoch=1-step=60.shards"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // No reader looks there, as the checkpoint is one file.
    std::os::unix::fs::symlink(&shards, &shards).unwrap();
    let said = start("--epochs 3 --ckpt-path auto");
    let is_skipped = |line: &&str| line.contains("new.ckpt") && line.contains("skipped");
    let named: Vec<&str> = said.lines().filter(is_skipped).collect();
    let expected =
        format!("warning: skipped {}: it is not a checkpoint: it is not a regular file", pipe.display());
    assert_eq!(named, [expected], "{said}");
    assert!(said.contains("resuming r1 from last/epoch=1-step=60.ckpt"), "{said}");
}
