//! Two writers to one run: the second gets an error that names the first, and takes over once the lease is
//! over.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use burn_ckpt::mirror::{MirrorKeep, MirroredRun, RunMirror, Store, Writer};
use burn_ckpt::{Error, ErrorKind, MirrorFailure};
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use object_store::memory::InMemory;
use system_tests::object_stores::{FaultRates, HookedStore, SimulatedStore, unreachable};

use super::{PART_BYTES, address, observer, run_in, save, writer};

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(3);

fn store(objects: &SimulatedStore) -> Store {
    Store::with_objects(&address(), objects.client(None, None), PART_BYTES).unwrap()
}

#[test]
fn a_second_writer_gets_an_error_that_names_the_first_until_the_lease_is_over() {
    let objects = SimulatedStore::new(1, FaultRates::default());
    let (first, second) =
        (writer(&objects, "process 1 on host a", 1), writer(&objects, "process 2 on host b", 2));
    let held = RunMirror::open(&store(&objects), "r1", &first).unwrap();
    objects.pass(SignedDuration::from_mins(4));
    let error = RunMirror::open(&store(&objects), "r1", &second).unwrap_err();
    let Error::MirrorInUse { holder, until, .. } = &error else { panic!("{error:?}") };
    assert_eq!((holder.as_str(), error.kind()), ("process 1 on host a", ErrorKind::Locked));
    assert_eq!(until.duration_since(objects.now()), SignedDuration::from_mins(1));
    // Another run is another lease.
    RunMirror::open(&store(&objects), "r2", &second).unwrap();
    objects.pass(SignedDuration::from_mins(2));
    RunMirror::open(&store(&objects), "r1", &second).unwrap();
    drop(held);
}

#[test]
fn a_lease_that_is_renewed_or_given_back_is_not_taken_over_or_waited_for() {
    let objects = SimulatedStore::new(1, FaultRates::default());
    let (first, second) = (writer(&objects, "first", 1), writer(&objects, "second", 2));
    let mut held = RunMirror::open(&store(&objects), "r1", &first).unwrap();
    for _ in 0..10 {
        objects.pass(SignedDuration::from_mins(3));
        held.keep_lease().unwrap();
        let error = RunMirror::open(&store(&objects), "r1", &second).unwrap_err();
        assert!(matches!(error, Error::MirrorInUse { .. }), "{error:?}");
    }
    held.close().unwrap();
    RunMirror::open(&store(&objects), "r1", &second).unwrap();
}

#[test]
fn a_lease_of_a_clock_that_is_ahead_is_over_once_it_was_not_renewed_for_its_time() {
    let objects = SimulatedStore::new(1, FaultRates::default());
    let clock = objects.clone();
    let ahead = Writer::new("ahead", 1, move || clock.now() + SignedDuration::from_hours(3));
    let second = writer(&objects, "second", 2);
    let mut held = RunMirror::open(&store(&objects), "r1", &ahead).unwrap();
    let left = || {
        let error = RunMirror::open(&store(&objects), "r1", &second).unwrap_err();
        let Error::MirrorInUse { until, .. } = error else { panic!("{error:?}") };
        until.duration_since(objects.now())
    };
    // Its time counts from when it was first seen, and again once it was renewed.
    assert_eq!(left(), SignedDuration::from_mins(5));
    objects.pass(SignedDuration::from_mins(4));
    assert_eq!(left(), SignedDuration::from_mins(1));
    held.keep_lease().unwrap();
    assert_eq!(left(), SignedDuration::from_mins(5));
    objects.pass(SignedDuration::from_mins(5));
    RunMirror::open(&store(&objects), "r1", &second).unwrap();
    let error = held.keep_lease().unwrap_err();
    assert!(matches!(&error, Error::MirrorInUse { holder, .. } if holder == "second"), "{error:?}");
}

