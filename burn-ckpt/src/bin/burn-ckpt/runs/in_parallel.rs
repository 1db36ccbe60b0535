//! Reads several runs at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use burn_ckpt::plumbing::start_scoped_work;

use crate::parallel_verify::all_processors;

/// What `work` makes of each item, in the order of the items. It is called on as many threads as there are
/// processors.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return done };
            done.push((place, work(item)));
        }
    };
    let mut found: Vec<(usize, R)> = thread::scope(|scope| {
        let workers = 0..all_processors().get().min(items.len());
        let started: Vec<_> = workers.map(|_| start_scoped_work(scope, work)).collect();
        started.into_iter().flat_map(|worker| worker.join()).collect()
    });
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..1000).collect();
        assert_eq!(
            in_parallel(&items, |item| item * 2),
            items.iter().map(|item| item * 2).collect::<Vec<_>>()
        );
        assert!(in_parallel(&[], |_: &()| ()).is_empty());
    }
}
