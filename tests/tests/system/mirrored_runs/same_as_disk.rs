//! What stays in the mirror while a run trains: what stays on disk, or as many as it is told. Nothing that
//! the disk keeps is deleted in between.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::train::LearnerModel;
use burn_ckpt::mirror::MirroredRun;
use burn_ckpt::retention::MetricMode;
use burn_ckpt::{Catalog, RunLayout};
use burn_trainer::TrainerConfig;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, CheckpointInfo};
use burn_trainer::strategy::{Best, Last, StrategyConfig, TopK};
use object_store::memory::InMemory;
use parking_lot::Mutex;
use system_tests::models::small::{Script, train_by};
use system_tests::object_stores::{HookedStore, connect, give_store};
use system_tests::run_files::run_dir;
use system_tests::train_scored;

use super::{in_mirror, memory_store, mirrored};

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(3);

/// A store that notes which checkpoints are committed, and which are deleted.
#[derive(Clone, Default)]
struct Judge {
    committed: Arc<Mutex<BTreeSet<String>>>,
    deleted: Arc<Mutex<BTreeSet<String>>>,
}

impl Judge {
    fn at(address: &str) -> Self {
        let judge = Self::default();
        let noted = judge.clone();
        let store = HookedStore::new(Arc::new(InMemory::new()), move |operation| {
            let commit = operation.path.strip_suffix(".commit.json");
            if let Some((_, name)) = commit.and_then(|path| path.split_once("/checkpoint/")) {
                match operation.name {
                    "put" => drop(noted.committed.lock().insert(name.to_owned())),
                    "delete" => drop(noted.deleted.lock().insert(name.to_owned())),
                    _ => {}
                }
            }
            Ok(())
        });
        give_store(address, Arc::new(store));
        judge
    }

    /// Trains with a mirror that has each checkpoint before the next one is saved.
    fn train(&self, root: &Path, config: TrainerConfig) {
        let directory = run_dir(root).join("checkpoint");
        let in_turn = InTurn { judge: self.clone(), directory, saved: Vec::new() };
        let result = train_by(config, Script::default(), |trainer| trainer.callback(in_turn)).unwrap();
        let mirror = result.mirror.unwrap();
        assert!(mirror.failed == 0 && mirror.unsent.is_empty(), "{mirror:?}");
    }
}

/// Waits, when a checkpoint is saved, until those before it are sent, unless they were deleted on disk.
struct InTurn {
    judge: Judge,
    directory: PathBuf,
    saved: Vec<PathBuf>,
}

impl<M: LearnerModel> Callback<M> for InTurn {
    fn name(&self) -> String {
        "in-turn".to_owned()
    }

    fn on_checkpoint_saved(
        &mut self,
        _: &mut CallbackContext<'_, M>,
        checkpoint: &CheckpointInfo,
    ) -> CallbackResult {
        for path in &self.saved {
            let (name, begun) = (path.strip_prefix(&self.directory)?.display().to_string(), Instant::now());
            while path.exists() && !self.judge.committed.lock().contains(&name) {
                assert!(begun.elapsed() < PATIENCE, "{name} is not sent");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.saved.push(checkpoint.path.clone());
        Ok(())
    }
}

/// The names of the checkpoints on disk, sorted.
fn on_disk(root: &Path) -> Vec<String> {
    let layout = RunLayout::at(run_dir(root));
    let paths = Catalog::scan(&layout).unwrap().entries.into_iter().map(|entry| entry.path);
    let name = |path: PathBuf| path.strip_prefix(layout.checkpoint_dir()).unwrap().display().to_string();
    let mut names: Vec<String> = paths.map(name).collect();
    names.sort();
    names
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn the_mirror_has_the_names_that_the_disk_has_after_each_epoch() {
    let last = || Last::new().with_every_n_steps(4).with_topk(2);
    let each_step = Last::new().with_every_epoch(false).with_every_n_steps(1).with_dirpath("steps");
    let two_last = [
        StrategyConfig::Best(Best::new().with_topk(2)),
        StrategyConfig::Last(Last::new().with_topk(2)),
        StrategyConfig::Last(each_step.with_topk(3).with_save_symlink(false)),
    ];
    let one_last = [StrategyConfig::Best(Best::new().with_topk(2)), StrategyConfig::Last(last())];
    for (strategies, count) in [(one_last.to_vec(), 4), (two_last.to_vec(), 7)] {
        let root = tempfile::tempdir().unwrap();
        let address = &format!("memory:same-names-{count}");
        let judge = Judge::at(address);
        for epochs in 1..=5 {
            let mut config = mirrored(root.path(), epochs, address).with_strategies(strategies.clone());
            config.last = None;
            judge.train(root.path(), config);
            let disk = on_disk(root.path());
            assert_eq!(sorted(in_mirror(address)), disk, "after {epochs} epochs");
            // The disk may delete one later than the mirror. What it still has at the end, it keeps.
            let is_kept = |name: &&String| disk.contains(name);
            assert_eq!(judge.deleted.lock().iter().find(is_kept), None, "after {epochs} epochs");
            assert!(epochs == 1 || disk.len() == count, "{disk:?}");
        }
    }
}

#[test]
fn the_mirror_keeps_as_many_as_it_is_told() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:kept";
    let judge = Judge::at(address);
    let config = mirrored(root.path(), 5, address);
    let mut config = config.with_last(Last::new().with_every_n_steps(4).with_topk(TopK::All));
    config.mirror = config.mirror.map(|mirror| mirror.with_keep_last(2).with_keep_best(1));
    judge.train(root.path(), config);
    let best = std::fs::read_link(run_dir(root.path()).join("checkpoint/best_val_loss.ckpt")).unwrap();
    let expected =
        [best.to_str().unwrap(), "last/epoch=4-step=48.ckpt", "last/epoch=4-step=50.ckpt"].map(str::to_owned);
    assert_eq!(sorted(in_mirror(address)), expected);
    assert!(on_disk(root.path()).len() > 10);
}

#[test]
fn of_two_directories_outside_the_mirror_lacks_what_has_the_name_of_a_newer_state_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let [root, best, last] = ["root", "best", "last"].map(|name| directory.path().join(name));
    let address = "memory:one-name-outside";
    let _store = memory_store(address);
    let within = Last::new().with_every_epoch(false).with_every_n_steps(1000).with_dirpath(last);
    let first = Best::new().with_mode(MetricMode::Min).with_dirpath(&best);
    let mut config = mirrored(&root, 2, address).with_primary_metric("val_score").with_strategies([
        StrategyConfig::Best(first.with_filename("model")),
        StrategyConfig::Last(within.with_filename("model")),
    ]);
    config.last = None;
    // The next start has both on disk, and sends the newer one.
    for _ in 0..2 {
        let mirror = train_scored(config.clone(), &[1.0, 2.0]).unwrap().mirror.unwrap();
        assert_eq!(mirror.unsent, [best.join("model.ckpt")], "{mirror:?}");
        let run = MirroredRun::open(&connect(&address.parse().unwrap()).unwrap(), "r1").unwrap();
        assert_eq!(run.find("last").unwrap().global_step, 20);
        assert_eq!(run.link_target("best_val_score.ckpt").unwrap(), None);
    }
}
