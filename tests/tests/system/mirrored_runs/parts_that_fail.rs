//! One thing fails all the time, and the rest works: credentials that may not delete, a damaged file, a file
//! that cannot be read. What can be sent is sent, and what is missing is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn_ckpt::mirror::{RunMirror, Writer};
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult};
use burn_trainer::config::FailedMirror;
use burn_trainer::strategy::{Last, TopK};
use jiff::Timestamp;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use system_tests::models::small::{Script, train_by};
use system_tests::object_stores::{HookedStore, StoreOperation, connect, delete_objects, give_store};
use system_tests::run_files::run_dir;
use system_tests::train;

use super::{in_mirror, memory_store, mirrored};

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(3);

fn denied(operation: StoreOperation<'_>) -> object_store::Error {
    object_store::Error::PermissionDenied { path: operation.path.to_owned(), source: "denied".into() }
}

/// A store that denies some operations.
fn store_that_denies(address: &str, is_denied: impl Fn(StoreOperation<'_>) -> bool + Send + Sync + 'static) {
    let store = HookedStore::new(Arc::new(InMemory::new()), move |operation| match is_denied(operation) {
        true => Err(denied(operation)),
        false => Ok(()),
    });
    give_store(address, Arc::new(store) as Arc<dyn ObjectStore>);
}

/// Whether another process gets the lease at once.
fn is_given_back(address: &str) -> bool {
    let store = connect(&address.parse().unwrap()).unwrap();
    RunMirror::open(&store, "r1", &Writer::new("the next", 9, Timestamp::now)).is_ok()
}

#[test]
fn credentials_that_may_not_delete_keep_no_checkpoint_and_no_lease_back() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:no-deletion";
    store_that_denies(address, |operation| operation.name == "delete");
    let mut config = mirrored(root.path(), 3, address);
    config.mirror = config
        .mirror
        .map(|mirror| mirror.with_lease_timeout_seconds(3600).with_failed_mirror(FailedMirror::FailIfLast));
    let result = train(config.clone()).unwrap();
    let mirror = result.mirror.clone().unwrap();
    assert!(mirror.unsent.is_empty() && !mirror.has_stale_links, "{mirror:?}");
    assert!(mirror.failed > 0 && mirror.last_error.unwrap().contains("denies"), "it is said");
    let there = in_mirror(address);
    assert!(there.contains(&"last/epoch=2-step=30.ckpt".to_owned()), "{there:?}");
    assert!(is_given_back(address));
    let status = burn_trainer::cli::print_result(Ok(result), &config, "program").unwrap();
    assert_eq!(format!("{status:?}"), format!("{:?}", ExitCode::SUCCESS));
}

#[test]
fn links_that_cannot_be_moved_are_said() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:no-links";
    store_that_denies(address, |operation| {
        operation.name == "put" && operation.path.ends_with("checkpoint/last.ckpt")
    });
    let mut config = mirrored(root.path(), 1, address);
    config.mirror = config
        .mirror
        .map(|mirror| mirror.with_wait_at_end_seconds(5.0).with_failed_mirror(FailedMirror::FailIfLast));
    let result = train(config.clone()).unwrap();
    let mirror = result.mirror.clone().unwrap();
    assert!(mirror.unsent.is_empty() && mirror.has_stale_links, "{mirror:?}");
    let status = burn_trainer::cli::print_result(Ok(result), &config, "program").unwrap();
    assert_eq!(format!("{status:?}"), format!("{:?}", ExitCode::FAILURE));
}

/// Holds all content back until training has ended. Then it changes files on disk before the mirror's thread
/// reads them.
struct AtEnd<F> {
    is_open: Arc<AtomicBool>,
    change: F,
}

impl<F: Fn() + Send + 'static> AtEnd<F> {
    fn new(address: &str, change: F) -> Self {
        let is_open = Arc::new(AtomicBool::new(false));
        let opened = Arc::clone(&is_open);
        let store = HookedStore::new(Arc::new(InMemory::new()), move |operation| {
            let begun = Instant::now();
            while operation.path.ends_with(".ckpt") && !opened.load(Ordering::SeqCst) {
                assert!(begun.elapsed() < PATIENCE, "training does not end");
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        give_store(address, Arc::new(store) as Arc<dyn ObjectStore>);
        Self { is_open, change }
    }
}

impl<M: burn::train::LearnerModel, F: Fn() + Send + 'static> Callback<M> for AtEnd<F> {
    fn name(&self) -> String {
        "at-end".to_owned()
    }

    fn on_fit_end(&mut self, _: &mut CallbackContext<'_, M>) -> CallbackResult {
        (self.change)();
        self.is_open.store(true, Ordering::SeqCst);
        Ok(())
    }
}

fn checkpoints_of(root: &Path, strategy: &str) -> Vec<PathBuf> {
    let directory = run_dir(root).join("checkpoint").join(strategy);
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "ckpt")).collect()
}

