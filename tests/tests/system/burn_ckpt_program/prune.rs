//! `burn-ckpt prune`: what a rule keeps and what a link points to stays; where that is not complete, all
//! stays.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use burn_ckpt::plumbing::RunLock;
use burn_ckpt::retention::{MetricMode, TopK};
use burn_ckpt::{Checkpoint, RunLayout};
use burn_trainer::callbacks::EarlyStopping;
use burn_trainer::config::LockMode;
use burn_trainer::strategy::{Best, Last, MetricConfig, StrategyConfig};
use serde_json::{Value, json};
use system_tests::programs::commands::{burn_ckpt, ended_with};
use system_tests::programs::running::{Running, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{checkpoints, complete_checkpoints, files, metadata, run_dir, stems};
use system_tests::{config, train, train_and_keep_all, train_scored};

use super::ls::as_user;

const SCORES: [f64; 6] = [3.0, 1.0, 4.0, 1.5, 5.0, 9.0];

/// A run with all of `SCORES`, of which the lowest is in `best`.
pub fn run() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &SCORES, 1).unwrap();
    root
}

pub fn prune(root: &Path, arguments: &str, status: i32) -> (String, String) {
    let run = run_dir(root);
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"prune", &run];
    all.extend(words.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
    ended_with(&burn_ckpt(&all), status)
}

/// The epochs in `last` that are left.
pub fn left(root: &Path) -> Vec<usize> {
    let stems = stems(&checkpoints(root).join("last"));
    stems.iter().map(|stem| stem["epoch=".len()..].split('-').next().unwrap().parse().unwrap()).collect()
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn rules_say_what_stays_and_what_links_point_to_stays_by_all_of_them() {
    // The best is that of epoch 1, the last that of epoch 5; links point to both.
    for (rules, expected) in [
        ("--keep links", vec![1, 5]),
        ("--keep last=1", vec![1, 5]),
        ("--keep last=3", vec![1, 3, 4, 5]),
        ("--keep best=val_score:3", vec![0, 1, 3, 5]),
        ("--keep best=val_score:2 --keep last=2", vec![1, 3, 4, 5]),
        ("--keep last=100", vec![0, 1, 2, 3, 4, 5]),
    ] {
        let root = run();
        let (out, err) = prune(root.path(), rules, 0);
        assert_eq!(left(root.path()), expected, "{rules}");
        assert_eq!(stems(&checkpoints(root.path()).join("best")), ["epoch=1-step=20"], "{rules}");
        let removed = SCORES.len() - expected.len();
        assert_eq!(
            out.lines().filter(|line| line.starts_with("removed  last/epoch=")).count(),
            removed,
            "{out}"
        );
        assert_eq!(out.lines().count(), removed, "{out}");
        assert!(err.contains(&format!("{removed} file")) && err.contains("kept"), "{err}");
        // No link leads nowhere, no metadata is left over, and the lock is given up.
        assert_eq!(complete_checkpoints(&checkpoints(root.path())), Ok(expected.len() + 1));
        let metadata = files(&checkpoints(root.path()))
            .into_iter()
            .filter(|name| name.ends_with("ckpt.metadata.json") && !name.contains(" -> "));
        assert_eq!(metadata.count(), expected.len() + 1);
        assert!(!run_dir(root.path()).join("run.lock").exists());
    }
}

#[test]
fn a_pruned_run_resumes() {
    let root = run();
    prune(root.path(), "--keep links", 0);
    let config = config(root.path(), 7).with_primary_metric("val_loss").with_ckpt_path("auto");
    let result = train(config).unwrap();
    assert_eq!(result.global_step, 70);
}

#[test]
fn a_dry_run_says_the_same_and_removes_nothing() {
    let root = run();
    let before = files(root.path());
    let (would, err) = prune(root.path(), "--keep last=2 --dry-run", 0);
    assert_eq!(files(root.path()), before);
    assert!(err.contains("would be removed"), "{err}");
    let (removed, _) = prune(root.path(), "--keep last=2", 0);
    assert_eq!(would.replace("would remove", "removed"), removed);
    assert!(!removed.is_empty());
}

#[test]
fn the_json_lists_what_went_and_what_stayed() {
    let root = run();
    let size = fs::metadata(checkpoints(root.path()).join("last/epoch=0-step=10.ckpt")).unwrap().len();
    let (out, _) = prune(root.path(), "--keep last=5 --json", 0);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["removed"], json!([{ "file": "last/epoch=0-step=10.ckpt", "freed_bytes": size }]));
    let kept = found["kept"].as_array().unwrap();
    assert_eq!((kept.len(), &kept[0]["links"]), (6, &json!(["best_val_score"])));
    assert_eq!((&found["broken"], &found["dry_run"]), (&json!([]), &json!(false)));
}

