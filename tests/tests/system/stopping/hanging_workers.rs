//! A data loader's worker that does not end when training does is left behind, with a line.

use std::time::{Duration, Instant};

use system_tests::programs::running::{Running, warmup};
use system_tests::programs::test_hooks::{Action, Gate, Split, TestHooks};
use system_tests::run_files::{checkpoints, metadata};

#[test]
fn a_worker_that_hangs_does_not_keep_a_program_that_has_stopped() {
    for (burns_loader, line) in [
        (false, "1 of the workers of a data loader did not end"),
        (true, "the workers of a data loader did not end"),
    ] {
        let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
        // The worker is ahead of training.
        let hooks = TestHooks {
            at_batch: Some((Split::Load, 7, Action::Wait(gate.path().to_path_buf()))),
            stop_when_reached: Some(gate.path().to_path_buf()),
            burns_loader,
            ..TestHooks::default()
        };
        let flags = "--run-id r1 --epochs 100 --set num_workers=1";
        let begun = Instant::now();
        let ended = Running::start(hooks.given_to(warmup(root.path(), flags))).end_well();
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
        assert_eq!(ended.stderr.matches(line).count(), 1, "{ended:?}");
        assert!(ended.stderr.contains("stopped before the last epoch: enough is enough"), "{ended:?}");
        let step = metadata(&checkpoints(root.path()).join("last.ckpt"))["global_step"].as_u64().unwrap();
        assert!(step < 7, "{step}");
    }
}

#[test]
fn a_worker_that_hangs_does_not_keep_a_program_beyond_the_limit_after_a_signal() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let hooks = TestHooks {
        at_batch: Some((Split::Load, 7, Action::Wait(gate.path().to_path_buf()))),
        stop_when_reached: Some(gate.path().to_path_buf()),
        stop_by_signal: true,
        burns_loader: true,
        ..TestHooks::default()
    };
    let flags = r#"--run-id r1 --epochs 100 --set num_workers=1 --set on_exception={"timeout_seconds":3.0}"#;
    let begun = Instant::now();
    let ended = Running::start(hooks.given_to(warmup(root.path(), flags))).end();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    // The loop has saved its state before it waits for the worker.
    assert_eq!(ended.code(), Some(143), "{ended:?}");
    assert!(ended.stderr.contains("after SIGTERM: the state is saved; threads that still work"), "{ended:?}");
    assert!(ended.stdout.contains("resume: "), "{ended:?}");
    let step = metadata(&checkpoints(root.path()).join("last.ckpt"))["global_step"].as_u64().unwrap();
    assert!((1..7).contains(&step), "{step}");
}
