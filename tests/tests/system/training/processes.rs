//! Several processes. Of those that train one model together, which the setting `rank` says, the one of rank
//! 0 writes, the others write nothing, and none of them depends on what becomes of another. Those that a
//! launcher only counts train a run each.

use std::path::{Path, PathBuf};
use std::process::Command;

use system_tests::programs::running::{Ended, Running, holds, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{
    checkpoints, compare, complete_checkpoints, files, in_memory, metadata, run_dir,
};

/// Files so large that writing one takes a while, at every step.
const FLAGS: &str = "--run-id r1 --epochs 2 --topk 2 --save-every-steps 5 --set hidden=256";
const STEPS: &str = "steps 60";

/// The process of a rank, which shows its metrics at the end.
fn of_rank(rank: &str, root: &Path, hooks: TestHooks) -> Command {
    let mut command = TestHooks { show_metrics: true, ..hooks }.given_to(warmup(root, FLAGS));
    command.args(["--set", &format!("rank={rank}")]);
    command
}

fn start(rank: &str, root: &Path) -> Running {
    Running::start(of_rank(rank, root, TestHooks::default()))
}

/// A run by a process that is alone. Returns its directory, and its metrics.
fn alone(root: &Path) -> (PathBuf, String) {
    let show = TestHooks { show_metrics: true, ..TestHooks::default() };
    let ended = Running::start(show.given_to(warmup(root, FLAGS))).end_well();
    (run_dir(root), shown_metrics(&ended))
}

fn shown_metrics(ended: &Ended) -> String {
    let line = ended.stdout.lines().find(|line| line.starts_with("metrics: "));
    line.unwrap_or_else(|| panic!("{ended:?}")).to_owned()
}

/// A process that was not to write ended as it should, and said only that it does not.
fn ended_in_silence(running: Running, metrics: &str) {
    let ended = running.end_well();
    assert_eq!(ended.stdout.trim_end(), metrics);
    let [line] = ended.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{ended:?}") };
    let says = ["rank ", "the one of rank 0 saves and shows the run r1", "rank is set"];
    assert!(says.iter().all(|part| line.contains(part)), "{line}");
}

#[test]
fn only_the_process_of_rank_0_writes_and_all_come_to_the_same() {
    let directory = in_memory();
    let (whole, expected) = alone(&directory.path().join("alone"));
    let root = directory.path().join("three");
    let [first, second, third] = ["0", "1", "2"].map(|rank| start(rank, &root));
    ended_in_silence(second, &expected);
    ended_in_silence(third, &expected);
    let ended = first.end_well();
    assert_eq!(shown_metrics(&ended), expected);
    assert!(ended.stdout.contains(STEPS), "{ended:?}");
    compare(&whole, &run_dir(&root)).unwrap();
}

/// A launcher's variables for a process.
fn launched(root: &Path, variables: &[(&str, &str)], arguments: &str) -> Command {
    let mut command = warmup(root, arguments);
    command.envs(variables.iter().copied());
    command
}

#[test]
fn a_rank_of_whatever_launcher_does_not_cost_a_run_and_is_said() {
    let directory = in_memory();
    let (whole, _) = alone(&directory.path().join("alone"));
    for variable in
        ["RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "JSM_NAMESPACE_RANK", "SLURM_PROCID"]
    {
        let root = directory.path().join(variable);
        let ended = Running::start(launched(&root, &[(variable, "1")], FLAGS)).end_well();
        compare(&whole, &run_dir(&root)).unwrap_or_else(|reason| panic!("{variable}: {reason}"));
        let line = ended.stderr.lines().next().unwrap();
        let says = [&format!("rank 1 ({variable})"), "a run of its own, r1", "its own run_id"];
        assert!(says.iter().all(|part| line.contains(part)), "{line}");
    }
    let root = directory.path().join("rank-0");
    let first = Running::start(launched(&root, &[("SLURM_PROCID", "0")], FLAGS)).end_well();
    assert!(!first.stderr.contains("rank"), "{first:?}");
}

#[test]
fn four_seeds_in_one_job_are_four_runs() {
    let directory = in_memory();
    let root = directory.path();
    let runs: Vec<Running> = ["0", "1", "2", "3"]
        .map(|rank| {
            let job = [("SLURM_PROCID", rank), ("SLURM_NTASKS", "4"), ("SLURM_JOB_ID", "7")];
            let flags = format!("--epochs 1 --seed {rank} --set slurm_requeue=true");
            Running::start(launched(root, &job, &flags))
        })
        .into();
    runs.into_iter().for_each(|running| drop(running.end_well()));
    for (run, seed) in [("slurm-7", 0), ("slurm-7-1", 1), ("slurm-7-2", 2), ("slurm-7-3", 3)] {
        let last = root.join("burn_trainer_logs").join(run).join("checkpoint/last.ckpt");
        assert_eq!(metadata(&last)["trainer_config"]["seed"], seed, "{run}");
    }
}

#[test]
fn of_four_processes_of_one_run_id_the_others_get_an_error_that_names_the_first_and_what_to_do() {
    let directory = in_memory();
    let root = directory.path();
    let gate = Gate::closed();
    let hooks = TestHooks::wait(Split::Train, 5, &gate);
    let mut first = Running::start(hooks.given_to(launched(root, &[("SLURM_PROCID", "0")], FLAGS)));
    first.wait_for("its batch", |_| gate.is_reached());
    let second = Running::start(launched(root, &[("SLURM_PROCID", "1")], FLAGS)).end();
    assert_eq!(second.code(), Some(1), "{second:?}");
    let says = [format!("process {}", first.id()), "give each process its own run_id".to_owned()];
    assert!(says.iter().all(|part| second.stderr.contains(part)), "{second:?}");
    gate.open();
    first.end_well();
}

#[test]
fn the_process_of_rank_0_ends_whatever_becomes_of_the_others() {
    let directory = in_memory();
    let (whole, _) = alone(&directory.path().join("alone"));
    let root = directory.path().join("three");
    let gates = [Gate::closed(), Gate::closed()];
    let [mut killed, mut stopped] = [("1", &gates[0]), ("2", &gates[1])]
        .map(|(rank, gate)| Running::start(of_rank(rank, &root, TestHooks::wait(Split::Train, 45, gate))));
    let first = start("0", &root);
    killed.wait_for("its batch", |_| gates[0].is_reached());
    stopped.wait_for("its batch", |_| gates[1].is_reached());
    stopped.stop();
    assert_eq!(killed.kill().signal(), Some(9));
    first.end_well();
    compare(&whole, &run_dir(&root)).unwrap();
    assert!(!stopped.has_ended());
    // It continues as if it had not been stopped.
    stopped.send("CONT");
    gates[1].open();
    stopped.end_well();
    compare(&whole, &run_dir(&root)).unwrap();
}

#[test]
fn the_others_end_while_the_process_of_rank_0_stands_still_in_a_save_and_then_it_ends_too() {
    let directory = in_memory();
    let (whole, expected) = alone(&directory.path().join("alone"));
    let root = directory.path().join("three");
    let mut first = start("0", &root);
    first.stop_in_a_save(&run_dir(&root));
    let [second, third] = ["1", "2"].map(|rank| start(rank, &root));
    ended_in_silence(second, &expected);
    ended_in_silence(third, &expected);
    first.send("CONT");
    let ended = first.end_well();
    assert_eq!(shown_metrics(&ended), expected);
    compare(&whole, &run_dir(&root)).unwrap();
}

#[test]
fn a_process_of_rank_0_that_is_killed_in_a_save_resumes_and_the_others_are_not_affected() {
    let directory = in_memory();
    let (whole, expected) = alone(&directory.path().join("alone"));
    let root = directory.path().join("three");
    let [mut first, second, third] = ["0", "1", "2"].map(|rank| start(rank, &root));
    first.stop_in_a_save(&run_dir(&root));
    assert_eq!(first.kill().signal(), Some(9));
    ended_in_silence(second, &expected);
    ended_in_silence(third, &expected);
    complete_checkpoints(&checkpoints(&root)).unwrap();
    let mut again = of_rank("0", &root, TestHooks::default());
    again.args(["--ckpt-path", "auto"]);
    let ended = Running::start(again).end_well();
    assert!(ended.stdout.contains(STEPS), "{ended:?}");
    compare(&whole, &run_dir(&root)).unwrap();
}

#[test]
fn processes_that_are_started_again_resume_from_the_checkpoint_of_rank_0_and_end_with_the_same_metrics() {
    let directory = in_memory();
    let (_, expected) = alone(&directory.path().join("alone"));
    let root = directory.path().join("three");
    let gate = Gate::closed();
    let mut first = Running::start(of_rank("0", &root, TestHooks::wait(Split::Train, 45, &gate)));
    first.wait_for("its batch", |_| gate.is_reached());
    first.send("TERM");
    first.wait_for("the signal", |said| said.contains("SIGTERM: saving"));
    gate.open();
    assert_eq!(first.end().code(), Some(143));
    let before = files(&run_dir(&root));
    // Those of the other ranks first, before the one of rank 0 changes the directory.
    for rank in ["1", "2", "0"] {
        assert_eq!(files(&run_dir(&root)), before);
        let mut command = of_rank(rank, &root, TestHooks::default());
        command.args(["--ckpt-path", "auto"]);
        assert_eq!(shown_metrics(&Running::start(command).end_well()), expected, "rank {rank}");
    }
}

#[test]
fn a_second_process_of_rank_0_gets_an_error_that_names_the_first_until_that_one_has_ended() {
    let directory = in_memory();
    let root = directory.path();
    let gate = Gate::closed();
    let mut first = Running::start(of_rank("0", root, TestHooks::wait(Split::Train, 45, &gate)));
    first.wait_for("its batch", |_| gate.is_reached());
    first.wait_for("its save", |_| holds(&checkpoints(root).join("last"), "epoch=1-step=40"));
    let before = files(&run_dir(root));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for arguments in [&[][..], &["--ckpt-path", "auto"], &["--overwrite"]] {
        let mut command = of_rank("0", root, TestHooks::default());
        command.args(arguments);
        let second = Running::start(command).end();
        assert_eq!(second.code(), Some(1), "{second:?}");
        let holder = format!("process {} on host {}", first.id(), host.trim());
        assert!(second.stderr.contains(&holder), "{second:?} does not name {holder}");
        assert_eq!(second.stdout, "");
    }
    assert_eq!(files(&run_dir(root)), before);
    first.kill();
    assert!(run_dir(root).join("run.lock").exists());
    let mut command = of_rank("0", root, TestHooks::default());
    command.args(["--ckpt-path", "auto"]);
    let third = Running::start(command).end_well();
    assert!(third.stdout.contains(STEPS), "{third:?}");
    assert!(!run_dir(root).join("run.lock").exists());
}