#[test]
fn bytes_are_freed_with_a_files_last_name() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[1.0, 2.0, 3.0], 3).unwrap();
    let (out, _) = prune(root.path(), "--keep last=1 --dry-run", 0);
    // The state of epoch 1 is the only one without a link, and has two names.
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.lines().next().unwrap().ends_with("has another name"), "{out}");
    assert!(out.lines().nth(1).unwrap().ends_with("iB"), "{out}");
    let (removed, _) = prune(root.path(), "--keep last=1", 0);
    assert_eq!(out.replace("would remove", "removed"), removed);
}

#[test]
fn nothing_is_removed_where_what_stays_is_not_whole() {
    for name in ["last/epoch=5-step=60.ckpt", "best/epoch=1-step=20.ckpt"] {
        let root = run();
        damage(&checkpoints(root.path()).join(name));
        let before = files(root.path());
        let (out, err) = prune(root.path(), "--keep last=1", 1);
        assert!(out.is_empty() && err.contains(name) && err.contains("nothing is removed"), "{err}");
        assert_eq!(files(root.path()), before);
    }
}

#[test]
fn the_last_complete_checkpoint_stays() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[1.0, 2.0], 1).unwrap();
    // Without links, the rule that keeps only what they point to keeps nothing.
    for name in ["last.ckpt", "best_val_score.ckpt"] {
        for end in ["", ".metadata.json"] {
            fs::remove_file(checkpoints(root.path()).join(format!("{name}{end}"))).unwrap();
        }
    }
    let before = files(root.path());
    let (_, err) = prune(root.path(), "--keep links", 1);
    assert!(err.contains("no valid checkpoint would stay"), "{err}");
    assert_eq!(files(root.path()), before);
}

#[test]
fn what_is_not_whole_is_left_alone_unless_it_is_to_go_too() {
    let root = run();
    let broken = checkpoints(root.path()).join("last/epoch=0-step=10.ckpt");
    cut(&broken);
    let (out, err) = prune(root.path(), "--keep links", 0);
    assert!(err.contains("last/epoch=0-step=10.ckpt: not whole, kept"), "{err}");
    assert!(!out.contains("epoch=0") && broken.exists());
    let (out, _) = prune(root.path(), "--keep links --broken", 0);
    assert!(out.contains("removed  last/epoch=0-step=10.ckpt"), "{out}");
    assert_eq!(left(root.path()), [1, 5]);
}

#[test]
fn what_is_not_whole_can_be_removed_alone_as_ls_says() {
    let root = run();
    cut(&checkpoints(root.path()).join("last/epoch=0-step=10.ckpt"));
    let (_, err) = ended_with(&burn_ckpt(&[&"ls", &root.path()]), 1);
    let advice = format!("burn-ckpt prune {} --broken removes damaged files", run_dir(root.path()).display());
    assert!(err.contains(&advice), "{err}");
    let (_, err) = prune(root.path(), "--keep last=1 --dry-run", 0);
    assert!(err.contains("kept, and 1 not whole"), "{err}");
    let (out, err) = prune(root.path(), "--broken", 0);
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(out.contains("removed  last/epoch=0-step=10.ckpt") && err.ends_with(" kept\n"), "{out}{err}");
    assert_eq!(left(root.path()), [1, 2, 3, 4, 5]);
}

