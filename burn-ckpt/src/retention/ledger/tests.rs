//! Which files a new checkpoint removes, and which stay.

use std::fs;

use super::*;
use crate::retention::{MetricMode, TopK};

fn ledger(k: usize) -> Ledger {
    let mut ledger = Ledger::default();
    let keep = KeepRule::Best(MetricMode::Min, TopK::Count(k));
    ledger.register("best", keep, Some(PathBuf::from("best.ckpt")), []);
    ledger
}

fn reservation(strategy: &str, stem: &str, score: f64) -> Reservation {
    let directory = PathBuf::from("no-such-directory");
    Reservation { strategy: strategy.to_owned(), directory, stem: stem.to_owned(), step: 1, score }
}

fn reserve(ledger: &mut Ledger, stem: &str, score: f64) -> PathBuf {
    ledger.reserve(&[reservation("best", stem, score)]).remove(0)
}

#[test]
fn a_failed_save_removes_nothing() {
    let mut ledger = ledger(1);
    let old = reserve(&mut ledger, "old", 2.0);
    ledger.confirm(&old, true);
    assert_eq!(ledger.apply_rules().remove, Vec::<PathBuf>::new());

    let failed = reserve(&mut ledger, "new", 1.0);
    ledger.forget(&[failed]);
    let changes = ledger.apply_rules();
    assert_eq!(changes.remove, Vec::<PathBuf>::new());
    assert_eq!(changes.links, [(PathBuf::from("best.ckpt"), old)]);
}

#[test]
fn the_worse_file_is_removed_once_the_better_one_is_durable() {
    let mut ledger = ledger(1);
    let old = reserve(&mut ledger, "old", 2.0);
    ledger.confirm(&old, true);
    let new = reserve(&mut ledger, "new", 1.0);
    assert_eq!(ledger.apply_rules().remove, Vec::<PathBuf>::new(), "while it is being written");
    ledger.confirm(&new, true);
    let changes = ledger.apply_rules();
    assert_eq!(changes.links, [(PathBuf::from("best.ckpt"), new)]);
    assert_eq!(changes.remove, [old]);
}

#[test]
fn a_file_of_two_strategies_is_removed_when_neither_keeps_it() {
    let mut ledger = ledger(1);
    ledger.register("best too", KeepRule::Best(MetricMode::Max, TopK::Count(1)), None, []);
    let shared = ledger.reserve(&[reservation("best", "a", 1.0), reservation("best too", "a", 1.0)]);
    assert_eq!(shared[0], shared[1]);
    ledger.confirm(&shared[0], true);
    ledger.apply_rules();

    let lower = ledger.reserve(&[reservation("best", "b", 0.5)]);
    ledger.confirm(&lower[0], true);
    assert_eq!(ledger.apply_rules().remove, Vec::<PathBuf>::new());
    let higher = ledger.reserve(&[reservation("best too", "c", 2.0)]);
    ledger.confirm(&higher[0], true);
    assert_eq!(ledger.apply_rules().remove, [shared[0].clone()]);
}

#[test]
fn a_name_in_use_gets_a_version() {
    let mut ledger = ledger(3);
    assert!(reserve(&mut ledger, "a", 1.0).ends_with("a.ckpt"));
    assert!(reserve(&mut ledger, "a", 2.0).ends_with("a-v1.ckpt"));
    assert!(reserve(&mut ledger, "a", 3.0).ends_with("a-v2.ckpt"));
}

