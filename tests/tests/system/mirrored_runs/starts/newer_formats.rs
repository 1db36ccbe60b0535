//! A mirror that a newer version of the program has written to: it is said once, the run trains, and nothing
//! is tried that cannot succeed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use burn::train::LearnerModel;
use burn_ckpt::MirrorFailure;
use burn_trainer::Error;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use system_tests::models::small::{Script, train_by};
use system_tests::object_stores::{HookedStore, give_store, rewrite_objects, unreachable};
use system_tests::train;

use super::{in_mirror, lose_disk, mirrored};

/// A store that counts what is asked of it, and is dead if it is told to be.
struct Watched {
    inner: Arc<InMemory>,
    operations: Arc<AtomicU64>,
    is_dead: Arc<AtomicBool>,
}

impl Watched {
    fn at(address: &str) -> Self {
        let watched = Self { inner: Arc::default(), operations: Arc::default(), is_dead: Arc::default() };
        let (operations, is_dead) = (Arc::clone(&watched.operations), Arc::clone(&watched.is_dead));
        let inner = Arc::clone(&watched.inner) as Arc<dyn ObjectStore>;
        let store = HookedStore::new(inner, move |_| {
            operations.fetch_add(1, Ordering::SeqCst);
            if is_dead.load(Ordering::SeqCst) { Err(unreachable()) } else { Ok(()) }
        });
        give_store(address, Arc::new(store) as Arc<dyn ObjectStore>);
        watched
    }

    fn make_newer(&self) {
        let newer = |text: String| text.replacen("\"version\": 1", "\"version\": 2", 1);
        rewrite_objects(&*self.inner, |name| name.ends_with(".commit.json"), newer);
    }

    /// Whether the next writer need not wait.
    fn is_given_back(&self) -> bool {
        let mut is_free = false;
        rewrite_objects(
            &*self.inner,
            |name| name.ends_with("lease.json"),
            |text| {
                is_free = text.contains("\"holder\":null");
                text
            },
        );
        is_free
    }
}

/// Notes what was asked of the store when training begins, and lets the store work.
struct AtStart {
    watched: Arc<Watched>,
    seen: Arc<AtomicU64>,
}

impl<M: LearnerModel> Callback<M> for AtStart {
    fn name(&self) -> String {
        "at-start".to_owned()
    }

    fn on_fit_start(&mut self, _: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.seen.store(self.watched.operations.load(Ordering::SeqCst), Ordering::SeqCst);
        self.watched.is_dead.store(false, Ordering::SeqCst);
        Ok(())
    }
}

/// Trains one epoch more with a mirror of a newer format. Returns how many operations came after the start.
fn operations_with_newer(root: &Path, address: &str, is_dead_at_start: bool) -> u64 {
    let watched = Arc::new(Watched::at(address));
    train(mirrored(root, 1, address)).unwrap();
    watched.make_newer();
    watched.is_dead.store(is_dead_at_start, Ordering::SeqCst);
    let seen = Arc::new(AtomicU64::new(0));
    let at_start = AtStart { watched: Arc::clone(&watched), seen: Arc::clone(&seen) };
    let result =
        train_by(mirrored(root, 2, address), Script::default(), |trainer| trainer.callback(at_start))
            .unwrap();
    assert_eq!(result.global_step, 20);
    assert!(result.resumed_from.unwrap().ends_with("epoch=0-step=10.ckpt"));
    let mirror = result.mirror.unwrap();
    assert!(mirror.last_error.as_ref().unwrap().contains("mirror format 2"), "{mirror:?}");
    assert!(mirror.sent == 0 && mirror.unsent.len() == 2, "{mirror:?}");
    assert!(watched.is_given_back());
    watched.operations.load(Ordering::SeqCst) - seen.load(Ordering::SeqCst)
}

#[test]
fn a_run_with_a_mirror_of_a_newer_format_resumes_from_the_disk_and_asks_the_store_for_nothing_more() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:newer-format";
    assert_eq!(operations_with_newer(root.path(), address, false), 0);
    lose_disk(root.path());
    let error = train(mirrored(root.path(), 2, address)).unwrap_err();
    let Error::MirrorUnreadable { source, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(source, burn_ckpt::Error::NewerFormat { found: 2, .. }), "{source:?}");
}

#[test]
fn a_store_that_turns_out_to_have_a_newer_format_is_asked_once() {
    let root = tempfile::tempdir().unwrap();
    // 9 to take the lease, to read what is there, and to give the lease back; before it one that fails.
    let operations = operations_with_newer(root.path(), "memory:late-newer-format", true);
    assert!(operations <= 10, "{operations}");
}

#[test]
fn a_store_without_conditional_writes_is_an_error_also_where_the_disk_has_the_run() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:no-conditions";
    let inner = Arc::new(InMemory::new());
    let store = || HookedStore::new(Arc::clone(&inner) as Arc<dyn ObjectStore>, |_| Ok(()));
    give_store(address, Arc::new(store()) as Arc<dyn ObjectStore>);
    train(mirrored(root.path(), 1, address)).unwrap();
    let before = in_mirror(address);
    give_store(address, Arc::new(store().without_conditions()) as Arc<dyn ObjectStore>);
    let error = train(mirrored(root.path(), 2, address)).unwrap_err();
    let Error::Checkpoint(burn_ckpt::Error::Mirror { failure, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(*failure, MirrorFailure::Unsupported);
    assert_eq!(in_mirror(address), before);
    give_store(address, Arc::new(store()) as Arc<dyn ObjectStore>);
    assert_eq!(train(mirrored(root.path(), 2, address)).unwrap().global_step, 20);
}