pub fn cut(path: &Path) {
    fs::File::options().write(true).open(path).unwrap().set_len(10).unwrap();
}

/// A run whose best states are those of epochs 0 and 2, of which the first is damaged, and so is the last.
fn with_damaged_targets_of_links() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let best = StrategyConfig::Best(Best::new().with_topk(TopK::Count(2)));
    let all = StrategyConfig::Last(Last::new().with_topk(TopK::All));
    let config = config(root.path(), 4).with_primary_metric("val_score").with_strategies([best, all]);
    train_scored(config, &[1.0, 3.0, 2.0, 4.0]).unwrap();
    for name in ["best/epoch=0-step=10.ckpt", "last/epoch=3-step=40.ckpt"] {
        cut(&checkpoints(root.path()).join(name));
    }
    root
}

#[test]
fn a_damaged_file_is_removed_with_the_links_that_lead_to_it_as_ls_says() {
    let root = with_damaged_targets_of_links();
    let run = run_dir(root.path());
    let ls = |status| ended_with(&burn_ckpt(&[&"ls", &run]), status).1;
    assert!(ls(1).contains("--broken removes damaged files, and the links to them"), "{}", ls(1));
    let (_, err) = prune(root.path(), "--keep last=3 --dry-run", 0);
    for link in ["best_val_score", "last"] {
        assert!(err.contains(&format!("the link {link} leads to it; --broken removes both")), "{err}");
    }
    let before = files(root.path());
    let (would, _) = prune(root.path(), "--broken --dry-run", 0);
    assert_eq!(files(root.path()), before);
    let (out, err) = prune(root.path(), "--broken", 0);
    assert_eq!(would.replace("would remove", "removed"), out);
    // A link never leads to a file that is gone.
    for (link, file) in
        [("best_val_score.ckpt", "best/epoch=0-step=10.ckpt"), ("last.ckpt", "last/epoch=3-step=40.ckpt")]
    {
        let place = |name: &str| out.find(&format!("removed  {name}  ")).expect(name);
        assert!(place(link) < place(file), "{out}");
    }
    assert!(err.ends_with(" kept\n"), "{err}");
    assert!(!ls(0).contains("error"), "{}", ls(0));
    // Their names have what is left, and the run resumes.
    for (name, step) in [("last", 30), ("best", 30)] {
        let found = Checkpoint::open(run.join(name)).unwrap().metadata().unwrap();
        assert_eq!(found.global_step, step, "{name}");
    }
    let config = config(root.path(), 5).with_primary_metric("val_loss").with_ckpt_path("auto");
    assert_eq!(train(config).unwrap().global_step, 50);
}

#[test]
fn a_file_of_its_size_that_has_other_bytes_than_were_saved_is_damaged_too() {
    let root = run();
    let last = checkpoints(root.path()).join("last");
    for name in ["epoch=0-step=10.ckpt", "epoch=5-step=60.ckpt"] {
        damage(&last.join(name));
    }
    let (out, err) = prune(root.path(), "--broken", 0);
    let removed = ["last/epoch=0-step=10.ckpt", "last.ckpt", "last/epoch=5-step=60.ckpt"];
    assert!(removed.iter().all(|name| out.contains(&format!("removed  {name}  "))), "{out}");
    assert!(err.contains("last/epoch=5-step=60.ckpt: not whole: "), "{err}");
    assert_eq!((left(root.path()), out.lines().count()), (vec![1, 2, 3, 4], 3));
    // If none is whole, all stay.
    for epoch in 1..=4 {
        damage(&last.join(format!("epoch={epoch}-step={}0.ckpt", epoch + 1)));
    }
    fs::remove_dir_all(checkpoints(root.path()).join("best")).unwrap();
    let (_, err) = prune(root.path(), "--broken", 1);
    assert!(err.contains("no valid checkpoint would stay"), "{err}");
    assert_eq!(left(root.path()), [1, 2, 3, 4]);
}

