//! Opening a run: what a kill kept from being named is named, nothing is lost by looking, and what was taken
//! last is the newest.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use burn_trainer::burn_ckpt::retention::{MetricMode, TopK};
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use burn_trainer::{FitResult, TrainerConfig};
use system_tests::models::small::Model;
use system_tests::run_files::{checkpoints, copy_checkpoint, edit_metadata, files, metadata, stems, target};
use system_tests::{config, train, train_scored};

const ENDS: [&str; 2] = ["ckpt", "ckpt.metadata.json"];

fn keeping(config: TrainerConfig, best: usize, last: usize) -> TrainerConfig {
    let best = Best::new().with_topk(best).with_filename("{epoch}");
    let last = Last::new().with_topk(last).with_filename("{epoch}");
    let last = StrategyConfig::Last(last);
    config.with_strategies([StrategyConfig::Best(best.with_mode(MetricMode::Max)), last])
}

/// A run whose epochs have these scores, of which the higher are better.
fn scored(root: &Path, (best, last): (usize, usize), ckpt_path: &str, scores: &[f64]) -> FitResult<Model> {
    let config = config(root, 4).with_primary_metric("val_score");
    // After a resume, the scores of the epochs that are left.
    train_scored(keeping(config, best, last).with_ckpt_path(ckpt_path), scores).unwrap()
}

fn remove(checkpoint: &Path) {
    ENDS.iter().for_each(|end| std::fs::remove_file(checkpoint.with_extension(end)).unwrap());
}

fn point(link: &Path, to: &str) {
    for end in ENDS {
        let link = link.with_extension(end);
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(Path::new(to).with_extension(end), link).unwrap();
    }
}

/// What there is, and what it is.
fn described(directory: &Path) -> Vec<(String, String)> {
    let description = |name: String| {
        let about = if name.ends_with(".json") && !name.contains(" -> ") {
            std::fs::read_to_string(directory.join(&name)).unwrap()
        } else {
            String::new()
        };
        (name, about)
    };
    files(directory).into_iter().map(description).collect()
}

#[test]
fn a_kill_between_the_two_names_of_the_last_state_is_made_up_for() {
    let (root, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(config(root.path(), 1)).unwrap();
    let directory = checkpoints(root.path());
    let [old, new] =
        ["last/epoch=0-step=10.ckpt", "last/epoch=1-step=20.ckpt"].map(|name| directory.join(name));
    let kept = aside.path().join("old.ckpt");
    copy_checkpoint(&old, &kept);
    train(config(root.path(), 2).with_ckpt_path("auto")).unwrap();
    let whole = described(&directory);

    // As it was after best had got its name, and before last got its own.
    remove(&new);
    copy_checkpoint(&kept, &old);
    point(&directory.join("last.ckpt"), "last/epoch=0-step=10.ckpt");
    let result = train(config(root.path(), 2).with_ckpt_path("auto")).unwrap();
    assert_eq!((result.saves, result.global_step), (0, 20));
    assert_eq!(described(&directory), whole);
    assert_eq!(std::fs::metadata(&new).unwrap().nlink(), 2);
}

#[test]
fn a_damaged_state_gets_no_further_name() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), (2, 3), "auto", &[1.0, 3.0, 2.0, 0.0]);
    let directory = checkpoints(root.path());
    assert_eq!(stems(&directory.join("best")), ["1", "2"]);
    remove(&directory.join("best/1.ckpt"));
    let state = directory.join("last/1.ckpt");
    let mut bytes = std::fs::read(&state).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&state, bytes).unwrap();
    scored(root.path(), (2, 3), "auto", &[]);
    assert_eq!(stems(&directory.join("best")), ["2"]);
    assert_eq!(stems(&directory.join("last")), ["1", "2", "3"], "what is there stays");
}

#[test]
fn a_best_one_that_a_kill_kept_from_its_name_is_in_the_list_again() {
    let root = tempfile::tempdir().unwrap();
    let scores = [2.0, 4.0, 1.0, 3.0];
    scored(root.path(), (3, 4), "auto", &scores);
    let directory = checkpoints(root.path());
    let whole = described(&directory);
    assert_eq!(stems(&directory.join("best")), ["0", "1", "3"]);
    remove(&directory.join("best/3.ckpt"));
    remove(&directory.join("best/1.ckpt"));
    point(&directory.join("best_val_score.ckpt"), "best/0.ckpt");
    scored(root.path(), (3, 4), "auto", &[]);
    // Of the four that are there as last ones, epoch 2 has been let go for good.
    assert_eq!(described(&directory), whole);
}

#[test]
fn a_copy_that_a_user_made_brings_nothing_back() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), (1, 1), "auto", &[1.0, 2.0, 3.0, 4.0]);
    let directory = checkpoints(root.path());
    std::fs::create_dir(directory.join("mine")).unwrap();
    copy_checkpoint(&directory.join("best/3.ckpt"), &directory.join("mine/3.ckpt"));
    remove(&directory.join("best/3.ckpt"));
    remove(&directory.join("last/3.ckpt"));
    scored(root.path(), (1, 1), "auto", &[]);
    assert_eq!(stems(&directory), ["mine/3"]);
}

