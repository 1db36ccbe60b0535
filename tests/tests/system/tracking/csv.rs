//! `metrics.csv`: the table that `burn-ckpt csv` prints, also after a kill.

use std::fs;

use burn_ckpt::plumbing::storage;
use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::programs::running::{Running, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::run_dir;

/// An epoch has 30 batches, so that this one is of the second epoch.
const BATCH: usize = 45;

#[test]
fn the_table_of_a_run_that_was_killed_beyond_its_checkpoint_is_that_of_its_log() {
    let root = tempfile::tempdir().unwrap();
    let run = run_dir(root.path());
    let arguments = "--run-id r1 --epochs 3 --save-every-steps 8 --set trackers=[\"csv\"] --ckpt-path auto";
    let gate = Gate::closed();
    let hooks = TestHooks::wait(Split::Train, BATCH, &gate);
    let mut running = Running::start(hooks.given_to(warmup(root.path(), arguments)));
    // The tracker writes once a second.
    running.wait_for("rows beyond the checkpoint", |_| {
        let table = fs::read_to_string(run.join("metrics.csv")).unwrap_or_default();
        table.lines().any(|row| row.starts_with(&format!("{},", BATCH - 3)))
    });
    running.kill();
    Running::start(warmup(root.path(), arguments)).end_well();
    let table = fs::read_to_string(run.join("metrics.csv")).unwrap();
    assert_eq!(table, stdout(&burn_ckpt(&[&"csv", &run])));
    assert!(table.contains("valid,validation") && table.lines().count() > 3 * 30, "{table}");
    assert!(storage::entry(&run.join("tracker-csv.json")).unwrap().is_some());
}
