//! In a Slurm job that asks for it, the warning before the time is up saves the state and has the job started
//! again; the same command then resumes the run. Slurm is a script here that records its calls.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use system_tests::programs::running::{Ended, Running, path_with, printed_command, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{compare, complete_checkpoints, in_memory, stems, target};

const REQUEUE: &str = "--epochs 3 --set slurm_requeue=true";
const STOP: usize = 45;
const SAVED: &str = "last/epoch=1-step=45.ckpt";

/// Writes down its arguments, and what the link to the last checkpoint leads to at that time.
const SCONTROL: &str = r#"echo "$@ $(readlink "$LAST")" >> "$CALLS""#;

/// A place for runs and a Slurm beside them.
struct Cluster {
    directory: tempfile::TempDir,
}

impl Cluster {
    fn with(scontrol: Option<&str>) -> Self {
        let directory = in_memory();
        std::fs::create_dir(directory.path().join("bin")).unwrap();
        if let Some(script) = scontrol {
            let path = directory.path().join("bin/scontrol");
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { directory }
    }

    fn run_dir(&self, run_id: &str) -> PathBuf {
        self.directory.path().join("root/burn_trainer_logs").join(run_id)
    }

    /// The program in this cluster; with these variables in a job.
    fn program(&self, arguments: &str, job: &[(&str, &str)]) -> Command {
        let mut command = warmup(&self.directory.path().join("root"), arguments);
        command.env("PATH", path_with(&self.directory.path().join("bin")));
        command.env("CALLS", self.directory.path().join("calls"));
        command.env("LAST", self.run_dir("slurm-42").join("checkpoint/last.ckpt"));
        command.envs(job.iter().copied());
        command
    }

    /// What Slurm was asked.
    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Sends a signal in the middle of the second epoch.
fn warned(command: Command, signal: &str) -> Ended {
    let gate = Gate::closed();
    let mut running = Running::start(TestHooks::wait(Split::Train, STOP, &gate).given_to(command));
    running.wait_for("the batch", |_| gate.is_reached());
    running.send(signal);
    running.wait_for("the signal", |said| said.contains(&format!("SIG{signal}: saving")));
    gate.open();
    running.end()
}

const JOB: [(&str, &str); 1] = [("SLURM_JOB_ID", "42")];

#[test]
fn a_warning_saves_and_requeues_once_and_the_same_command_resumes_to_the_same_bytes() {
    let whole = Cluster::with(Some(SCONTROL));
    Running::start(whole.program(REQUEUE, &JOB)).end_well();
    assert_eq!(whole.calls(), Vec::<String>::new());
    for (signal, status) in [("USR1", 138), ("USR2", 140)] {
        let cluster = Cluster::with(Some(SCONTROL));
        let ended = warned(cluster.program(REQUEUE, &JOB), signal);
        assert_eq!(ended.code(), Some(status), "{ended:?}");
        assert!(ended.stderr.contains("the Slurm job 42 is requeued"), "{ended:?}");
        // After the save.
        assert_eq!(cluster.calls(), [format!("requeue 42 {SAVED}")]);
        let again = [&JOB[..], &[("SLURM_RESTART_COUNT", "1")]].concat();
        let ended = Running::start(cluster.program(REQUEUE, &again)).end_well();
        assert!(ended.stdout.contains("steps 90"), "{ended:?}");
        compare(&whole.run_dir("slurm-42"), &cluster.run_dir("slurm-42")).unwrap();
        assert_eq!(cluster.calls().len(), 1);
    }
}

#[test]
fn the_signal_that_follows_the_warning_does_not_cut_the_requeueing_short() {
    const SLOW: &str =
        r#"touch "$CALLS"; until [ -e "$CALLS.go" ]; do sleep 0.01; done; echo "$1 $2" >> "$CALLS""#;
    let cluster = Cluster::with(Some(SLOW));
    let calls = cluster.directory.path().join("calls");
    let gate = Gate::closed();
    let command = TestHooks::wait(Split::Train, STOP, &gate).given_to(cluster.program(REQUEUE, &JOB));
    let mut running = Running::start(command);
    running.wait_for("the batch", |_| gate.is_reached());
    running.send("USR1");
    running.wait_for("the signal", |said| said.contains("SIGUSR1: saving"));
    gate.open();
    running.wait_for("scontrol", |_| calls.exists());
    // At a time limit Slurm sends it a little later.
    running.send("TERM");
    std::fs::write(cluster.directory.path().join("calls.go"), "").unwrap();
    let ended = running.end();
    assert_eq!(ended.code(), Some(138), "{ended:?}");
    assert_eq!(cluster.calls(), ["requeue 42"]);
    assert!(ended.stdout.contains("resume: "), "{ended:?}");
}

#[test]
fn a_job_that_is_warned_twice_is_requeued_twice() {
    let cluster = Cluster::with(Some(SCONTROL));
    let job = |count| [&JOB[..], &[("SLURM_RESTART_COUNT", count)]].concat();
    for count in ["0", "1"] {
        let ended = warned(cluster.program("--epochs 4 --set slurm_requeue=true", &job(count)), "USR1");
        assert_eq!(ended.code(), Some(138), "{ended:?}");
    }
    let calls = [format!("requeue 42 {SAVED}"), "requeue 42 last/epoch=2-step=90.ckpt".to_owned()];
    assert_eq!(cluster.calls(), calls);
    let ended = Running::start(cluster.program("--epochs 4 --set slurm_requeue=true", &job("2"))).end_well();
    assert!(ended.stdout.contains("steps 120"), "{ended:?}");
}

#[test]
fn a_job_that_was_to_overwrite_resumes_when_it_is_started_again() {
    let cluster = Cluster::with(Some(SCONTROL));
    let arguments = format!("{REQUEUE} --overwrite");
    assert_eq!(warned(cluster.program(&arguments, &JOB), "USR1").code(), Some(138));
    let ended = Running::start(cluster.program(&arguments, &JOB)).end_well();
    assert!(ended.stdout.contains("steps 90") && ended.stderr.contains("since batch 15"), "{ended:?}");
}

#[test]
fn a_task_of_an_array_has_its_own_run_and_is_requeued_alone() {
    let cluster = Cluster::with(Some(SCONTROL));
    let job = [("SLURM_JOB_ID", "49"), ("SLURM_ARRAY_JOB_ID", "41"), ("SLURM_ARRAY_TASK_ID", "7")];
    let ended = warned(cluster.program(REQUEUE, &job), "USR1");
    assert_eq!(ended.code(), Some(138), "{ended:?}");
    assert_eq!(cluster.calls(), ["requeue 41_7 "]);
    assert_eq!(stems(&cluster.run_dir("slurm-41_7").join("checkpoint/last")), ["epoch=1-step=45"]);
}

#[test]
fn a_run_id_of_ones_own_is_kept_and_the_printed_command_works_outside_of_the_job_too() {
    let cluster = Cluster::with(Some(SCONTROL));
    let ended = warned(cluster.program(&format!("{REQUEUE} --run-id mine"), &JOB), "USR1");
    assert_eq!(ended.code(), Some(138), "{ended:?}");
    assert_eq!(cluster.calls(), ["requeue 42 "]);
    let ended = Running::start(printed_command(&ended.stdout)).end_well();
    assert!(ended.stdout.contains("steps 90"), "{ended:?}");
    assert!(cluster.run_dir("mine").join("checkpoint/last.ckpt").exists());
}

#[test]
fn nothing_else_requeues() {
    let own = "--run-id slurm-42 --epochs 3";
    let asked = format!("{own} --set slurm_requeue=true");
    for (arguments, job, signal, status) in [
        (own, &JOB[..], "USR1", 138),
        (asked.as_str(), &[][..], "USR1", 138),
        (asked.as_str(), &JOB[..], "TERM", 143),
        (asked.as_str(), &JOB[..], "INT", 130),
        (asked.as_str(), &JOB[..], "HUP", 129),
    ] {
        let cluster = Cluster::with(Some(SCONTROL));
        let mut command = Command::new("env");
        let program = cluster.program(arguments, job);
        command.arg("--default-signal=HUP").arg(program.get_program()).args(program.get_args());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ended = warned(command, signal);
        assert_eq!(ended.code(), Some(status), "{arguments} {signal}: {ended:?}");
        assert_eq!(cluster.calls(), Vec::<String>::new(), "{arguments} {signal}");
        assert!(!ended.stderr.contains("requeued"), "{ended:?}");
        complete_checkpoints(&cluster.run_dir("slurm-42").join("checkpoint")).unwrap();
    }
}

#[test]
fn where_slurm_does_not_requeue_there_is_a_warning_and_the_checkpoint() {
    for scontrol in [Some("echo no >&2; exit 1"), Some("kill -9 $$"), None] {
        let cluster = Cluster::with(scontrol);
        let mut command = cluster.program(REQUEUE, &JOB);
        if scontrol.is_none() {
            // Where a cluster's own would be found otherwise.
            command.env("PATH", cluster.directory.path().join("bin"));
        }
        let ended = warned(command, "USR1");
        assert_eq!(ended.code(), Some(138), "{ended:?}");
        let warning = "warning: the Slurm job 42 is not requeued: scontrol: ";
        assert!(ended.stderr.contains(warning) && !ended.stderr.contains("is requeued"), "{ended:?}");
        let directory = cluster.run_dir("slurm-42").join("checkpoint");
        assert_eq!(target(&directory.join("last.ckpt")), Path::new(SAVED));
        complete_checkpoints(&directory).unwrap();
        assert!(ended.stdout.contains("resume: "), "{ended:?}");
    }
}

#[test]
fn of_the_processes_of_a_job_only_the_first_requeues() {
    let cluster = Cluster::with(Some(SCONTROL));
    let of_rank = |rank| cluster.program(REQUEUE, &[&JOB[..], &[("SLURM_PROCID", rank)]].concat());
    for rank in ["1", "2"] {
        let ended = warned(of_rank(rank), "USR1");
        assert_eq!(ended.code(), Some(138), "rank {rank}: {ended:?}");
        let line = format!("rank {rank} leaves it to rank 0 to requeue the Slurm job 42");
        assert!(ended.stderr.contains(&line) && !ended.stderr.contains("is requeued"), "{ended:?}");
    }
    assert_eq!(cluster.calls(), Vec::<String>::new());
    let ended = warned(of_rank("0"), "USR1");
    assert_eq!(ended.code(), Some(138), "{ended:?}");
    assert_eq!(cluster.calls(), [format!("requeue 42 {SAVED}")]);
}

#[test]
fn a_left_over_rank_of_another_launcher_does_not_cost_the_requeue() {
    let cluster = Cluster::with(Some(SCONTROL));
    let ended = warned(cluster.program(REQUEUE, &[&JOB[..], &[("RANK", "1")]].concat()), "USR1");
    assert_eq!(ended.code(), Some(138), "{ended:?}");
    assert_eq!(cluster.calls(), [format!("requeue 42 {SAVED}")]);
}
