//! Directories of the user's choice: however they are spelled, nothing is lost, and what cannot work is an
//! error.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_trainer::evaluation::ModelEvaluator;
use burn_trainer::metric::MeanLoss;
use burn_trainer::strategy::{
    Best, CheckpointOutput, KeepRule, Last, OnException, RunProgress, SaveDecision, Strategy, StrategyConfig,
    TopK, TrainingEvent,
};
use burn_trainer::{Error, FitResult, TrainerConfig};
use system_tests::models::small::{Model, Script, loader, train_by};
use system_tests::programs::commands::{burn_ckpt, ended_with};
use system_tests::programs::running::{Running, warmup};
use system_tests::run_files::{checkpoints, files, metadata, stems, target};
use system_tests::{backend, config, train, train_scored};

fn with_last(config: TrainerConfig, last: Last) -> TrainerConfig {
    config.with_strategies([StrategyConfig::Best(Best::default()), StrategyConfig::Last(last)])
}

fn at(dirpath: impl Into<PathBuf>) -> Last {
    Last::new().with_dirpath(dirpath.into())
}

/// A run that resumes, and saves its last state in a directory outside of its own.
fn resuming_in(dirpath: &Path, root: &tempfile::TempDir, epochs: usize) -> TrainerConfig {
    let strategies = [StrategyConfig::Last(at(dirpath))];
    config(root.path(), epochs).with_strategies(strategies).with_ckpt_path("auto")
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

#[test]
fn two_runs_of_one_id_below_two_roots_keep_what_is_theirs_in_a_shared_directory() {
    let [a, b, shared] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let shared = std::fs::canonicalize(shared.path()).unwrap();
    let run = |root: &tempfile::TempDir, epochs| resuming_in(&shared, root, epochs);
    train(run(&a, 2)).unwrap();
    let begun = train(run(&b, 2)).unwrap();
    assert_eq!((begun.resumed_from, begun.global_step), (None, 20));
    assert_eq!(stems(&shared), ["epoch=1-step=20-v1", "epoch=1-step=20"]);
    let resumed = train(run(&b, 3)).unwrap();
    assert_eq!(resumed.resumed_from, Some(shared.join("epoch=1-step=20-v1.ckpt")));
    assert_eq!(stems(&shared), ["epoch=1-step=20", "epoch=2-step=30"]);
    train(run(&b, 1).with_ckpt_path("none").with_overwrite(true)).unwrap();
    assert_eq!(stems(&shared), ["epoch=0-step=10", "epoch=1-step=20"]);
    let b_run = system_tests::run_files::run_dir(b.path());
    let (_, said) = ended_with(&burn_ckpt(&[&"rm", &b_run, &"--yes"]), 0);
    assert!(said.contains("another run of this id"), "{said}");
    assert_eq!(stems(&shared), ["epoch=1-step=20"]);
    assert_eq!(train(run(&a, 3)).unwrap().global_step, 30);
    // A run whose own directory is lost is known by its place.
    std::fs::remove_dir_all(a.path().join("burn_trainer_logs")).unwrap();
    assert_eq!(train(run(&a, 4)).unwrap().resumed_from, Some(shared.join("epoch=2-step=30.ckpt")));
}

#[test]
fn an_evaluation_without_its_checkpoint_in_a_shared_directory_is_removed_by_its_own_run() {
    let [a, b, shared] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let shared = std::fs::canonicalize(shared.path()).unwrap();
    let run = |root: &tempfile::TempDir, epochs| resuming_in(&shared, root, epochs);
    train(run(&a, 1)).unwrap();
    let saved = train(run(&b, 1)).unwrap().run_dir.join("last");
    let mut evaluator = ModelEvaluator::<Model>::of_checkpoint(&saved, &backend::device()).unwrap();
    let evaluation = evaluator.evaluate(loader(&Script::default()), (MeanLoss::new(),)).unwrap();
    let kept = evaluation.keep().unwrap();
    assert!(kept.starts_with(&shared), "{kept:?}");
    // Its checkpoint is moved into an archive, as its user does who keeps the evaluation of it.
    let of_b = evaluation.checkpoint.unwrap().path;
    std::fs::rename(&of_b, b.path().join("archived.ckpt")).unwrap();
    train(run(&a, 2)).unwrap();
    assert!(kept.exists(), "it is another run's, of the same id");
    train(run(&b, 1)).unwrap();
    assert!(!kept.exists(), "its own run removes it");
}

#[test]
fn a_run_with_a_relative_root_resumes_where_its_own_directory_is_lost() {
    let [home, shared] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let newest = |epochs| {
        let dirpath = format!("--set last.dirpath={}", shared.path().display());
        let flags = format!("--run-id r1 --epochs {epochs} --ckpt-path auto {dirpath}");
        let mut program = warmup(Path::new("."), &flags);
        program.current_dir(home.path());
        Running::start(program).end_well();
        metadata(&checkpoints(home.path()).join("last.ckpt"))
    };
    newest(1);
    std::fs::remove_dir_all(home.path().join("burn_trainer_logs")).unwrap();
    let resumed = newest(2);
    assert_eq!(resumed["starts"].as_array().unwrap().len(), 2, "{resumed}");
}

/// Saves the whole state at each epoch's end into a directory of its own, without a link.
struct EachEpoch(PathBuf);

impl Strategy for EachEpoch {
    fn name(&self) -> String {
        "each_epoch".to_owned()
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(TopK::All)
    }

    fn output(&self) -> CheckpointOutput {
        CheckpointOutput::new(&self.0).with_filename("{epoch}")
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, _: &RunProgress<'_>) -> SaveDecision {
        match event {
            TrainingEvent::EpochEnd => {
                SaveDecision::Save { score: f64::NAN, reason: "each epoch".to_owned() }
            }
            _ => SaveDecision::Skip,
        }
    }
}

/// Trains with a strategy of the program's, and no other.
fn each_epoch(root: &Path, directory: &Path, epochs: usize) -> FitResult<Model> {
    let config = config(root, epochs).with_strategies([]).with_ckpt_path("auto");
    let directory = directory.to_path_buf();
    train_by(config, Script::default(), |trainer| trainer.strategy(EachEpoch(directory))).unwrap()
}

#[test]
fn a_directory_outside_that_only_an_earlier_start_had_is_known_to_the_next_one() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outside = std::fs::canonicalize(outside.path()).unwrap().join("own");
    each_epoch(root.path(), &outside, 2);
    // A kill in the next save.
    let disturbed = Arc::new(EndsAt(outside.join("2.ckpt"), AtomicBool::new(false)));
    let observation = observe(&outside, disturbed.clone());
    let killed = each_epoch(root.path(), &outside, 3);
    drop(observation);
    assert_eq!(killed.failed_saves.len(), 1);
    assert!(files(&outside).iter().any(|name| name.contains("staging")), "{:?}", files(&outside));
    // Neither this strategy nor its directory is in the configuration.
    let result = train(config(root.path(), 3).with_ckpt_path("auto")).unwrap();
    assert_eq!(result.resumed_from, Some(outside.join("1.ckpt")));
    assert!(files(&outside).iter().all(|name| !name.contains("staging")), "{:?}", files(&outside));
    // Nor does the run start from the beginning, and `overwrite` removes what is the run's there.
    let notes = outside.join("notes.txt");
    std::fs::write(&notes, "mine").unwrap();
    let error = train(config(root.path(), 3)).map(drop).unwrap_err();
    assert!(matches!(error, Error::RunExists { .. }), "{error}");
    train(config(root.path(), 1).with_overwrite(true)).unwrap();
    assert_eq!(files(&outside), ["notes.txt"]);
}

