//! Stops a training program by a signal while it computes a batch.

use std::process::Command;

use super::running::{Ended, Running};
use super::test_hooks::{Gate, Split, TestHooks};

/// Starts a program, and stops it by SIGTERM in a batch: the signal is there before the batch ends.
///
/// # Panics
///
/// When it does not end as one that was stopped by this signal.
pub fn stop_at_batch(command: Command, split: Split, batch: usize) -> Ended {
    let gate = Gate::closed();
    let mut running = Running::start(TestHooks::wait(split, batch, &gate).given_to(command));
    running.wait_for("its batch", |_| gate.is_reached());
    running.send("TERM");
    running.wait_for("the signal", |said| said.contains("SIGTERM: saving"));
    gate.open();
    let ended = running.end();
    assert_eq!(ended.code(), Some(143), "{ended:?}");
    ended
}
