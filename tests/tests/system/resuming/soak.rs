//! Resuming is exact: a run that is killed again and again ends with the same bytes as an
//! undisturbed one. And the judge of that finds whatever differs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use burn::train::metric::LossMetric;
use burn_trainer::Trainer;
use system_tests::models::small::{Script, learner, loader, stopper};
use system_tests::programs::commands::build;
use system_tests::run_files::{compare, edit_metadata, last_tensor_byte, stopped_exactly};
use system_tests::soak::{Chaos, ChaosReport, Report, Signal, Soak, Which, long_lived_process};
use system_tests::{config, train};

const SEED: u64 = 1;

fn soaked(which: Which, workers: usize, signal: Signal, kills: u64) -> Report {
    soaked_with(which, workers, signal, kills, "")
}

fn soaked_with(which: Which, workers: usize, signal: Signal, kills: u64, arguments: &str) -> Report {
    let directory = tempfile::tempdir().unwrap();
    let mut program = which.program(&build(&[which.name()]), kills, workers);
    program.arguments.extend(arguments.split_whitespace().map(str::to_owned));
    let soak = Soak { program, kills, signal, seed: SEED, directory: directory.path().join("soak") };
    let report = soak.run().unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(report.kills.total(), kills, "{report}");
    report
}

#[test]
fn undisturbed_runs_are_the_same() {
    soaked(Which::Digits, 0, Signal::Kill, 0);
    soaked(Which::Warmup, 1, Signal::Kill, 0);
}

#[test]
fn digits_killed_at_any_moment_ends_with_the_same_bytes() {
    soaked(Which::Digits, 1, Signal::Kill, 6);
}

#[test]
fn dropout_a_schedule_and_accumulated_gradients_end_with_the_same_bytes_after_kills() {
    for (workers, kills) in [(0, 2), (1, 2), (2, 2)] {
        soaked(Which::Warmup, workers, Signal::Kill, kills);
    }
}

#[test]
fn several_devices_end_with_the_same_bytes_after_kills() {
    soaked_with(Which::Warmup, 1, Signal::Kill, 3, "--set devices=3 --set grads_accumulation=2");
    let sharded = "--set devices=2 --set sharded=true --set grads_accumulation=2";
    soaked_with(Which::Warmup, 0, Signal::Kill, 2, sharded);
}

#[test]
fn everything_at_once_ends_with_the_same_bytes_after_kills_on_one_device_and_on_two() {
    for which in Which::EVERYTHING {
        soaked(which, 2, Signal::Kill, 2);
        soaked(which, 2, Signal::Term, 2);
    }
}

#[test]
fn a_run_that_is_told_to_end_saves_its_step_and_resumes_from_there() {
    soaked(Which::Digits, 2, Signal::Term, 3);
    soaked(Which::Warmup, 0, Signal::Term, 3);
}

#[test]
fn damaged_and_removed_files_and_full_disks_between_kills_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let chaos = Chaos {
        programs: build(&["digits", "warmup"]),
        which: Which::ALL.to_vec(),
        seed: SEED,
        time: Duration::MAX,
        most_runs: 3,
        directory: directory.path().to_path_buf(),
    };
    let ChaosReport(counts) = chaos.run().unwrap_or_else(|reason| panic!("{reason}"));
    assert!(counts.runs == 3 && counts.resumes > 10 && counts.kills + counts.terms > 10, "{counts:?}");
    assert!(counts.corruptions + counts.removed_metadata > 0 && counts.removed_links > 0, "{counts:?}");
    assert!(counts.full_disks >= counts.full_midway && counts.full_midway > 0, "{counts:?}");
    assert!((counts.in_several_files, counts.outside) == (1, 1), "{counts:?}");
    assert!(counts.largest_rss_kib > 0, "{counts:?}");
}

#[test]
fn a_process_that_trains_again_and_again_does_not_grow() {
    let figures = long_lived_process(&build(&["soak"]), 40).unwrap_or_else(|reason| panic!("{reason}"));
    assert!(figures.starts_with("a process after 20 runs: "), "{figures}");
}

/// Two undisturbed runs of the small model.
fn two_runs(directory: &Path) -> [PathBuf; 2] {
    ["a", "b"].map(|name| {
        train(config(&directory.join(name), 3)).unwrap();
        directory.join(name).join("burn_trainer_logs/r1")
    })
}

/// What the judge says after something was done to the second of two equal runs.
fn judged(spoil: impl FnOnce(&Path)) -> String {
    let directory = tempfile::tempdir().unwrap();
    let [a, b] = two_runs(directory.path());
    let same = compare(&a, &b).unwrap();
    assert!(same.steps == 30 && same.tensors > 0 && same.best == 1 && same.metric_files == 6, "{same:?}");
    spoil(&b);
    compare(&a, &b).unwrap_err()
}

