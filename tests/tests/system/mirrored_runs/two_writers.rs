//! Two processes with one run: the second gets an error before its first step, or takes over once the first
//! is dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use burn::train::LearnerModel;
use burn_ckpt::mirror::{RunMirror, Writer};
use burn_trainer::Error;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult};
use jiff::{SignedDuration, Timestamp};
use object_store::memory::InMemory;
use system_tests::models::small::{Script, train_by};
use system_tests::object_stores::{HookedStore, connect, give_store};
use system_tests::run_files::run_dir;
use system_tests::train;

use super::{in_mirror, memory_store, mirrored};

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(3);

#[test]
fn a_second_process_gets_an_error_while_the_first_trains() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
    let address = "memory:second-process";
    let _store = memory_store(address);
    let tries = TryToTrain { root: second.clone(), address };
    let mut config = mirrored(&first, 1, address);
    // Renewed every three seconds, also on a loaded machine.
    config.mirror = config.mirror.map(|mirror| mirror.with_lease_timeout_seconds(9));
    train_by(config, Script::default(), |trainer| trainer.callback(tries)).unwrap();
    assert!(!run_dir(&second).join("checkpoint").exists(), "the second has done no step");
    // The lease is given back at the end.
    assert_eq!(train(mirrored(&second, 2, address)).unwrap().global_step, 20);
}

/// Starts the run once more, from another directory, while it trains.
struct TryToTrain {
    root: std::path::PathBuf,
    address: &'static str,
}

impl<M: LearnerModel> Callback<M> for TryToTrain {
    fn name(&self) -> String {
        "try".to_owned()
    }

    fn on_fit_start(&mut self, _: &mut CallbackContext<'_, M>) -> CallbackResult {
        let error = train(mirrored(&self.root, 2, self.address)).unwrap_err();
        let Error::Checkpoint(burn_ckpt::Error::MirrorInUse { holder, .. }) = &error else {
            panic!("{error:?}")
        };
        assert!(holder.contains(&std::process::id().to_string()), "{holder}");
        Ok(())
    }
}

#[test]
fn the_lease_of_a_dead_process_is_taken_over_after_its_time() {
    // Also of one whose clock was ahead.
    for hours_ahead in [0, 3] {
        let root = tempfile::tempdir().unwrap();
        let address = &format!("memory:dead-process-{hours_ahead}");
        let _store = memory_store(address);
        let store = connect(&address.parse().unwrap()).unwrap();
        let clock = move || Timestamp::now() + SignedDuration::from_hours(hours_ahead);
        let writer = Writer::new("a dead one", 7, clock).with_lease_timeout(SignedDuration::from_secs(1));
        // It gives no sign of life any more.
        std::mem::forget(RunMirror::open(&store, "r1", &writer).unwrap());
        let result = train(mirrored(root.path(), 1, address)).unwrap();
        assert!(result.mirror.unwrap().unsent.is_empty());
        assert_eq!(in_mirror(address).len(), 2);
    }
}

#[test]
fn a_lease_is_renewed_at_once_after_the_clock_was_set_back() {
    let address = "memory:clock-set-back";
    let (written, hours) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(2)));
    let (counted, ahead) = (Arc::clone(&written), Arc::clone(&hours));
    let store = HookedStore::new(Arc::new(InMemory::new()), move |operation| {
        let is_renewal = operation.name.starts_with("put") && operation.path.ends_with("lease.json");
        counted.fetch_add(u64::from(is_renewal), Ordering::SeqCst);
        Ok(())
    });
    give_store(address, Arc::new(store));
    let clock =
        move || Timestamp::now() + SignedDuration::from_hours(ahead.load(Ordering::SeqCst).cast_signed());
    let store = connect(&address.parse().unwrap()).unwrap();
    let mut mirror = RunMirror::open(&store, "r1", &Writer::new("one", 7, clock)).unwrap();
    let before = written.load(Ordering::SeqCst);
    mirror.keep_lease().unwrap();
    assert_eq!(written.load(Ordering::SeqCst), before, "it is new");
    hours.store(0, Ordering::SeqCst);
    for _ in 0..2 {
        mirror.keep_lease().unwrap();
        assert_eq!(written.load(Ordering::SeqCst), before + 1);
    }
    mirror.close().unwrap();
}

#[test]
fn a_run_whose_mirror_was_taken_over_trains_to_its_end_and_sends_nothing_more() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:taken-over";
    let looks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&looks);
    let store = HookedStore::new(Arc::new(InMemory::new()), move |operation| {
        let is_look = operation.name == "get" && operation.path.ends_with("lease.json");
        counted.fetch_add(u64::from(is_look), Ordering::SeqCst);
        Ok(())
    });
    give_store(address, Arc::new(store));
    let takes = TakeOver { address, looks };
    let config = mirrored(root.path(), 2, address);
    let result = train_by(config, Script::default(), |trainer| trainer.callback(takes)).unwrap();
    assert_eq!(result.global_step, 20);
    let mirror = result.mirror.unwrap();
    assert!(mirror.last_error.as_ref().unwrap().contains("another one"), "{mirror:?}");
    assert_eq!(mirror.unsent.len(), 2, "{mirror:?}");
    assert!(in_mirror(address).iter().all(|name| !name.contains("step=20")), "{:?}", in_mirror(address));
}

/// Another process takes the mirror over: its clock is an hour ahead.
struct TakeOver {
    address: &'static str,
    /// How often the lease was read.
    looks: Arc<AtomicU64>,
}

impl<M: LearnerModel> Callback<M> for TakeOver {
    fn name(&self) -> String {
        "take-over".to_owned()
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        if context.global_step() != 11 {
            return Ok(());
        }
        let store = connect(&self.address.parse()?)?;
        let ahead = || Timestamp::now() + SignedDuration::from_hours(1);
        let writer = Writer::new("another one", 8, ahead).with_lease_timeout(SignedDuration::from_hours(2));
        std::mem::forget(RunMirror::open(&store, "r1", &writer)?);
        // The run finds out when it renews the lease.
        let (seen, begun) = (self.looks.load(Ordering::SeqCst), Instant::now());
        while self.looks.load(Ordering::SeqCst) == seen {
            assert!(begun.elapsed() < PATIENCE, "the lease is not renewed");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}
