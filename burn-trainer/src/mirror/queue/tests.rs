//! The queue alone: what is next, what is left out, and what the end waits for.

use super::state::MAX_WAITING;
use super::*;

const LONG: Duration = Duration::from_secs(60);

fn queue() -> Queue {
    let queue = Queue::new("memory:".to_owned());
    queue.begin(MirrorKeep::last(1), []);
    queue
}

fn sent(queue: &Queue) -> Vec<String> {
    let mut sent = Vec::new();
    while let Next::Send(path) = queue.next(Duration::ZERO) {
        sent.push(path.display().to_string());
        queue.done(Outcome::Sent);
    }
    sent
}

#[test]
fn the_best_is_sent_before_the_newest_and_that_before_the_others() {
    let queue = queue();
    for name in ["a", "b", "c", "d"] {
        queue.saved(name.into());
    }
    queue.leads("best:val_loss", Path::new("b"));
    queue.leads("last", Path::new("d"));
    assert_eq!(sent(&queue), ["b", "d", "c", "a"]);
    assert_eq!(queue.result().sent, 4);
}

#[test]
fn what_is_deleted_before_its_turn_is_not_sent_and_is_counted() {
    let queue = queue();
    queue.saved("a".into());
    queue.saved("b".into());
    assert!(queue.deleted(Path::new("a")));
    assert!(!queue.deleted(Path::new("elsewhere")));
    assert_eq!(sent(&queue), ["b"]);
    assert_eq!(queue.result().skipped, 1);
    queue.failed("refused".to_owned());
    queue.saved("c".into());
    assert!(!queue.deleted(Path::new("c")), "the store is dead, and not slow");
}

#[test]
fn no_more_than_the_limit_waits_and_the_best_stays() {
    let queue = queue();
    queue.saved("best".into());
    queue.leads("best:val_loss", Path::new("best"));
    for number in 0..100 {
        queue.saved(format!("{number}").into());
    }
    let sent = sent(&queue);
    assert_eq!(sent.len(), MAX_WAITING);
    assert_eq!((sent[0].as_str(), sent[1].as_str()), ("best", "99"));
    assert_eq!(queue.result().skipped, 101 - MAX_WAITING as u64);
}

#[test]
fn nothing_is_sent_before_training_begins() {
    let queue = Queue::new("memory:".to_owned());
    queue.saved("a".into());
    assert_eq!(queue.next(Duration::ZERO), Next::KeepLease);
    queue.begin(MirrorKeep::last(1), []);
    assert_eq!(queue.next(LONG), Next::Send("a".into()));
}

#[test]
fn the_end_waits_for_the_best_and_the_newest_alone() {
    let queue = queue();
    for name in ["a", "b", "c", "d"] {
        queue.saved(name.into());
    }
    queue.leads("best:val_loss", Path::new("b"));
    assert_eq!(queue.next(LONG), Next::Send("b".into()));
    queue.put_back();
    assert_eq!(queue.next(LONG), Next::Send("b".into()));
    queue.done(Outcome::Sent);
    assert_eq!(queue.next(LONG), Next::Send("d".into()));
    queue.done(Outcome::Sent);
    assert_eq!(queue.next(LONG), Next::Send("c".into()));
    assert!(queue.is_wanted());
    // The store is too slow: the wait is over at once.
    queue.end(Duration::ZERO, &|| false);
    assert!(!queue.is_wanted());
    assert_eq!(queue.next(LONG), Next::GiveUp);
    assert_eq!(queue.result().unsent, Vec::<PathBuf>::new());
}

#[test]
fn what_is_not_sent_when_a_signal_comes_is_said() {
    let queue = queue();
    queue.saved("a".into());
    assert_eq!(queue.next(LONG), Next::Send("a".into()));
    queue.end(LONG, &|| true);
    assert_eq!(queue.result().unsent, [PathBuf::from("a")]);
    assert_eq!(queue.waiting_at_end(), 1);
    queue.finish(None);
    assert_eq!(queue.waiting_at_end(), 0, "no thread sends it any more");
}

#[test]
fn a_name_that_has_a_later_state_is_sent_once_more() {
    let queue = queue();
    queue.saved("last.ckpt".into());
    assert_eq!(queue.next(LONG), Next::Send("last.ckpt".into()));
    queue.saved("last.ckpt".into());
    queue.put_back();
    assert_eq!(sent(&queue), ["last.ckpt"]);
}

fn next_fails(queue: &Queue) -> String {
    let Next::Send(path) = queue.next(Duration::ZERO) else { panic!("something waits") };
    queue.put_behind("EIO".to_owned());
    path.display().to_string()
}

#[test]
fn one_whose_files_fail_waits_behind_the_others() {
    let queue = queue();
    queue.saved("a".into());
    queue.saved("best".into());
    queue.leads("best:val_loss", Path::new("best"));
    assert_eq!(next_fails(&queue), "best");
    queue.saved("b".into());
    assert_eq!(queue.next(LONG), Next::Send("b".into()));
    // An error of the store does not count.
    queue.put_back();
    assert_eq!(sent(&queue), ["b", "a", "best"]);
    // A pause for a file does not keep a later save waiting.
    queue.saved("bad".into());
    assert_eq!(next_fails(&queue), "bad");
    queue.saved("good".into());
    queue.pause(Duration::from_hours(1), FailedSide::Files);
    assert_eq!(sent(&queue), ["good", "bad"]);
}

