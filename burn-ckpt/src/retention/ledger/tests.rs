//! What a new checkpoint lets go, and what stays.

use super::*;
use crate::retention::{MetricMode, TopK};

fn ledger(k: usize) -> Ledger {
    let mut ledger = Ledger::default();
    let keep = KeepRule::Best(MetricMode::Min, TopK::Count(k));
    ledger.register("best", keep, Some(PathBuf::from("best.ckpt")), []);
    ledger
}

fn wish(keeper: &str, stem: &str, score: f64) -> Reservation {
    let directory = PathBuf::from("no-such-directory");
    Reservation { keeper: keeper.to_owned(), directory, stem: stem.to_owned(), step: 1, score }
}

fn reserve(ledger: &mut Ledger, stem: &str, score: f64) -> PathBuf {
    ledger.reserve(&[wish("best", stem, score)]).remove(0)
}

#[test]
fn a_failed_save_removes_nothing() {
    let mut ledger = ledger(1);
    let old = reserve(&mut ledger, "old", 2.0);
    ledger.confirm(&old, true);
    assert_eq!(ledger.settle().remove, Vec::<PathBuf>::new());

    let failed = reserve(&mut ledger, "new", 1.0);
    ledger.forget(&[failed]);
    let consequences = ledger.settle();
    assert_eq!(consequences.remove, Vec::<PathBuf>::new());
    assert_eq!(consequences.links, [(PathBuf::from("best.ckpt"), old)]);
}

#[test]
fn the_older_file_goes_once_the_better_one_is_durable() {
    let mut ledger = ledger(1);
    let old = reserve(&mut ledger, "old", 2.0);
    ledger.confirm(&old, true);
    let new = reserve(&mut ledger, "new", 1.0);
    assert_eq!(ledger.settle().remove, Vec::<PathBuf>::new(), "while it is being written");
    ledger.confirm(&new, true);
    let consequences = ledger.settle();
    assert_eq!(consequences.links, [(PathBuf::from("best.ckpt"), new)]);
    assert_eq!(consequences.remove, [old]);
}

#[test]
fn a_file_that_two_strategies_hold_goes_with_the_second() {
    let mut ledger = ledger(1);
    ledger.register("best too", KeepRule::Best(MetricMode::Max, TopK::Count(1)), None, []);
    let shared = ledger.reserve(&[wish("best", "a", 1.0), wish("best too", "a", 1.0)]);
    assert_eq!(shared[0], shared[1]);
    ledger.confirm(&shared[0], true);
    ledger.settle();

    let lower = ledger.reserve(&[wish("best", "b", 0.5)]);
    ledger.confirm(&lower[0], true);
    assert_eq!(ledger.settle().remove, Vec::<PathBuf>::new());
    let higher = ledger.reserve(&[wish("best too", "c", 2.0)]);
    ledger.confirm(&higher[0], true);
    assert_eq!(ledger.settle().remove, [shared[0].clone()]);
}

#[test]
fn a_name_in_use_gets_a_version() {
    let mut ledger = ledger(3);
    assert!(reserve(&mut ledger, "a", 1.0).ends_with("a.ckpt"));
    assert!(reserve(&mut ledger, "a", 2.0).ends_with("a-v1.ckpt"));
    assert!(reserve(&mut ledger, "a", 3.0).ends_with("a-v2.ckpt"));
}

#[test]
fn what_a_run_goes_on_from_stays_until_something_newer_can_be_gone_on_from() {
    let directory = std::env::temp_dir().join(format!("burn-ckpt-ledger-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let origin = directory.join("old.ckpt");
    fs::write(&origin, "").unwrap();
    let mut ledger = Ledger::default();
    let present = [("old.ckpt", 1), ("new.ckpt", 2)].map(|(name, step)| SavedCheckpoint {
        path: directory.join(name),
        step,
        score: f64::NAN,
    });
    ledger.register("last", KeepRule::Newest(TopK::Count(1)), None, present);
    ledger.goes_on_from(Some(&origin), false);
    assert_eq!(ledger.settle().remove, Vec::<PathBuf>::new());

    let weights = ledger.reserve(&[wish("last", "weights", f64::NAN)]).remove(0);
    ledger.confirm(&weights, false);
    assert_eq!(ledger.settle().remove, [directory.join("new.ckpt")]);
    let full = ledger.reserve(&[wish("last", "full", f64::NAN)]).remove(0);
    ledger.confirm(&full, true);
    let removed = ledger.settle().remove;
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(removed, [origin, weights]);
}

#[test]
fn under_rules_that_may_have_changed_nothing_goes_before_something_new_is_there() {
    let mut ledger = ledger(1);
    let [first, second] = [("a", 1.0), ("b", 2.0)].map(|(stem, score)| {
        let path = reserve(&mut ledger, stem, score);
        ledger.confirm(&path, true);
        path
    });
    ledger.goes_on_from(None, true);
    let consequences = ledger.settle();
    assert_eq!(consequences.remove, Vec::<PathBuf>::new());
    assert_eq!(consequences.links, [(PathBuf::from("best.ckpt"), first.clone())]);
    let better = reserve(&mut ledger, "c", 0.5);
    ledger.confirm(&better, true);
    assert_eq!(ledger.settle().remove, [first, second]);
}

#[test]
fn a_state_that_is_held_is_not_worth_a_second_file() {
    let mut ledger = ledger(3);
    let held = reserve(&mut ledger, "a", 1.0);
    ledger.confirm(&held, true);
    assert!(!ledger.would_keep("best", 1, 1.0));
    assert!(ledger.would_keep("best", 2, 1.0) && ledger.would_keep("best", 1, 1.5));
}