#[test]
fn the_judge_finds_gaps_and_doubles_in_the_metric_history() {
    let log = "train/epoch-2/Loss.log";
    let lines = |path: &Path| -> Vec<String> {
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    };
    let with = |change: fn(&mut Vec<String>)| {
        judged(|run| {
            let mut lines = lines(&run.join(log));
            change(&mut lines);
            std::fs::write(run.join(log), lines.join("\n") + "\n").unwrap();
        })
    };
    for said in [
        with(|lines| drop(lines.remove(3))),
        with(|lines| lines.insert(3, lines[3].clone())),
        with(|lines| lines[3].push('0')),
    ] {
        assert!(said.starts_with(log) && said.contains(": line ") && !said.contains("\n"), "{said}");
    }
    let said = judged(|run| std::fs::remove_file(run.join("valid/epoch-3/Loss.log")).unwrap());
    assert_eq!(said, "valid/epoch-3/Loss.log is missing");
}

#[test]
fn the_judge_finds_another_tensor_another_metric_and_a_damaged_file() {
    let last = "checkpoint/last/epoch=2-step=30.ckpt";
    // A tensor, of a run that is a step shorter under the same name.
    let said = judged(|run| {
        let other = tempfile::tempdir().unwrap();
        train(config(other.path(), 2)).unwrap();
        let other = other.path().join("burn_trainer_logs/r1/checkpoint/last/epoch=1-step=20.ckpt");
        for end in ["", ".metadata.json"] {
            let to = run.join(format!("{last}{end}"));
            // Not into the file that has the other name too.
            std::fs::remove_file(&to).unwrap();
            std::fs::copy(format!("{}{end}", other.display()), to).unwrap();
        }
    });
    assert!(said.contains(&format!("{last}: tensor ")) && said.contains("content trainer_state."), "{said}");

    let said = judged(|run| {
        edit_metadata(&run.join(last), |described| described["metrics"]["val_loss"] = 1.5.into());
    });
    assert!(said.contains("metric val_loss = 1"), "{said}");
    let said = judged(|run| {
        let mut bytes = std::fs::read(run.join(last)).unwrap();
        let place = last_tensor_byte(&bytes);
        bytes[place] ^= 1;
        std::fs::write(run.join(last), bytes).unwrap();
    });
    assert!(said.contains("sha256:"), "{said}");
}

#[test]
fn the_judge_finds_another_link_and_files_that_are_left() {
    let said = judged(|run| {
        let link = run.join("checkpoint/best_val_loss.ckpt");
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("last/epoch=2-step=30.ckpt", &link).unwrap();
    });
    assert!(said.contains("best_val_loss.ckpt -> last/") && said.contains("should not be there"), "{said}");
    for name in ["last/epoch=1-step=20.ckpt", "best/.epoch=1-step=20.ckpt.1-1.staging"] {
        let said = judged(|run| std::fs::write(run.join("checkpoint").join(name), "").unwrap());
        assert_eq!(said, format!("checkpoint/{name} should not be there"));
    }
    // What failures leave is another matter.
    let directory = tempfile::tempdir().unwrap();
    let [a, b] = two_runs(directory.path());
    std::fs::create_dir(b.join("checkpoint/on_exception")).unwrap();
    std::fs::write(b.join("checkpoint/on_exception/a.ckpt"), "").unwrap();
    compare(&a, &b).unwrap();
}

#[test]
fn the_judge_finds_a_step_that_was_done_and_not_saved() {
    let directory = tempfile::tempdir().unwrap();
    let trainer = Trainer::new(config(directory.path(), 5), &Script::default().hparams()).unwrap();
    let training = trainer.training(loader(&Script::default()), loader(&Script::default()));
    let at_step = Some((23, stopper(training.interrupter(), false)));
    let learner = learner(Script { at_step, ..Script::default() });
    trainer.fit(training.metrics((LossMetric::new(),)), learner).unwrap();

    let run = directory.path().join("burn_trainer_logs/r1");
    stopped_exactly(&run, 1).unwrap();
    let log = run.join("train/epoch-3/Loss.log");
    std::fs::write(&log, std::fs::read_to_string(&log).unwrap() + "0.5,8\n").unwrap();
    let said = stopped_exactly(&run, 1).unwrap_err();
    assert!(said.starts_with("4 batches of epoch 3 are logged"), "{said}");
    // One of the batches whose gradients make up the next step.
    stopped_exactly(&run, 2).unwrap();
}
