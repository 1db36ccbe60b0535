//! The best checkpoint cannot be read for a moment, at a start or beside training: it stays the best, and the
//! link to it stays.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_trainer::FitResult;
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use system_tests::models::small::Model;
use system_tests::run_files::{checkpoints, copy_tree, in_memory, stems, target};
use system_tests::storage_faults::errors::{EACCES, EIO, ESTALE};
use system_tests::{config, train_scored};

/// A disk on which one attempt to open or to read a file fails.
struct FailsOnce {
    path: PathBuf,
    at: usize,
    seen: AtomicUsize,
    errno: i32,
}

impl FailsOnce {
    fn new(path: &Path, at: usize, errno: i32) -> Arc<Self> {
        Arc::new(Self { path: path.to_path_buf(), at, seen: AtomicUsize::new(0), errno })
    }
}

impl Observer for FailsOnce {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        let (Operation::Open(path, _) | Operation::Read(path, _)) = operation else {
            return Verdict::Proceed;
        };
        match *path == self.path && self.seen.fetch_add(1, Ordering::SeqCst) == self.at {
            true => Verdict::Fail(io::Error::from_raw_os_error(self.errno)),
            false => Verdict::Proceed,
        }
    }
}

/// The two best stay, the lower the better.
fn scored(root: &Path, epochs: usize, scores: &[f64]) -> FitResult<Model> {
    let best = Best::new().with_topk(2).with_filename("{epoch}");
    let config = config(root, epochs)
        .with_primary_metric("val_score")
        .with_strategies([StrategyConfig::Best(best), StrategyConfig::Last(Last::default())])
        .with_ckpt_path("auto");
    train_scored(config, scores).unwrap()
}

#[test]
fn one_failed_read_does_not_move_the_link_to_a_worse_checkpoint() {
    let before = in_memory();
    scored(before.path(), 3, &[1.0, 2.0, 3.0]);
    let best = |root: &Path| checkpoints(root).join("best/0.ckpt");
    let link = |root: &Path| target(&checkpoints(root).join("best_val_score.ckpt"));
    assert_eq!(link(before.path()), Path::new("best/0.ckpt"));
    let mut at = 0;
    for errno in [EIO, ESTALE, EACCES].into_iter().cycle() {
        let root = in_memory();
        copy_tree(before.path(), root.path());
        let failing = FailsOnce::new(&best(root.path()), at, errno);
        let observation = observe(root.path(), failing.clone());
        scored(root.path(), 4, &[9.0]);
        drop(observation);
        assert_eq!(link(root.path()), Path::new("best/0.ckpt"), "{errno} at {at}");
        assert!(best(root.path()).exists(), "{errno} at {at}");
        // The next start is as if nothing had been.
        scored(root.path(), 5, &[10.0]);
        assert_eq!(link(root.path()), Path::new("best/0.ckpt"), "{errno} at {at}");
        assert_eq!(stems(&checkpoints(root.path()).join("best")), ["0", "1"], "{errno} at {at}");
        if failing.seen.load(Ordering::SeqCst) <= at {
            break;
        }
        at += 1;
    }
    assert!(at > 4, "it is listed, opened for its strategy, and verified: {at}");
}