#[test]
fn a_damaged_checkpoint_is_not_waited_for_and_the_program_fails_for_it() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:damaged-on-disk";
    let disk = root.path().to_path_buf();
    let damages = AtEnd::new(address, move || {
        for path in ["last", "best"].iter().flat_map(|strategy| checkpoints_of(&disk, strategy)) {
            let mut bytes = fs::read(&path).unwrap();
            let place = bytes.len() / 2;
            bytes[place] = bytes[place].wrapping_add(1);
            fs::write(&path, bytes).unwrap();
        }
    });
    let mut config = mirrored(root.path(), 2, address);
    config.mirror = config.mirror.map(|mirror| mirror.with_failed_mirror(FailedMirror::FailIfLast));
    let result = train_by(config.clone(), Script::default(), |trainer| trainer.callback(damages)).unwrap();
    let mirror = result.mirror.clone().unwrap();
    assert_eq!(mirror.unsent.len(), 2, "{mirror:?}");
    assert!(mirror.unsent.iter().any(|path| path.ends_with("last/epoch=1-step=20.ckpt")), "{mirror:?}");
    assert!(in_mirror(address).iter().all(|name| !name.contains("step=20")), "{:?}", in_mirror(address));
    let status = burn_trainer::cli::print_result(Ok(result), &config, "program").unwrap();
    assert_eq!(format!("{status:?}"), format!("{:?}", ExitCode::FAILURE));
    assert!(is_given_back(address));
}

#[test]
fn a_file_that_cannot_be_read_keeps_no_other_one_from_being_sent() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:unreadable-file";
    let disk = root.path().to_path_buf();
    let best = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let unreadable = Arc::clone(&best);
    let loses = AtEnd::new(address, move || {
        *unreadable.lock() = checkpoints_of(&disk, "best");
        for path in unreadable.lock().iter() {
            // A link that leads to itself: each look at it is an error.
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(path, path).unwrap();
        }
    });
    let config = mirrored(root.path(), 2, address);
    let result = train_by(config, Script::default(), |trainer| trainer.callback(loses)).unwrap();
    let mirror = result.mirror.unwrap();
    let best = best.lock().clone();
    assert!(!best.is_empty() && mirror.unsent.iter().all(|path| best.contains(path)), "{mirror:?}");
    assert_eq!(mirror.unsent.len(), 1, "{mirror:?}");
    assert!(in_mirror(address).contains(&"last/epoch=1-step=20.ckpt".to_owned()), "{:?}", in_mirror(address));
    assert!(is_given_back(address));
}

/// At the start of training, another process deletes objects that the mirror had.
struct Lose(Arc<InMemory>);

impl<M: burn::train::LearnerModel> Callback<M> for Lose {
    fn name(&self) -> String {
        "lose".to_owned()
    }

    fn on_fit_start(&mut self, _: &mut CallbackContext<'_, M>) -> CallbackResult {
        delete_objects(&*self.0, |name| name.contains("step=10.ckpt"));
        Ok(())
    }
}

#[test]
fn what_the_mirror_has_lost_is_sent_again_also_from_a_directory_outside_of_the_run() {
    for (name, directory) in [("own", "last"), ("outside", "outside")] {
        let root = tempfile::tempdir().unwrap();
        let address = &format!("memory:lost-{name}");
        let store = memory_store(address);
        let config = |epochs| {
            let dirpath = if name == "own" { "last".into() } else { root.path().join("outside") };
            let last = Last::new().with_dirpath(dirpath).with_topk(TopK::All);
            mirrored(root.path(), epochs, address).with_last(last)
        };
        train(config(1)).unwrap();
        let lose = Lose(store);
        let result = train_by(config(2), Script::default(), |trainer| trainer.callback(lose)).unwrap();
        assert!(result.mirror.as_ref().unwrap().unsent.is_empty(), "{:?}", result.mirror);
        let there = in_mirror(address);
        assert!(there.contains(&format!("{directory}/epoch=0-step=10.ckpt")), "{there:?}");
    }
}