/// A disk on which a process ends before a file gets its name.
struct EndsAt(PathBuf, AtomicBool);

impl Observer for EndsAt {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        if operation.path() == self.0 && matches!(operation, Operation::HardLink { .. }) {
            self.1.store(true, Ordering::Relaxed);
        }
        match self.1.load(Ordering::Relaxed) {
            true => Verdict::Fail(std::io::Error::other("the process has ended")),
            false => Verdict::Proceed,
        }
    }
}

#[test]
fn a_run_whose_checkpoints_are_all_on_a_disk_that_is_not_mounted_does_not_begin_again() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outside = std::fs::canonicalize(outside.path()).unwrap().join("disk");
    let run = |epochs| config(root.path(), epochs).with_strategies([StrategyConfig::Last(at(&outside))]);
    train(run(1)).unwrap();
    let log = system_tests::run_files::run_dir(root.path()).join("metrics.jsonl");
    let logged = std::fs::read(&log).unwrap();
    let unmounted = outside.with_extension("unmounted");
    std::fs::rename(&outside, &unmounted).unwrap();
    let error = train(run(2).with_ckpt_path("auto")).map(drop).unwrap_err();
    let Error::NothingToResume { skipped, .. } = &error else { panic!("{error:?}") };
    // What is on that disk would be lost.
    let said = error.to_string();
    assert!(said.contains("mount the disk") && !said.contains("overwrite"), "{said}");
    let [link] = &skipped[..] else { panic!("{skipped:?}") };
    assert!(link.path.ends_with("last.ckpt") && link.reason.contains(outside.to_str().unwrap()), "{link:?}");
    let error = train(run(2)).map(drop).unwrap_err();
    let Error::RunExists { missing, .. } = &error else { panic!("{error:?}") };
    assert_eq!(missing, std::slice::from_ref(&outside));
    let said = error.to_string();
    assert!(said.contains("mount its disk") && !said.contains("overwrite"), "{said}");
    assert!(said.contains(outside.to_str().unwrap()), "{said}");
    assert_eq!(std::fs::read(&log).unwrap(), logged, "the run is as it was");
    assert!(!outside.exists());
    std::fs::rename(&unmounted, &outside).unwrap();
    assert_eq!(train(run(2).with_ckpt_path("auto")).unwrap().global_step, 20);
    std::fs::remove_dir_all(&outside).unwrap();
    // Only the user knows that the disk does not come back.
    let overwriting = run(1).with_overwrite(true);
    let error = train(overwriting.clone().with_ckpt_path("auto")).map(drop).unwrap_err();
    assert!(matches!(error, Error::NothingToResume { .. }), "{error:?}");
    assert_eq!(train(overwriting.with_ckpt_path("none")).unwrap().global_step, 10);
}

#[test]
fn a_directory_of_the_run_that_is_not_there_is_named_with_what_to_do() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outside = std::fs::canonicalize(outside.path()).unwrap().join("disk");
    let flags = "--run-id r1 --ckpt-path auto --set strategies.0.dirpath=";
    let start = |rest: String| Running::start(warmup(root.path(), &rest)).end_well().stderr;
    let said = start(format!("{flags}{outside:?} --epochs 1"));
    assert!(!said.contains("warning"), "{said}");
    let unmounted = outside.with_extension("unmounted");
    std::fs::rename(&outside, &unmounted).unwrap();
    let said = start("--run-id r1 --ckpt-path auto --epochs 2".to_owned());
    let named: Vec<&str> = said.lines().filter(|line| line.contains("which is not there")).collect();
    let [line] = named[..] else { panic!("{said}") };
    assert!(line.contains(outside.to_str().unwrap()) && line.contains("directories.json"), "{line}");
    std::fs::rename(&unmounted, &outside).unwrap();
    let said = start("--run-id r1 --ckpt-path auto --epochs 3".to_owned());
    assert!(!said.contains("which is not there"), "{said}");
}