#[test]
fn a_writer_that_was_overtaken_can_send_nothing_and_its_content_replaces_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (one, other) = (run_in(&root.path().join("one")), run_in(&root.path().join("other")));
    let objects = SimulatedStore::new(1, FaultRates::default());
    let mut first = RunMirror::open(&store(&objects), "r1", &writer(&objects, "first", 1)).unwrap();
    objects.pass(SignedDuration::from_mins(6));
    let mut second = RunMirror::open(&store(&objects), "r1", &writer(&objects, "second", 2)).unwrap();
    // The same name, and another content.
    let of_first = save(&one, "last/step=1.ckpt", 1, objects.now(), 1, false);
    let of_second = save(&other, "last/step=1.ckpt", 1, objects.now(), 2, false);
    second.send(&other, &of_second, &|_| Ok(())).unwrap();
    let error = first.send(&one, &of_first, &|_| Ok(())).unwrap_err();
    assert!(matches!(&error, Error::MirrorInUse { holder, .. } if holder == "second"), "{error:?}");
    let mirrored = MirroredRun::open(&observer(&objects), "r1").unwrap();
    let got = root.path().join("got.ckpt");
    mirrored.download_to(mirrored.newest().unwrap(), &got, &|_| Ok(())).unwrap();
    assert_eq!(std::fs::read(got).unwrap(), std::fs::read(of_second).unwrap());
}

#[test]
fn of_two_writers_that_take_over_at_once_one_gets_the_lease() {
    let objects = SimulatedStore::new(1, FaultRates::default());
    drop(RunMirror::open(&store(&objects), "r1", &writer(&objects, "first", 1)).unwrap());
    objects.pass(SignedDuration::from_mins(6));
    for at in 0..4 {
        let clone = objects.clone();
        let (sender, receiver) = std::sync::mpsc::channel();
        // The other one takes it over before each operation of this one.
        let hook = Box::new(move || {
            let opened = RunMirror::open(&store(&clone), "r1", &writer(&clone, "third", 100 + at));
            sender.send(opened.is_ok()).unwrap();
        });
        let client = objects.client(None, Some((at, hook)));
        let slow = Store::with_objects(&address(), client, PART_BYTES).unwrap();
        let opened = RunMirror::open(&slow, "r1", &writer(&objects, "second", 10 + at));
        let other = receiver.try_recv().unwrap_or(false);
        assert!(opened.is_ok() != other, "operation {at}: {opened:?}, the other one {other}");
        objects.pass(SignedDuration::from_mins(6));
    }
}