/// Root may read everything, so another user has the run, and prunes it.
#[test]
fn a_file_that_cannot_be_read_now_is_not_damaged_and_stays_with_its_link() {
    let root = run();
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    let best = checkpoints(root.path()).join("best/epoch=1-step=20.ckpt");
    fs::set_permissions(&best, Permissions::from_mode(0o000)).unwrap();
    if fs::metadata(&best).unwrap().uid() == 0 {
        let changed = Command::new("chown").args(["-R", "65534"]).arg(run_dir(root.path())).status();
        assert!(changed.unwrap().success());
    }
    cut(&checkpoints(root.path()).join("last/epoch=0-step=10.ckpt"));
    let arguments: [&dyn AsRef<std::ffi::OsStr>; 3] = [&"prune", &run_dir(root.path()), &"--broken"];
    let (out, err) = ended_with(&as_user(&arguments), 0);
    assert!(out.starts_with("removed  last/epoch=0-step=10.ckpt  ") && out.lines().count() == 1, "{out}");
    assert!(err.contains("best/epoch=1-step=20.ckpt: cannot be read, kept: "), "{err}");
    assert!(best.exists() && checkpoints(root.path()).join("best_val_score.ckpt").exists());
}

#[test]
fn a_damaged_file_that_stays_says_why_and_ls_does_not_say_that_it_would_go() {
    let root = tempfile::tempdir().unwrap();
    let last = Last::new().with_dirpath(root.path().join("outside"));
    let best = StrategyConfig::Best(Best::new());
    let config = config(root.path(), 1).with_primary_metric("val_loss");
    train(config.with_strategies([best, StrategyConfig::Last(last)])).unwrap();
    let outside = root.path().join("outside/epoch=0-step=10.ckpt");
    // Not a second name of the best.
    let bytes = fs::read(&outside).unwrap();
    fs::remove_file(&outside).unwrap();
    fs::write(&outside, &bytes[..10]).unwrap();
    let run = run_dir(root.path());
    let (_, err) = ended_with(&burn_ckpt(&[&"ls", &run]), 1);
    assert!(err.contains("damaged") && !err.contains("--broken"), "{err}");
    let (out, err) = prune(root.path(), "--broken", 0);
    assert!(out.is_empty() && outside.exists(), "{out}");
    let why = "outside/epoch=0-step=10.ckpt: not whole, kept, as it is outside of the run's directory: ";
    let advice = "; the link last leads to it; remove both by hand";
    assert!(err.contains(why) && err.contains(advice) && err.contains("and 1 not whole"), "{err}");
}

#[test]
fn a_run_that_a_process_writes_to_is_left_alone() {
    let root = run();
    let layout = RunLayout::at(run_dir(root.path()));
    let lock = RunLock::acquire(layout.run_dir(), LockMode::Required).unwrap();
    let before = files(root.path());
    let (out, err) = prune(root.path(), "--keep links", 1);
    let holder = format!("process {}", std::process::id());
    assert!(out.is_empty() && err.contains("in use by") && err.contains(&holder), "{err}");
    assert_eq!(files(root.path()), before);
    drop(lock);
    prune(root.path(), "--keep links", 0);
}

#[test]
fn a_training_program_is_not_disturbed() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    // In its third epoch.
    let hooks = TestHooks::wait(Split::Train, 50, &gate);
    let mut training = Running::start(hooks.given_to(warmup(root.path(), "--run-id r1 --epochs 3")));
    training.wait_for("the gate", |_| gate.is_reached());
    let before = files(root.path());
    let (_, err) = prune(root.path(), "--keep links", 1);
    assert!(err.contains(&format!("process {}", training.id())), "{err}");
    // Its writer's thread may be at work: what is unfinished gets its name.
    let after = files(root.path());
    let lost = before.iter().filter(|file| !file.contains(".staging") && !after.contains(file));
    assert_eq!(lost.count(), 0, "{before:?} {after:?}");
    gate.open();
    training.end_well();
}

