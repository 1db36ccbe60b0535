//! A signal that ends a run saves the states of its callbacks with the step that it was at, and the run
//! resumes exactly.

use burn_ckpt::{Checkpoint, Section};
use system_tests::programs::running::{Running, resumes_as, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{checkpoints, in_memory, run_dir};

/// 30 batches in an epoch, on two devices, with all callbacks and early stopping.
const FLAGS: &str = "--run-id r1 --epochs 3 --topk 2 --set everything=true --set devices=2 \
                     --set early_stopping={\"metric\":\"val_loss\",\"patience\":100}";
/// The tenth step of the second epoch is of batches 19 and 20.
const BATCHES: u64 = 30 + 20;

/// A part of a checkpoint: its strings, and its tensors' bytes.
fn part(checkpoint: &Checkpoint, name: &str) -> Section {
    checkpoint.verified_section(&format!("user.{name}")).unwrap()
}

#[test]
fn the_states_of_the_step_are_saved_and_resumed() {
    let directory = in_memory();
    let whole = directory.path().join("whole");
    let said = Running::start(warmup(&whole, FLAGS)).end_well().stderr;
    let line =
        "from step 5 on, the run validates with the averaged parameters of ema: val_ metrics are theirs";
    assert_eq!(said.matches(line).count(), 1, "{said}");
    for signal in ["TERM", "USR1"] {
        let root = directory.path().join(signal);
        let gate = Gate::closed();
        let command = TestHooks::wait(Split::Train, BATCHES as usize, &gate).given_to(warmup(&root, FLAGS));
        let mut running = Running::start(command);
        running.wait_for("the batch", |_| gate.is_reached());
        running.send(signal);
        running.wait_for("the signal", |said| said.contains(&format!("SIG{signal}: saving")));
        gate.open();
        let ended = running.end();
        let saved = Checkpoint::open(checkpoints(&root).join("last.ckpt")).unwrap();
        // After 50 batches and one validation.
        let counts = part(&saved, "counting");
        assert_eq!(counts.strings["callback.value"], format!("[{BATCHES},1]"), "{ended:?}");
        // The steps of the first epoch that end with the batches 12, 16 and 24 are left out.
        let guard = part(&saved, "gradient_guard");
        assert_eq!(guard.strings["callback.value"], r#"{"skipped":3,"in_a_row":0}"#);
        let (model, ema) = (saved.section(Section::MODEL).unwrap(), part(&saved, "ema"));
        assert_eq!(ema.tensors.len(), model.tensors.len());
        let bytes = |section: &Section| {
            section.tensors.iter().map(|tensor| tensor.to_bytes().unwrap().to_vec()).collect::<Vec<_>>()
        };
        assert_ne!(bytes(&ema), bytes(&model), "an average is not the last state");
        resumes_as(&ended, &root, &run_dir(&whole));
    }
}
