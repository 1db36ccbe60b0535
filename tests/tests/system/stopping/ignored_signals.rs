//! A signal that was ignored when the process began stays ignored: SIGINT in `program &` of a script, SIGHUP
//! under `nohup`.

use std::process::Command;

use system_tests::programs::running::{Running, programs, warmup};
use system_tests::programs::stop_at_batch::stop_at_batch;
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::stems;

const FLAGS: &str = "--run-id r1 --epochs 3";

#[test]
fn each_signal_that_is_ignored_leaves_the_run_alone() {
    let directory = tempfile::tempdir().unwrap();
    for signal in ["HUP", "INT", "USR1", "USR2", "TERM"] {
        let (root, gate) = (directory.path().join(signal), Gate::closed());
        let program = warmup(&root, FLAGS);
        let mut command = Command::new("sh");
        command.args(["-c", r#"trap "" "$0"; exec "$@""#, signal]).arg(programs().join("warmup"));
        let flags = program.get_args().skip_while(|word| *word != "--root");
        command.args(flags);
        let mut running = Running::start(TestHooks::wait(Split::Train, 45, &gate).given_to(command));
        running.wait_for("the batch", |_| gate.is_reached());
        running.send(signal);
        gate.open();
        let ended = running.end_well();
        assert!(ended.stdout.contains("steps 90") && !ended.stderr.contains("SIG"), "{signal}: {ended:?}");
        assert_eq!(stems(&root.join("burn_trainer_logs/r1/checkpoint/last")), ["epoch=2-step=90"]);
    }
}

#[test]
fn the_others_still_stop_it_and_what_is_said_of_ctrl_c_is_true() {
    let root = tempfile::tempdir().unwrap();
    let program = warmup(root.path(), FLAGS);
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" INT; exec "$@""#, "sh"]).arg(programs().join("warmup"));
    command.args(program.get_args().skip_while(|word| *word != "--root"));
    let ended = stop_at_batch(command, Split::Train, 45);
    assert!(!ended.stderr.contains("ctrl-c"), "{ended:?}");
}
