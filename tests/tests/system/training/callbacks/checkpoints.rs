//! What callbacks are told of checkpoints.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_ckpt::Catalog;
use burn_ckpt::RunLayout;
use burn_ckpt::retention::SavedCheckpoint;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, CheckpointSaved};
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use parking_lot::Mutex;
use system_tests::models::small::{Model, Script, config, train_by};
use system_tests::run_files::{checkpoints, in_memory, run_dir, target};

#[derive(Default)]
struct Told {
    saved: Vec<PathBuf>,
    best: Vec<(String, PathBuf)>,
    deleted: Vec<PathBuf>,
}

struct Listener(Arc<Mutex<Told>>);

impl Callback<Model> for Listener {
    fn name(&self) -> String {
        "listener".to_owned()
    }

    fn on_checkpoint_saved(
        &mut self,
        _: &mut CallbackContext<'_, Model>,
        saved: &CheckpointSaved,
    ) -> CallbackResult {
        // It may be deleted by now, as a newer one is there.
        if let Ok(metadata) = saved.metadata() {
            assert_eq!((metadata.epoch, metadata.global_step), (saved.epoch, saved.global_step));
            assert_eq!(metadata.checkpoint_size_bytes, saved.size_bytes);
        }
        self.0.lock().saved.push(saved.path.clone());
        Ok(())
    }

    fn on_best_changed(
        &mut self,
        _: &mut CallbackContext<'_, Model>,
        strategy: &str,
        best: &SavedCheckpoint,
    ) -> CallbackResult {
        self.0.lock().best.push((strategy.to_owned(), best.path.clone()));
        Ok(())
    }

    fn on_checkpoint_deleted(&mut self, _: &mut CallbackContext<'_, Model>, path: &Path) -> CallbackResult {
        assert!(!path.exists());
        self.0.lock().deleted.push(path.to_path_buf());
        Ok(())
    }
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
    let mut left = told.saved.clone();
    left.retain(|path| !told.deleted.contains(path));
    left.sort();
    let catalog = Catalog::scan(&RunLayout::at(run_dir(root.path()))).unwrap();
    let mut there: Vec<PathBuf> = catalog.entries.into_iter().map(|entry| entry.path).collect();
    there.sort();
    assert_eq!(left, there);
    assert!(!told.deleted.is_empty());
    for (strategy, link) in [("last", "last.ckpt"), ("best:val_loss", "best_val_loss.ckpt")] {
        let newest = told.best.iter().rev().find(|(of, _)| of == strategy).map(|(_, path)| path);
        let leads_to = target(&checkpoints(root.path()).join(link));
        assert_eq!(newest.unwrap().file_name(), leads_to.file_name(), "{strategy}");
    }
}
