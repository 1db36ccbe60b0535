//! A run that is killed at any moment leaves whole checkpoints only, and the next one tidies up and goes on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use system_tests::command::{stdout, xtask_train, xtask_train_command};
use system_tests::tree::{checkpoints, files, metadata, whole_checkpoints};

const KILLS: u64 = 6;
/// Small steps, and a save at every one of them, so that most kills hit the writer at work.
const FLAGS: [&str; 9] = [
    "--run-id",
    "r1",
    "--ckpt-path",
    "auto",
    "--save-every-steps",
    "1",
    "--topk",
    "2",
    "--set=batch_size=16",
];

#[test]
fn a_kill_at_any_moment_leaves_whole_checkpoints_and_the_next_run_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let directory = checkpoints(root.path());
    let mut steps = 0;
    for kill in 0..KILLS {
        let flags = [&FLAGS[..], &["--epochs", "1000"]].concat();
        let mut command = xtask_train_command(root.path(), &flags);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Once it has got further than the one before, it is killed at a moment that differs from kill to kill.
        let deadline = Instant::now() + Duration::from_secs(120);
        let step = || directory.join("last.ckpt").exists().then(|| metadata(&directory.join("last.ckpt")));
        while step().is_none_or(|last| last["global_step"].as_u64().unwrap() < steps + 5) {
            assert!(Instant::now() < deadline, "no progress after step {steps}");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_micros(kill * 3_700));
        // cargo and xtask have become the program, so this is its process.
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(whole_checkpoints(&directory).unwrap() > 0);
        steps = metadata(&directory.join("last.ckpt"))["global_step"].as_u64().unwrap();
    }
    // The next run starts from there, and leaves nothing of the unfinished writes.
    let finished = metadata(&directory.join("last.ckpt"))["epoch"].as_u64().unwrap() + 1;
    stdout(&xtask_train(root.path(), &[&FLAGS[..], &["--epochs", &finished.to_string()]].concat()));
    assert!(metadata(&directory.join("last.ckpt"))["global_step"].as_u64().unwrap() >= steps);
    whole_checkpoints(&directory).unwrap();
    let left = files(&directory);
    assert!(left.iter().all(|name| !name.contains(".staging")), "{left:?}");
    assert_eq!(
        left.iter().filter(|name| name.starts_with("last/") && name.ends_with(".ckpt")).count(),
        1,
        "{left:?}"
    );
    assert!(
        left.iter().filter(|name| name.starts_with("best/") && name.ends_with(".ckpt")).count() <= 2,
        "{left:?}"
    );
}
