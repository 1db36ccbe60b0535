//! What callbacks are told of checkpoints.

use std::path::PathBuf;
use std::sync::Arc;

use burn_ckpt::Catalog;
use burn_ckpt::RunLayout;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, CheckpointInfo};
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use parking_lot::Mutex;
use system_tests::models::small::{Model, Script, config, train_by};
use system_tests::run_files::{checkpoints, in_memory, run_dir, target};

#[derive(Default)]
struct Told {
    saved: Vec<CheckpointInfo>,
    best: Vec<(String, CheckpointInfo)>,
    deleted: Vec<CheckpointInfo>,
}

struct Listener(Arc<Mutex<Told>>);

impl Callback<Model> for Listener {
    fn name(&self) -> String {
        "listener".to_owned()
    }

    fn on_checkpoint_saved(
        &mut self,
        _: &mut CallbackContext<'_, Model>,
        saved: &CheckpointInfo,
    ) -> CallbackResult {
        // It may be deleted by now, as a newer one is there.
        if let Ok(metadata) = saved.metadata() {
            assert_eq!((metadata.epoch, metadata.global_step), (saved.epoch, saved.global_step));
            assert_eq!((&metadata.metrics, &metadata.checkpoint_checksum), (&saved.metrics, &saved.checksum));
            assert_eq!(metadata.checkpoint_size_bytes, saved.size_bytes);
        }
        self.0.lock().saved.push(saved.clone());
        Ok(())
    }

    fn on_best_changed(
        &mut self,
        _: &mut CallbackContext<'_, Model>,
        strategy: &str,
        best: &CheckpointInfo,
    ) -> CallbackResult {
        self.0.lock().best.push((strategy.to_owned(), best.clone()));
        Ok(())
    }

    fn on_checkpoint_deleted(
        &mut self,
        _: &mut CallbackContext<'_, Model>,
        deleted: &CheckpointInfo,
    ) -> CallbackResult {
        assert!(!deleted.path.exists());
        self.0.lock().deleted.push(deleted.clone());
        Ok(())
    }
}

fn file(info: &CheckpointInfo) -> (PathBuf, String) {
    (info.path.clone(), info.checksum.clone())
}

#[test]
fn what_is_saved_and_not_deleted_is_what_is_there() {
    let root = in_memory();
    let told = Arc::new(Mutex::new(Told::default()));
    let settings = |epochs: usize| {
        config(root.path(), epochs).with_ckpt_path("auto").with_strategies([
            StrategyConfig::Best(Best::new().with_topk(2)),
            StrategyConfig::Last(Last::new().with_topk(2).with_every_n_steps(4)),
        ])
    };
    for epochs in [3, 5] {
        let listener = Listener(Arc::clone(&told));
        train_by(settings(epochs), Script::default(), |trainer| trainer.callback(listener)).unwrap();
    }
    let told = told.lock();
    // Also of one that the first start has saved and the second has deleted, all is told.
    for deleted in &told.deleted {
        assert!(told.saved.contains(deleted), "{deleted:?}");
    }
    assert!(!told.deleted.is_empty());
    let mut left: Vec<(PathBuf, String)> =
        told.saved.iter().filter(|it| !told.deleted.contains(it)).map(file).collect();
    left.sort();
    let catalog = Catalog::scan(&RunLayout::at(run_dir(root.path()))).unwrap();
    let there = catalog.entries.into_iter().map(|entry| (entry.path, entry.metadata.checkpoint_checksum));
    let mut there: Vec<(PathBuf, String)> = there.collect();
    there.sort();
    assert_eq!(left, there);
    for (strategy, link) in [("last", "last.ckpt"), ("best:val_loss", "best_val_loss.ckpt")] {
        let (_, newest) = told.best.iter().rev().find(|(of, _)| of == strategy).unwrap();
        let leads_to = target(&checkpoints(root.path()).join(link));
        assert_eq!(newest.path.file_name(), leads_to.file_name(), "{strategy}");
        assert!(told.saved.contains(newest), "{newest:?}");
        assert!(newest.metrics.contains_key("val_loss") || strategy == "last", "{newest:?}");
    }
}