#[test]
fn a_deletion_of_a_writer_that_was_overtaken_fails_or_is_noticed_and_mended() {
    let root = tempfile::tempdir().unwrap();
    let run = run_in(root.path());
    let start = SimulatedStore::new(1, FaultRates::default()).now();
    let old = save(&run, "last/step=1.ckpt", 1, start, 1, false);
    let new = save(&run, "last/step=2.ckpt", 2, start + SignedDuration::from_secs(1), 2, false);
    // Which operations those of retention are.
    let history = |at: Option<u64>| {
        let objects = SimulatedStore::new(1, FaultRates::default());
        let (clone, same_run, same_path) = (objects.clone(), run.clone(), old.clone());
        let (sender, receiver) = std::sync::mpsc::channel();
        // Another writer takes over at this operation, and counts on the older checkpoint.
        let hook = Box::new(move || {
            clone.pass(SignedDuration::from_mins(6));
            let mut second = RunMirror::open(&store(&clone), "r1", &writer(&clone, "second", 2)).unwrap();
            let sent = second.send(&same_run, &same_path, &|_| Ok(())).unwrap();
            sender.send((second, sent.was_there)).unwrap();
        });
        let client = objects.client(None, at.map(|at| (at, hook as _)));
        let slow = Store::with_objects(&address(), client, PART_BYTES).unwrap();
        let mut first = RunMirror::open(&slow, "r1", &writer(&objects, "first", 1)).unwrap();
        for path in [&old, &new] {
            first.send(&run, path, &|_| Ok(())).unwrap();
        }
        let before = objects.history().len() as u64;
        let removed = first.apply_retention(&MirrorKeep::last(1));
        (objects, before, removed, receiver.try_recv().ok())
    };
    let (objects, begin, removed, _) = history(None);
    assert_eq!(removed.unwrap().checkpoints, ["last/step=1.ckpt"]);
    let end = objects.history().len() as u64;
    let mut noticed = 0;
    for at in begin..end {
        let (objects, _, removed, second) = history(Some(at));
        let (mut second, was_there) = second.unwrap();
        let is_overtaken = matches!(&removed, Err(Error::MirrorInUse { holder, .. }) if holder == "second");
        assert!(is_overtaken || removed.is_ok(), "operation {at}: {removed:?}");
        let gone = second.look_again().unwrap();
        assert!(gone.is_empty() || was_there, "operation {at}: {gone:?}");
        noticed += gone.len();
        for name in gone {
            assert!(!second.send(&run, run.checkpoint_dir().join(name), &|_| Ok(())).unwrap().was_there);
        }
        let mirrored = MirroredRun::open(&observer(&objects), "r1").unwrap();
        assert!(mirrored.broken().is_empty(), "operation {at}: {:?}", mirrored.broken());
        let got = root.path().join(format!("got-{at}.ckpt"));
        mirrored.download_to(mirrored.find("last/step=1.ckpt").unwrap(), &got, &|_| Ok(())).unwrap();
        assert_eq!(std::fs::read(&got).unwrap(), std::fs::read(&old).unwrap());
    }
    assert_eq!(noticed, 1, "only the deletion itself is not refused");
}

/// A store in memory at whose writes something happens.
fn hooked(hooked: HookedStore) -> Store {
    Store::with_objects(&address(), Arc::new(hooked), PART_BYTES).unwrap()
}

#[test]
fn a_renewal_that_fails_ends_nothing_until_the_lease_has_ended() {
    let root = tempfile::tempdir().unwrap();
    let run = run_in(root.path());
    let path = save(&run, "last/step=1.ckpt", 1, Timestamp::constant(1_800_000_000, 0), 1, false);
    let (seconds, is_dead) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let (passed, dead) = (Arc::clone(&seconds), Arc::clone(&is_dead));
    let store = HookedStore::new(Arc::new(InMemory::new()), move |operation| {
        if operation.name == "part" {
            // A third of the lease is over, and its object cannot be reached.
            passed.store(50, Ordering::SeqCst);
            dead.store(true, Ordering::SeqCst);
        }
        let is_lease = operation.path.ends_with("lease.json");
        if is_lease && dead.load(Ordering::SeqCst) { Err(unreachable()) } else { Ok(()) }
    });
    let clock = Arc::clone(&seconds);
    let now = move || Timestamp::new(1_800_000_000 + clock.load(Ordering::SeqCst), 0).unwrap();
    let writer = Writer::new("one", 1, now).with_lease_timeout(SignedDuration::from_mins(2));
    let mut mirror = RunMirror::open(&hooked(store), "r1", &writer).unwrap();
    mirror.send(&run, &path, &|_| Ok(())).unwrap();
    seconds.store(119, Ordering::SeqCst);
    mirror.keep_lease().unwrap();
    seconds.store(120, Ordering::SeqCst);
    let error = mirror.keep_lease().unwrap_err();
    assert!(matches!(error, Error::Mirror { failure: MirrorFailure::Unreachable, .. }), "{error:?}");
    is_dead.store(false, Ordering::SeqCst);
    mirror.keep_lease().unwrap();
}