#[test]
fn a_kill_between_weights_alone_and_the_whole_state_costs_the_best_list_nothing() {
    let run = |root: &Path, epochs: usize, scores: &[f64]| {
        let best = Best::new().with_save_weights_only(true).with_filename("{epoch}");
        let best = StrategyConfig::Best(best.with_mode(MetricMode::Max));
        let config = config(root, epochs).with_primary_metric("val_score");
        let last = Last::new().with_topk(TopK::All).with_filename("{epoch}");
        let config = config.with_strategies([best, StrategyConfig::Last(last)]);
        train_scored(config.with_ckpt_path("auto"), scores).unwrap()
    };
    let root = tempfile::tempdir().unwrap();
    run(root.path(), 2, &[1.0, 2.0]);
    let directory = checkpoints(root.path());
    let changed = |name: &str| std::fs::metadata(directory.join(name)).unwrap().modified().unwrap();
    assert!(changed("best/1.ckpt") <= changed("last/1.ckpt"), "weights alone are written first");
    // So this is what a kill between the two leaves.
    remove(&directory.join("last/1.ckpt"));
    point(&directory.join("last.ckpt"), "last/0.ckpt");
    assert_eq!(run(root.path(), 2, &[2.0]).epochs, 2);
    assert_eq!(
        (stems(&directory.join("best")), stems(&directory.join("last"))),
        (vec!["1".to_owned()], vec!["0".to_owned(), "1".to_owned()])
    );
}

#[test]
fn a_run_that_is_only_opened_with_another_rule_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), (3, 4), "auto", &[1.0, 2.0, 3.0, 4.0]);
    let directory = checkpoints(root.path());
    let before = described(&directory);
    let result = scored(root.path(), (1, 1), "auto", &[]);
    assert_eq!((result.epochs, result.saves), (4, 0));
    assert_eq!(described(&directory), before);
}

#[test]
fn under_another_rule_files_are_deleted_once_something_newer_is_durable() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), (4, 4), "auto", &[1.0, 2.0, 3.0, 4.0]);
    let directory = checkpoints(root.path());
    let third = directory.join("last/2.ckpt");
    scored(root.path(), (1, 1), third.to_str().unwrap(), &[4.0]);
    assert_eq!(
        (stems(&directory.join("best")), stems(&directory.join("last"))),
        (vec!["3".to_owned()], vec!["3-v1".to_owned()])
    );
    assert_eq!(target(&directory.join("last.ckpt")), Path::new("last/3-v1.ckpt"));
}

#[test]
fn the_checkpoint_that_was_resumed_from_stays_until_a_newer_one_is_durable() {
    // Over the rule, as a kill before its removal leaves it, and named by the user.
    let (root, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let last = || StrategyConfig::Last(Last::default());
    train(config(root.path(), 1).with_strategies([last()])).unwrap();
    let old = checkpoints(root.path()).join("last/epoch=0-step=10.ckpt");
    let kept = aside.path().join("old.ckpt");
    copy_checkpoint(&old, &kept);
    train(config(root.path(), 2).with_strategies([last()]).with_ckpt_path("auto")).unwrap();
    copy_checkpoint(&kept, &old);
    let run = config(root.path(), 1).with_strategies([last()]).with_ckpt_path(old.to_str().unwrap());
    assert_eq!(train(run).unwrap().saves, 0);
    assert!(old.exists());
}

#[test]
fn the_newest_is_what_was_taken_last_whatever_the_clock_does() {
    let root = tempfile::tempdir().unwrap();
    let run = |epochs| keeping(config(root.path(), epochs), 1, 2).with_ckpt_path("auto");
    train(run(1)).unwrap();
    let directory = checkpoints(root.path());
    for name in ["best/0.ckpt", "last/0.ckpt"] {
        edit_metadata(&directory.join(name), |about| {
            about["checkpoint_timestamp"] = "2099-01-01T00:00:00.5Z".into();
        });
    }
    train(run(3)).unwrap();
    let time =
        |epoch: u64| metadata(&directory.join(format!("last/{epoch}.ckpt")))["checkpoint_timestamp"].clone();
    assert_eq!([time(1), time(2)], ["2099-01-01T00:00:00.500000001Z", "2099-01-01T00:00:00.500000002Z"]);
    assert_eq!(train(run(4)).unwrap().global_step, 40);
    assert_eq!(stems(&directory.join("last")), ["2", "3"]);
}

#[test]
fn a_state_that_is_come_by_again_is_in_the_best_list_once() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), (3, 1), "auto", &[1.0, 4.0, 3.0, 2.0]);
    let best = checkpoints(root.path()).join("best");
    let whole = described(&best);
    assert_eq!(stems(&best), ["1", "2", "3"]);
    let result = scored(root.path(), (3, 1), "best", &[3.0, 2.0]);
    assert_eq!((result.epochs, result.global_step), (4, 40));
    assert_eq!(described(&best), whole);
}
