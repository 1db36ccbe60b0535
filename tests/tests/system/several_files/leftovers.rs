//! What a killed process left of a checkpoint of several files: removed if it is the run's own, and nothing
//! else is.

use std::fs;
use std::path::Path;

use burn_ckpt::plumbing::Limits;
use burn_trainer::TrainerConfig;
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use system_tests::config;
use system_tests::models::small::train_within;
use system_tests::run_files::{checkpoints, files, metadata_path};

const LIMITS: Limits = Limits { tensors: 8, ..Limits::READER };
const SHARD: &str = "state-00001-of-00001.ckpt";

fn copy_directory(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(copied.success());
}

fn with_shared(root: &Path, run: &str, shared: &Path) -> TrainerConfig {
    config(root, 1).with_run_id(run).with_ckpt_path("auto").with_best(Best::new().with_dirpath(shared))
}

#[test]
fn shards_without_an_index_are_removed_from_the_runs_own_directories() {
    let root = tempfile::tempdir().unwrap();
    let auto = |epochs| config(root.path(), epochs).with_ckpt_path("auto");
    train_within(auto(1), LIMITS).unwrap();
    let last = checkpoints(root.path()).join("last");
    let whole = last.join("epoch=0-step=10.shards");
    // A kill between the names of shards and index, in a removal, after the last shard, and while staging.
    let [before_index, in_removal, empty, staged] = [
        "other.shards",
        "removed.shards",
        "empty.shards",
        ".epoch=1-step=20.shards.0123456789abcdef-0123456789abcdef.staging",
    ]
    .map(|name| last.join(name));
    copy_directory(&whole, &before_index);
    copy_directory(&whole, &in_removal);
    fs::remove_file(fs::read_dir(&in_removal).unwrap().next().unwrap().unwrap().path()).unwrap();
    copy_directory(&whole, &staged);
    fs::create_dir(&empty).unwrap();
    // What is not the run's.
    let [mine, noted] = ["mine.shards", "noted.shards"].map(|name| last.join(name));
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("notes.txt"), "mine").unwrap();
    copy_directory(&whole, &noted);
    fs::write(noted.join("notes.txt"), "mine").unwrap();
    train_within(auto(2), LIMITS).unwrap();
    for removed in [&before_index, &in_removal, &empty, &staged] {
        assert!(!removed.exists(), "{}", removed.display());
    }
    for kept in [&mine, &noted] {
        assert_eq!(fs::read_to_string(kept.join("notes.txt")).unwrap(), "mine");
    }
}

#[test]
fn in_a_shared_directory_each_run_removes_its_own_alone() {
    let root = tempfile::tempdir().unwrap();
    let shared = root.path().join("shared");
    for run in ["a", "b"] {
        train_within(with_shared(root.path(), run, &shared.join(run)), LIMITS).unwrap();
    }
    // The same directory for both, with what is left of each.
    let both = root.path().join("both");
    fs::create_dir(&both).unwrap();
    for run in ["a", "b"] {
        copy_directory(&shared.join(run).join("epoch=0-step=10.shards"), &both.join(format!("{run}.shards")));
    }
    for (name, file) in [("users.shards", SHARD), ("empty.shards", "")] {
        fs::create_dir(both.join(name)).unwrap();
        if !file.is_empty() {
            fs::write(both.join(name).join(file), "a user's").unwrap();
        }
    }
    train_within(with_shared(root.path(), "a", &both), LIMITS).unwrap();
    let is_there = |name: &str| both.join(name).exists();
    assert_eq!(
        ["a", "b", "users", "empty"].map(|name| is_there(&format!("{name}.shards"))),
        [false, true, true, true]
    );
}

#[test]
fn of_two_runs_with_one_id_in_a_shared_directory_each_removes_its_own_alone() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other, both] = ["one", "other", "both"].map(|name| directory.path().join(name));
    fs::create_dir(&both).unwrap();
    let start = |root: &Path, dirpath: &Path| {
        train_within(with_shared(root, "r1", dirpath), LIMITS).unwrap();
    };
    for root in [&one, &other] {
        let own = root.join("own");
        start(root, &own);
        // What is left of each: before the metadata had its name, before the checkpoint had it, and metadata
        // alone, as after a removal.
        let name = root.file_name().unwrap().to_str().unwrap();
        for left in ["shards", "noted", "metadata"] {
            let place = both.join(format!("{name}-{left}.ckpt"));
            if left != "metadata" {
                copy_directory(&own.join("epoch=0-step=10.shards"), &place.with_extension("shards"));
            }
            if left != "shards" {
                fs::copy(metadata_path(&own.join("epoch=0-step=10.ckpt")), metadata_path(&place)).unwrap();
            }
        }
    }
    let left = |name: &str| {
        let of_run = |file: &String| file.starts_with(&format!("{name}-"));
        files(&both).into_iter().filter(of_run).count()
    };
    let all = left("other");
    assert_eq!(left("one"), all);
    start(&one, &both);
    assert_eq!((left("one"), left("other")), (0, all), "{:?}", files(&both));
    start(&other, &both);
    assert_eq!(left("other"), 0, "{:?}", files(&both));
}

#[test]
fn overwrite_removes_shards_too() {
    let root = tempfile::tempdir().unwrap();
    train_within(config(root.path(), 2), LIMITS).unwrap();
    train_within(config(root.path(), 1).with_overwrite(true), Limits::READER).unwrap();
    let names = files(&checkpoints(root.path()));
    assert!(names.iter().all(|name| !name.contains("shards")), "{names:?}");
}

#[cfg(unix)]
#[test]
fn a_checkpoint_whose_shards_are_a_loop_of_links_is_skipped_and_the_one_before_is_resumed() {
    let root = tempfile::tempdir().unwrap();
    let auto = |epochs| {
        let last = StrategyConfig::Last(Last::new().with_topk(2));
        config(root.path(), epochs).with_strategies([last]).with_ckpt_path("auto")
    };
    train_within(auto(2), LIMITS).unwrap();
    let last = checkpoints(root.path()).join("last");
    let shards = last.join("epoch=1-step=20.shards");
    fs::remove_dir_all(&shards).unwrap();
    std::os::unix::fs::symlink(&shards, &shards).unwrap();
    let result = train_within(auto(2), LIMITS).unwrap();
    assert_eq!(result.resumed_from, Some(last.join("epoch=0-step=10.ckpt")));
    assert_eq!(result.global_step, 20);
    assert!(fs::symlink_metadata(&shards).unwrap().is_symlink(), "it stays, as what is damaged does");
}