#[test]
fn the_lease_is_renewed_while_the_store_takes_its_time() {
    let root = tempfile::tempdir().unwrap();
    let run = run_in(root.path());
    let path = save(&run, "last/step=1.ckpt", 1, Timestamp::constant(1_800_000_000, 0), 1, false);
    let renewals = Arc::new(AtomicI64::new(0));
    let (counted, seen) = (Arc::clone(&renewals), Arc::clone(&renewals));
    let store = HookedStore::new(Arc::new(InMemory::new()), move |operation| {
        let is_renewal = operation.name == "put" && operation.path.ends_with("lease.json");
        counted.fetch_add(i64::from(is_renewal), Ordering::SeqCst);
        Ok(())
    });
    // Parts, the whole, the metadata and the log of metrics: each waits until the lease is renewed once more.
    let store = store.with_wait(move |operation| {
        if operation.path.ends_with("lease.json") || operation.path.ends_with(".commit.json") {
            return async {}.boxed();
        }
        let (seen, before, begun) = (Arc::clone(&seen), seen.load(Ordering::SeqCst), Instant::now());
        poll_fn(move |context| {
            if seen.load(Ordering::SeqCst) > before {
                return Poll::Ready(());
            }
            assert!(begun.elapsed() < PATIENCE, "the lease is not renewed");
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .boxed()
    });
    // Each look at the clock is an hour later: each chance to renew is taken.
    let hours = AtomicI64::new(0);
    let now = move || Timestamp::new(1_800_000_000 + 3600 * hours.fetch_add(1, Ordering::SeqCst), 0).unwrap();
    let mut mirror = RunMirror::open(&hooked(store), "r1", &Writer::new("one", 1, now)).unwrap();
    mirror.send(&run, &path, &|_| Ok(())).unwrap();
    assert!(renewals.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_store_that_ignores_the_conditions_of_writes_is_an_error_and_gets_the_lease_back() {
    let objects = Arc::new(InMemory::new());
    let good = || HookedStore::new(Arc::clone(&objects) as _, |_| Ok(()));
    let writer = |token| Writer::new("one", token, || Timestamp::constant(1_800_000_000, 0));
    // Where there is no lease yet, and where there is one.
    for token in [1, 3] {
        let error = RunMirror::open(&hooked(good().without_conditions()), "r1", &writer(token)).unwrap_err();
        assert!(matches!(&error, Error::Mirror { failure: MirrorFailure::Unsupported, .. }), "{error:?}");
        // Another process need not wait.
        RunMirror::open(&hooked(good()), "r1", &writer(token + 1)).unwrap().close().unwrap();
    }
}

#[test]
fn a_store_without_conditional_replacement_is_one_error_at_the_first_use_and_no_lease_is_left() {
    type Make = fn(HookedStore) -> HookedStore;
    let ignores: Make = HookedStore::without_conditional_replacement;
    let refuses: Make = HookedStore::refusing_conditional_replacement;
    let writer = |token| Writer::new("one", token, || Timestamp::constant(1_800_000_000, 0));
    for (without, said) in
        [(ignores, "ignores the conditions of writes"), (refuses, "(the store answered 501 NotImplemented)")]
    {
        let objects = Arc::new(InMemory::new());
        let good = || HookedStore::new(Arc::clone(&objects) as _, |_| Ok(()));
        // A run's first writer does not replace anything yet. The second finds no lease that is held.
        for token in [1, 2] {
            let error = RunMirror::open(&hooked(without(good())), "r1", &writer(token)).unwrap_err();
            let Error::Mirror { failure, reason, .. } = &error else { panic!("{error:?}") };
            assert_eq!(*failure, MirrorFailure::Unsupported, "{reason}");
            assert!(
                reason.contains(said) && reason.contains("take a newer version of its server"),
                "{reason}"
            );
            assert!(!reason.contains("not given back") && !reason.contains('\n'), "{reason}");
        }
        // One that another version of the server, or of the program, has left.
        RunMirror::open(&hooked(good()), "r1", &writer(3)).unwrap().close().unwrap();
        let error = RunMirror::open(&hooked(without(good())), "r1", &writer(4)).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        RunMirror::open(&hooked(good()), "r1", &writer(5)).unwrap().close().unwrap();
    }
}

#[test]
fn a_writer_that_cannot_look_at_the_run_gives_the_lease_back_and_says_what_failed_first() {
    let root = tempfile::tempdir().unwrap();
    let run = run_in(root.path());
    let path = save(&run, "last/step=1.ckpt", 1, Timestamp::constant(1_800_000_000, 0), 1, false);
    let objects = Arc::new(InMemory::new());
    let writer = |token| Writer::new("one", token, || Timestamp::constant(1_800_000_000, 0));
    let good = || hooked(HookedStore::new(Arc::clone(&objects) as _, |_| Ok(())));
    let mut mirror = RunMirror::open(&good(), "r1", &writer(1)).unwrap();
    mirror.send(&run, &path, &|_| Ok(())).unwrap();
    mirror.close().unwrap();

    // The listing fails, and perhaps all that follows it.
    for is_dead_then in [false, true] {
        let has_listed = Arc::new(AtomicBool::new(false));
        let store = HookedStore::new(Arc::clone(&objects) as _, move |operation| {
            let denied = || object_store::Error::PermissionDenied {
                path: operation.path.to_owned(),
                source: "denied".into(),
            };
            match (operation.name == "list", has_listed.load(Ordering::SeqCst) && is_dead_then) {
                (true, _) => {
                    has_listed.store(true, Ordering::SeqCst);
                    Err(denied())
                }
                (false, true) => Err(unreachable()),
                (false, false) => Ok(()),
            }
        });
        let error = RunMirror::open(&hooked(store), "r1", &writer(2)).unwrap_err();
        let Error::Mirror { failure, reason, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*failure, MirrorFailure::Denied, "{reason}");
        assert_eq!(reason.contains("the lease is not given back"), is_dead_then, "{reason}");
        let opened = RunMirror::open(&good(), "r1", &writer(3));
        assert_eq!(opened.is_ok(), !is_dead_then, "{opened:?}");
        opened.map(RunMirror::close).ok();
    }
}

#[test]
fn the_lease_is_kept_while_the_commit_objects_of_a_long_run_are_read() {
    let root = tempfile::tempdir().unwrap();
    let run = run_in(root.path());
    let minutes = Arc::new(AtomicI64::new(0));
    let passing = Arc::clone(&minutes);
    let store = HookedStore::new(Arc::new(InMemory::new()), move |operation| {
        let is_commit = operation.name == "get" && operation.path.ends_with(".commit.json");
        passing.fetch_add(if is_commit { 2 } else { 0 }, Ordering::SeqCst);
        Ok(())
    });
    let store = Store::with_objects(&address(), Arc::new(store), PART_BYTES).unwrap();
    let open = |token| {
        let minutes = Arc::clone(&minutes);
        let now = move || Timestamp::new(1_800_000_000 + 60 * minutes.load(Ordering::SeqCst), 0).unwrap();
        RunMirror::open(&store, "r1", &Writer::new(format!("w{token}"), token, now))
    };
    let mut mirror = open(1).unwrap();
    for step in 1..=4_u64 {
        let time = Timestamp::new(1_800_000_000 + step.cast_signed(), 0).unwrap();
        let path = save(&run, &format!("last/step={step}.ckpt"), step, time, step, false);
        mirror.send(&run, &path, &|_| Ok(())).unwrap();
    }
    mirror.close().unwrap();
    // It takes 8 minutes, and a lease lasts 5 of them.
    let before = minutes.load(Ordering::SeqCst);
    let mirror = open(2).unwrap();
    assert_eq!(minutes.load(Ordering::SeqCst) - before, 8);
    let error = open(3).unwrap_err();
    assert!(matches!(&error, Error::MirrorInUse { holder, .. } if holder == "w2"), "{error:?}");
    mirror.close().unwrap();
}