#[test]
fn the_link_to_the_best_says_which_way_is_better_where_the_configuration_does_not() {
    let root = tempfile::tempdir().unwrap();
    let all = StrategyConfig::Last(Last::new().with_topk(TopK::All));
    let config = config(root.path(), 4).with_strategies([StrategyConfig::Best(Best::default()), all]);
    train(config).unwrap();
    let directory = checkpoints(root.path()).join("last");
    let loss = |stem: &String| {
        let metadata = metadata(&directory.join(format!("{stem}.ckpt")));
        metadata["metrics"]["val_loss"].as_f64().unwrap()
    };
    let mut by_loss = stems(&directory);
    by_loss.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
    assert_eq!(by_loss.len(), 4);
    // The other way round it would be the last two, of which one has a link.
    prune(root.path(), "--keep best=val_loss:3", 0);
    let mut kept = by_loss[..3].to_vec();
    kept.sort();
    assert_eq!(stems(&directory), kept);
    let (_, err) = prune(root.path(), "--keep best=val_loss:1 --mode max", 2);
    assert!(err.contains("lower val_loss is better"), "{err}");
}

#[test]
fn a_metric_has_the_mode_by_which_the_run_ranks_also_where_no_setting_states_it() {
    let root = tempfile::tempdir().unwrap();
    // burn's metric knows itself which way is better, and no link shows it.
    let all = StrategyConfig::Last(Last::new().with_topk(TopK::All));
    let best = StrategyConfig::Best(Best::new().with_save_symlink(false));
    train(config(root.path(), 3).with_strategies([best, all])).unwrap();
    let run = run_dir(root.path());
    let described = ended_with(&burn_ckpt(&[&"runs", &run, &"--json"]), 0).0;
    let described: Value = serde_json::from_str(&described).unwrap();
    assert_eq!(described[0]["best"]["mode"], "min");
    prune(root.path(), "--keep best=val_loss:2 --dry-run", 0);
    let (_, err) = prune(root.path(), "--keep best=val_loss:2:max", 2);
    assert!(err.contains("lower val_loss is better"), "{err}");
    // So does early stopping by another metric.
    let root = tempfile::tempdir().unwrap();
    let metric = MetricConfig::new("train_loss").with_mode(MetricMode::Min);
    train(config(root.path(), 1).with_early_stopping(EarlyStopping::new(metric))).unwrap();
    prune(root.path(), "--keep best=train_loss:1", 0);
}

#[test]
fn a_metric_needs_a_stated_mode() {
    let root = tempfile::tempdir().unwrap();
    // The run does not rank by the loss of the training.
    train(config(root.path(), 1)).unwrap();
    let (_, err) = prune(root.path(), "--keep best=train_loss:1", 2);
    assert!(err.contains("--mode min"), "{err}");
    for mode in ["--mode min", "--mode max"] {
        prune(root.path(), &format!("--keep best=train_loss:1 {mode}"), 0);
    }
    prune(root.path(), "--keep best=val_loss:1:min", 0);
    let (_, err) = prune(root.path(), "--keep best=val_los:1", 1);
    assert!(err.contains("val_los") && err.contains("train_loss, val_loss"), "{err}");
    // The other way round than the run's own would remove the best.
    let root = run();
    let before = files(root.path());
    for wrong in ["--keep best=val_score:1:max", "--keep best=val_score:1 --mode max"] {
        let (_, err) = prune(root.path(), wrong, 2);
        assert!(err.contains("lower val_score is better"), "{err}");
    }
    assert_eq!(files(root.path()), before);
}