#[test]
fn the_resumed_checkpoint_stays_until_a_newer_one_can_be_resumed() {
    let directory = std::env::temp_dir().join(format!("burn-ckpt-ledger-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let resumed = directory.join("old.ckpt");
    fs::write(&resumed, "").unwrap();
    let mut ledger = Ledger::default();
    let present = [("old.ckpt", 1), ("new.ckpt", 2)]
        .map(|(name, step)| SavedCheckpoint::new(directory.join(name), step, f64::NAN));
    ledger.register("last", KeepRule::Newest(TopK::Count(1)), None, present);
    ledger.resume_from(Some(&resumed), false).unwrap();
    assert_eq!(ledger.apply_rules().remove, Vec::<PathBuf>::new());

    let weights = ledger.reserve(&[reservation("last", "weights", f64::NAN)]).remove(0);
    ledger.confirm(&weights, false);
    let unwanted = [directory.join("new.ckpt")];
    for _ in 0..2 {
        assert_eq!(ledger.apply_rules().remove, unwanted, "named again until it is removed");
    }
    ledger.note_removed(&unwanted);
    let full = ledger.reserve(&[reservation("last", "full", f64::NAN)]).remove(0);
    ledger.confirm(&full, true);
    let removed = ledger.apply_rules().remove;
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(removed, [resumed, weights]);
}

#[test]
fn with_delayed_removals_no_file_is_removed_before_a_new_one_is_durable() {
    let mut ledger = ledger(1);
    let [first, second] = [("a", 1.0), ("b", 2.0)].map(|(stem, score)| {
        let path = reserve(&mut ledger, stem, score);
        ledger.confirm(&path, true);
        path
    });
    ledger.resume_from(None, true).unwrap();
    let changes = ledger.apply_rules();
    assert_eq!(changes.remove, Vec::<PathBuf>::new());
    assert_eq!(changes.links, [(PathBuf::from("best.ckpt"), first.clone())]);
    let better = reserve(&mut ledger, "c", 0.5);
    ledger.confirm(&better, true);
    assert_eq!(ledger.apply_rules().remove, [first, second]);
}

#[test]
fn a_state_that_is_kept_already_is_not_saved_again() {
    let mut ledger = ledger(3);
    let kept = reserve(&mut ledger, "a", 1.0);
    ledger.confirm(&kept, true);
    assert_eq!(ledger.would_keep("best", 1, 1.0), WouldKeep::No);
    assert_eq!(ledger.would_keep("best", 2, 1.0), WouldKeep::Yes);
    assert_eq!(ledger.would_keep("best", 1, 1.5), WouldKeep::Yes);
}

#[test]
fn a_state_that_is_being_written_keeps_a_worse_one_away_only_if_it_is_saved() {
    for is_saved in [true, false] {
        let mut ledger = ledger(1);
        let better = reserve(&mut ledger, "better", 1.0);
        assert_eq!(ledger.would_keep("best", 2, 2.0), WouldKeep::UnlessOthersAreSaved);
        let worse = reserve(&mut ledger, "worse", 2.0);
        if is_saved {
            ledger.confirm(&better, true);
        } else {
            ledger.forget(&[better]);
        }
        assert_eq!(ledger.is_still_wanted(&worse), !is_saved);
    }
}

#[test]
fn of_several_states_of_one_step_the_newest_stays_unless_all_are_kept() {
    for (topk, removed) in [(TopK::Count(3), vec!["a", "b"]), (TopK::All, vec![])] {
        let mut ledger = Ledger::default();
        ledger.register("on_exception", KeepRule::Newest(topk), None, []);
        for (stem, step) in [("a", 7), ("b", 7), ("c", 7), ("d", 8)] {
            let wanted = Reservation { step, ..reservation("on_exception", stem, f64::NAN) };
            let path = ledger.reserve(&[wanted]).remove(0);
            ledger.confirm(&path, true);
        }
        let stems = ledger.apply_rules().remove;
        let stems: Vec<_> = stems.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
        assert_eq!(stems, removed);
    }
}

fn resumed(present: &[(&str, f64)], k: usize) -> Ledger {
    let mut ledger = Ledger::default();
    let saved = present.iter().map(|(path, score)| SavedCheckpoint::new(PathBuf::from(path), 1, *score));
    let keep = KeepRule::Best(MetricMode::Min, TopK::Count(k));
    ledger.register("best", keep, Some(PathBuf::from("best.ckpt")), saved);
    for (path, _) in present {
        ledger.verify_later(Path::new(path), vec![(path.into(), "sha256:0".to_owned())]);
    }
    ledger
}

#[test]
fn a_damaged_checkpoint_of_an_earlier_start_pushes_out_no_intact_one() {
    let mut ledger = resumed(&[("damaged", 1.0), ("intact", 2.0)], 2);
    let new = reserve(&mut ledger, "new", 1.5);
    ledger.confirm(&new, true);
    let changes = ledger.apply_rules();
    assert_eq!(changes.remove, Vec::<PathBuf>::new(), "nothing is known of the others yet");
    assert_eq!(changes.links, [], "the link stays where it is");
    assert_eq!(ledger.top_ranked("best").unwrap().path, Path::new("damaged"));

    let damaged = || Error::checksum(Path::new("damaged"), "a".to_owned(), "b".to_owned());
    ledger.note_verified(Path::new("damaged"), Err(damaged()));
    ledger.note_verified(Path::new("intact"), Ok(()));
    let changes = ledger.apply_rules();
    assert_eq!(changes.remove, Vec::<PathBuf>::new());
    assert_eq!(changes.links, [(PathBuf::from("best.ckpt"), new.clone())]);
    assert_eq!(ledger.top_ranked("best").unwrap().path, new);
    assert_eq!(ledger.take_damaged().len(), 1);
    assert_eq!(ledger.unverified().count(), 0);
}

#[test]
fn a_checkpoint_that_cannot_be_read_for_a_moment_stays_the_best() {
    for kind in [std::io::ErrorKind::Other, std::io::ErrorKind::PermissionDenied] {
        let mut ledger = resumed(&[("unread", 1.0), ("intact", 2.0)], 1);
        ledger.note_verified(Path::new("unread"), Err(Error::io("read", "unread")(kind.into())));
        assert_eq!(ledger.next_unverified().unwrap().0, Path::new("intact"), "the others come first");
        ledger.note_verified(Path::new("intact"), Ok(()));
        assert_eq!(ledger.next_unverified(), None, "it is not tried again and again");
        let changes = ledger.apply_rules();
        assert_eq!((changes.links, changes.remove), (Vec::new(), Vec::new()));
        assert_eq!(ledger.top_ranked("best").unwrap().path, Path::new("unread"));

        ledger.retry_unread();
        ledger.note_verified(Path::new("unread"), Err(Error::io("read", "unread")(kind.into())));
        assert_eq!(ledger.take_unread().len(), 1, "it is said once");
        ledger.retry_unread();
        assert_eq!(ledger.next_unverified().unwrap().0, Path::new("unread"));
        ledger.note_verified(Path::new("unread"), Ok(()));
        let changes = ledger.apply_rules();
        assert_eq!(changes.links, [(PathBuf::from("best.ckpt"), PathBuf::from("unread"))]);
        assert_eq!(changes.remove, [PathBuf::from("intact")]);
        assert_eq!((ledger.take_damaged().len(), ledger.take_unread().len()), (0, 0));
    }
}

#[test]
fn a_link_that_is_held_moves_to_a_new_state_that_is_the_first() {
    let mut ledger = Ledger::default();
    let keep = KeepRule::Best(MetricMode::Min, TopK::Count(3));
    let earlier = SavedCheckpoint::new(PathBuf::from("earlier"), 1, 2.0);
    ledger.register("best", keep, Some(PathBuf::from("best.ckpt")), [earlier]);
    ledger.hold_link("best");
    assert_eq!(ledger.apply_rules().links, []);
    let worse = reserve(&mut ledger, "worse", 3.0);
    ledger.confirm(&worse, true);
    assert_eq!(ledger.apply_rules().links, []);
    let better = reserve(&mut ledger, "better", 1.0);
    ledger.confirm(&better, true);
    assert_eq!(ledger.apply_rules().links, [(PathBuf::from("best.ckpt"), better)]);
}

#[test]
fn a_state_that_only_unverified_ones_outrank_is_wanted_if_they_are_damaged() {
    let mut ledger = resumed(&[("earlier", 1.0)], 1);
    assert_eq!(ledger.would_keep("best", 2, 1.5), WouldKeep::UnlessOthersAreSaved);
    let new = reserve(&mut ledger, "new", 1.5);
    assert!(ledger.depends_on_unverified(&new));
    ledger.note_verified(Path::new("earlier"), Ok(()));
    assert!(!ledger.depends_on_unverified(&new) && !ledger.is_still_wanted(&new));
    assert_eq!(ledger.would_keep("best", 3, 1.5), WouldKeep::No);
}

fn newest(topk: usize) -> Ledger {
    let mut ledger = Ledger::default();
    let link = Some(PathBuf::from("last.ckpt"));
    ledger.register("last", KeepRule::Newest(TopK::Count(topk)), link, []);
    ledger
}

fn reserve_last(ledger: &mut Ledger, stem: &str, step: u64) -> PathBuf {
    ledger.reserve(&[Reservation { step, ..reservation("last", stem, f64::NAN) }]).remove(0)
}

#[test]
fn a_state_that_is_not_finite_pushes_out_no_finite_one() {
    let mut ledger = newest(1);
    let finite = reserve_last(&mut ledger, "a", 1);
    ledger.confirm(&finite, true);
    ledger.apply_rules();
    let broken = reserve_last(&mut ledger, "b", 2);
    ledger.confirm_non_finite(&broken);
    let changes = ledger.apply_rules();
    assert_eq!(changes.remove, [broken]);
    assert_eq!(changes.links, [(PathBuf::from("last.ckpt"), finite.clone())]);
    assert_eq!(ledger.top_ranked("last").unwrap().path, finite);
}

#[test]
fn the_newest_is_kept_where_none_is_finite_and_goes_when_one_is() {
    let mut ledger = newest(2);
    let broken = ["a", "b"].map(|stem| reserve_last(&mut ledger, stem, 1 + u64::from(stem == "b")));
    broken.iter().for_each(|path| ledger.confirm_non_finite(path));
    assert_eq!(ledger.apply_rules().links, [(PathBuf::from("last.ckpt"), broken[1].clone())]);
    let finite = reserve_last(&mut ledger, "c", 3);
    ledger.confirm(&finite, true);
    let changes = ledger.apply_rules();
    assert_eq!(changes.remove, broken);
    assert_eq!(changes.links, [(PathBuf::from("last.ckpt"), finite)]);
}

#[test]
fn a_state_that_is_not_finite_is_never_the_best() {
    let mut ledger = ledger(2);
    let broken = reserve(&mut ledger, "a", 0.5);
    ledger.confirm_non_finite(&broken);
    let changes = ledger.apply_rules();
    assert_eq!((changes.links.len(), changes.remove), (0, vec![broken]));
    assert!(ledger.top_ranked("best").is_none());
    let again = reserve(&mut ledger, "b", 0.5);
    ledger.confirm_non_finite(&again);
    // Before the rules are applied: a worse score of a finite state is kept all the same.
    assert_eq!(ledger.would_keep("best", 3, 1.0), WouldKeep::Yes);
}

#[test]
fn a_state_that_is_not_finite_ends_no_delay_of_removals() {
    let mut ledger = Ledger::default();
    let present = SavedCheckpoint::new(PathBuf::from("missing.ckpt"), 1, f64::NAN);
    ledger.register("last", KeepRule::Newest(TopK::Count(1)), None, [present]);
    ledger.resume_from(None, true).unwrap();
    let broken = reserve_last(&mut ledger, "b", 2);
    ledger.confirm_non_finite(&broken);
    assert_eq!(ledger.apply_rules().remove, Vec::<PathBuf>::new(), "removals are delayed until a finite one");
}
