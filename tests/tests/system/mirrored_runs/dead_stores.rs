//! A store that does not answer: it is said, and training neither waits nor fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn_ckpt::MirrorFailure;
use burn_ckpt::mirror::MirroredRun;
use burn_trainer::Error;
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use system_tests::object_stores::{HookedStore, connect, give_store, unreachable};
use system_tests::run_files::{compare, run_dir};
use system_tests::train;

use super::{in_mirror, lose_disk, mirrored, unmirrored};

/// A store at an address, which is dead as long as the result is true.
fn mortal_store(address: &str, is_dead: bool) -> Arc<AtomicBool> {
    let dead = Arc::new(AtomicBool::new(is_dead));
    let state = Arc::clone(&dead);
    let store = HookedStore::new(Arc::new(InMemory::new()), move |_| match state.load(Ordering::SeqCst) {
        true => Err(unreachable()),
        false => Ok(()),
    });
    give_store(address, Arc::new(store) as Arc<dyn ObjectStore>);
    dead
}

#[test]
fn a_run_with_a_dead_store_ends_as_one_without_a_mirror_and_says_what_was_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, root] = ["whole", "root"].map(|name| directory.path().join(name));
    let address = "memory:dead";
    let _dead = mortal_store(address, true);
    train(unmirrored(&whole, 2)).unwrap();
    let mut config = mirrored(&root, 2, address).with_ckpt_path("none");
    config.mirror = config.mirror.map(|mirror| mirror.with_wait_at_end_seconds(0.0));
    let result = train(config).unwrap();
    compare(&run_dir(&whole), &run_dir(&root)).unwrap_or_else(|reason| panic!("{reason}"));
    let mirror = result.mirror.unwrap();
    assert_eq!(mirror.sent, 0);
    assert!(mirror.failed > 0 && mirror.last_error.unwrap().contains("cannot be reached"));
    let unsent: Vec<String> = mirror.unsent.iter().map(|path| path.display().to_string()).collect();
    assert!(unsent.iter().any(|path| path.ends_with("last/epoch=1-step=20.ckpt")), "{unsent:?}");
    assert!(unsent.iter().any(|path| path.contains("/best/")), "{unsent:?}");
}

#[test]
fn what_a_dead_store_has_missed_is_sent_by_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:missed";
    let dead = mortal_store(address, true);
    let mut config = mirrored(root.path(), 1, address).with_ckpt_path("none");
    config.mirror = config.mirror.map(|mirror| mirror.with_wait_at_end_seconds(0.0));
    train(config).unwrap();
    dead.store(false, Ordering::SeqCst);
    let result = train(mirrored(root.path(), 1, address)).unwrap();
    assert!(result.finished_before && result.mirror.unwrap().unsent.is_empty());
    assert_eq!(in_mirror(address), ["best/epoch=0-step=10.ckpt", "last/epoch=0-step=10.ckpt"]);
}

#[test]
fn what_a_dead_store_has_missed_of_directories_outside_is_sent_by_the_next_start_too() {
    let directory = tempfile::tempdir().unwrap();
    let [root, best, last] = ["root", "best", "last"].map(|name| directory.path().join(name));
    let address = "memory:missed-outside";
    let dead = mortal_store(address, true);
    let mut config = mirrored(&root, 1, address).with_strategies([
        StrategyConfig::Best(Best::new().with_dirpath(best).with_filename("best-{step}")),
        StrategyConfig::Last(Last::new().with_dirpath(last).with_filename("last-{step}")),
    ]);
    config.last = None;
    let mut first = config.clone().with_ckpt_path("none");
    first.mirror = first.mirror.map(|mirror| mirror.with_wait_at_end_seconds(0.0));
    let unsent = train(first).unwrap().mirror.unwrap().unsent;
    assert_eq!(unsent.len(), 2, "{unsent:?}");
    dead.store(false, Ordering::SeqCst);
    let result = train(config.clone()).unwrap();
    assert!(result.finished_before, "{:?}", result.resumed_from);
    let mirror = result.mirror.unwrap();
    assert!(mirror.unsent.is_empty() && mirror.sent == 2, "{mirror:?}");
    assert_eq!(in_mirror(address), ["outside/best-10.ckpt", "outside/last-10.ckpt"]);
    let run = MirroredRun::open(&connect(&address.parse().unwrap()).unwrap(), "r1").unwrap();
    assert_eq!(run.links(), ["best_val_loss.ckpt", "last.ckpt"]);
    for name in ["best", "last"] {
        assert_eq!(run.find(name).unwrap().name, format!("outside/{name}-10.ckpt"));
    }
    // What is there is not sent again.
    let again = train(config).unwrap().mirror.unwrap();
    assert_eq!((again.sent, again.skipped), (0, 0), "{again:?}");
}

#[test]
fn nothing_begins_from_the_start_where_the_disk_is_empty_and_the_mirror_cannot_be_read() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:unreadable";
    let dead = mortal_store(address, false);
    train(mirrored(root.path(), 1, address)).unwrap();
    dead.store(true, Ordering::SeqCst);
    // The disk has the run: only a warning.
    let mut config = mirrored(root.path(), 2, address);
    config.mirror = config.mirror.map(|mirror| mirror.with_wait_at_end_seconds(0.0));
    assert_eq!(train(config.clone()).unwrap().global_step, 20);
    lose_disk(root.path());
    for wanted in ["auto", "last", "best"] {
        let error = train(config.clone().with_ckpt_path(wanted)).unwrap_err();
        let Error::MirrorUnreadable { source, .. } = &error else { panic!("{error:?}") };
        let is_unreachable =
            matches!(source, burn_ckpt::Error::Mirror { failure: MirrorFailure::Unreachable, .. });
        assert!(is_unreachable, "{source:?}");
        assert!(!run_dir(root.path()).join("checkpoint").exists(), "nothing is left of the failed start");
    }
}
