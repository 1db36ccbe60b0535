//! Directories of the user's choice: however they are spelled, nothing is lost, and what cannot work is an error.

use std::path::Path;

use burn_trainer::strategy::{Best, Last, OnException, StrategyConfig};
use burn_trainer::{Error, FitResult, TrainerConfig};
use system_tests::models::small::Model;
use system_tests::run_files::{checkpoints, files, stems, target};
use system_tests::{config, train, train_scored};

fn with_last(config: TrainerConfig, last: Last) -> TrainerConfig {
    config.with_strategies([StrategyConfig::Best(Best::default()), StrategyConfig::Last(last)])
}

fn at(dirpath: impl Into<std::path::PathBuf>) -> Last {
    Last::new().with_dirpath(dirpath.into())
}

fn links_resolve(result: &FitResult<Model>) {
    for link in ["best_val_loss.ckpt", "last.ckpt"] {
        let link = result.run_dir.join("checkpoint").join(link);
        assert!(link.exists(), "{} -> {}", link.display(), target(&link).display());
    }
}

#[test]
fn one_directory_in_two_spellings_is_one_directory() {
    for spelling in ["../checkpoint/best", "./best", "best/../best", "no/such/../../best"] {
        let root = tempfile::tempdir().unwrap();
        let config = config(root.path(), 4).with_primary_metric("val_score");
        let result = train_scored(with_last(config, at(spelling)), &[3.0, 2.0, 1.0, 4.0]).unwrap();
        for link in ["best_val_score.ckpt", "last.ckpt"] {
            assert!(checkpoints(root.path()).join(link).exists(), "{spelling}: {link}");
        }
        assert!(result.failed_saves.is_empty());
        let found = files(&checkpoints(root.path()));
        assert!(found.iter().all(|name| !name.contains("staging")), "{found:?}");
        // The best one and the last one, which are not the same here.
        let kept = stems(&checkpoints(root.path()).join("best"));
        assert_eq!(kept, ["epoch=2-step=30", "epoch=3-step=40"], "{spelling}");
    }
}

#[test]
fn the_directory_of_the_links_is_an_error_and_so_is_a_file() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    std::fs::write(&file, "").unwrap();
    for dirpath in [Path::new("."), Path::new("best/.."), &file] {
        let error = train(with_last(config(root.path(), 1), at(dirpath))).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Checkpoint(burn_ckpt::Error::Name { .. })), "{error}");
        assert!(error.to_string().contains("dirpath"), "{error}");
    }
    std::fs::create_dir_all(checkpoints(root.path())).unwrap();
    std::fs::write(checkpoints(root.path()).join("best"), "in the way").unwrap();
    assert!(train(config(root.path(), 1)).is_err());
}

#[test]
fn links_resolve_through_a_root_that_is_a_link() {
    let outer = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(outer.path().join("real/deep/directory")).unwrap();
    let root = outer.path().join("link");
    std::os::unix::fs::symlink("real/deep/directory", &root).unwrap();
    links_resolve(&train(with_last(config(&root, 1), at(outer.path().join("outside")))).unwrap());
}

#[test]
fn two_strategies_do_not_fight_over_a_link() {
    let root = tempfile::tempdir().unwrap();
    let second = at("archive").with_every_epoch(false).with_every_n_steps(6);
    let (best, last) = (StrategyConfig::Best(Best::new()), StrategyConfig::Last(Last::new()));
    let with = |others: &[StrategyConfig]| {
        let all = [&[best.clone(), last.clone()], others].concat();
        train(config(root.path(), 1).with_strategies(all))
    };
    let error = with(&[StrategyConfig::Last(second.clone())]).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("last.ckpt") && error.to_string().contains("save_symlink"), "{error}");
    with(&[
        StrategyConfig::Last(second.with_save_symlink(false)),
        StrategyConfig::OnException(OnException::new()),
        StrategyConfig::OnException(OnException::new().with_dirpath("failures")),
    ])
    .unwrap();
    // The end of the run, which is not one of every 6 steps.
    assert_eq!(stems(&checkpoints(root.path()).join("archive")), ["epoch=0-step=10"]);
    assert_eq!(target(&checkpoints(root.path()).join("last.ckpt")), Path::new("last/epoch=0-step=10.ckpt"));
}

#[test]
fn overwrite_removes_the_runs_checkpoints_wherever_they_are_and_no_other_runs() {
    let (root, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = |id: &str, epochs| {
        let last = at(shared.path()).with_filename(format!("{id}-{{epoch}}"));
        let config = config(root.path(), epochs).with_run_id(id.to_owned());
        with_last(config, last)
    };
    train(run("r1", 3)).unwrap();
    train(run("r2", 2)).unwrap();
    train(run("r1", 1).with_overwrite(true)).unwrap();
    assert_eq!(stems(shared.path()), ["r1-0", "r2-1"]);
}

#[test]
fn a_directory_below_a_directory_is_found_and_tidied_too() {
    let root = tempfile::tempdir().unwrap();
    let run = |epochs| with_last(config(root.path(), epochs), at("kept/last")).with_ckpt_path("auto");
    train(run(1)).unwrap();
    let directory = checkpoints(root.path()).join("kept/last");
    std::fs::write(directory.join(".epoch=9-step=90.ckpt.4242-0.staging"), "half a checkpoint").unwrap();
    assert_eq!(train(run(2)).unwrap().global_step, 20);
    assert_eq!(files(&directory), ["epoch=1-step=20.ckpt", "epoch=1-step=20.ckpt.metadata.json"]);
}

#[test]
fn two_runs_that_share_a_directory_keep_what_is_theirs() {
    let (root, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = |id: &str, epochs| {
        let config = config(root.path(), epochs).with_run_id(id.to_owned());
        with_last(config, at(shared.path())).with_ckpt_path("auto")
    };
    for id in ["r1", "r2"] {
        train(run(id, 1)).unwrap();
    }
    assert_eq!(stems(shared.path()), ["epoch=0-step=10-v1", "epoch=0-step=10"]);
    train(run("r1", 2)).unwrap();
    assert_eq!(stems(shared.path()), ["epoch=0-step=10-v1", "epoch=1-step=20"]);
}