#[test]
fn one_that_cannot_be_sent_is_unsent_if_the_end_wants_it() {
    let queue = queue();
    for name in ["old", "again", "newest"] {
        queue.saved(name.into());
        assert_eq!(queue.next(LONG), Next::Send(name.into()));
        queue.done(Outcome::Unsendable(format!("{name} is damaged")));
    }
    // A later state of that name is another file.
    queue.saved("again".into());
    queue.saved("newest".into());
    assert_eq!(queue.next(LONG), Next::Send("newest".into()));
    queue.done(Outcome::Unsendable("damaged".to_owned()));
    assert_eq!(sent(&queue), ["again"]);
    queue.finish(None);
    queue.end(LONG, &|| false);
    assert_eq!(queue.result().unsent, [PathBuf::from("newest")]);
    assert_eq!(queue.why_unsent(Path::new("newest")), (Some("damaged".to_owned()), true));
}

#[test]
fn the_end_tries_a_file_that_fails_some_times_and_then_leaves_it_out() {
    let queue = queue();
    queue.saved("newest".into());
    queue.end(Duration::ZERO, &|| false);
    queue.state.lock().given_up = false;
    for _ in 0..TRIES_AT_END {
        assert_eq!(next_fails(&queue), "newest");
    }
    assert_eq!(queue.next(LONG), Next::End);
    queue.state.lock().give_up();
    assert_eq!(queue.result().unsent, [PathBuf::from("newest")]);
}

#[test]
fn links_that_are_not_moved_are_said() {
    for is_moved in [true, false] {
        let queue = queue();
        queue.saved("a".into());
        assert_eq!(sent(&queue), ["a"]);
        if is_moved {
            queue.links_are_moved();
        }
        queue.finish(None);
        queue.end(LONG, &|| false);
        assert_eq!(queue.result().has_stale_links, !is_moved);
    }
}

fn present(name: &str, sha256: &str) -> Present {
    Present { path: name.into(), name: name.to_owned(), sha256: sha256.to_owned() }
}

#[test]
fn what_the_mirror_had_at_the_start_is_neither_skipped_nor_unsent_nor_slow() {
    let names: Vec<String> = (0..50).map(|number| format!("{number}")).collect();
    let begin = || {
        let queue = Queue::new("memory:".to_owned());
        queue.is_in_mirror(names.iter().map(|name| (name.clone(), "same".to_owned())).collect());
        // The last one is another state of that name.
        let sha256 = |name: &String| if name == "49" { "other" } else { "same" };
        queue.begin(MirrorKeep::last(1), names.iter().map(|name| present(name, sha256(name))));
        queue
    };
    // They are looked at nevertheless: evaluations and descriptions change.
    assert_eq!(sent(&begin()).len(), 50);
    let queue = begin();
    assert!(!queue.deleted(Path::new("7")), "nothing was slow");
    assert_eq!(queue.next(LONG), Next::Send("49".into()));
    queue.done(Outcome::Sent);
    assert_eq!(queue.next(LONG), Next::Send("48".into()));
    queue.done(Outcome::IsGone);
    queue.leads("best:val_loss", Path::new("3"));
    assert_eq!(queue.waiting_at_end(), 0);
    queue.end(Duration::ZERO, &|| false);
    let result = queue.result();
    assert_eq!((result.sent, result.skipped, result.unsent.len()), (1, 0, 0));

    // The other state is all of these.
    let queue = begin();
    assert!(queue.deleted(Path::new("49")));
    queue.end(Duration::ZERO, &|| false);
    assert_eq!(queue.result().skipped, 1);
}

#[test]
fn of_two_on_disk_that_have_one_name_in_the_mirror_the_newest_is_sent() {
    let queue = Queue::new("memory:".to_owned());
    let present = [("one/a", "outside/a"), ("one/b", "outside/b"), ("two/a", "outside/a")];
    let present = present.map(|(path, name)| Present {
        path: path.into(),
        name: name.to_owned(),
        sha256: path.to_owned(),
    });
    queue.begin(MirrorKeep::last(1), present);
    assert_eq!(sent(&queue), ["two/a", "one/b"]);
    assert_eq!(queue.result().skipped, 0);
}

#[test]
fn one_whose_name_in_the_mirror_is_that_of_a_newer_one_is_unsent() {
    let present = |path: &str, sha256: &str| Present {
        path: path.into(),
        name: "outside/x".to_owned(),
        sha256: sha256.to_owned(),
    };
    let queue = Queue::new("memory:".to_owned());
    queue.leads("best:val_loss", Path::new("one/x"));
    queue.begin(MirrorKeep::all(), [present("one/x", "1"), present("same/x", "2"), present("two/x", "2")]);
    assert_eq!(sent(&queue), ["two/x"]);
    queue.end(Duration::ZERO, &|| false);
    assert_eq!(queue.result().unsent, [PathBuf::from("one/x")]);
    let (why, is_of_its_own) = queue.why_unsent(Path::new("one/x"));
    assert!(is_of_its_own && why.unwrap().contains("same/x, which is newer"));

    let queue = self::queue();
    for path in ["one/x", "two/x"] {
        queue.saved(path.into());
        assert_eq!(sent(&queue), [path]);
    }
    queue.leads("best:val_loss", Path::new("one/x"));
    assert!(queue.hides(Path::new("two/x"), Path::new("one/x")).contains("lacks one/x"));
    queue.end(Duration::ZERO, &|| false);
    assert_eq!(queue.result().unsent, [PathBuf::from("one/x")]);
}
