//! Which of a scenario's faults are tried.

use std::collections::{BTreeMap, HashSet};

use system_tests::random::SplitMix64;
use system_tests::storage_faults::{Fault, Place};

/// How many faults an ordinary run of the tests has of a scenario, about: of operations that change
/// something, and of those that read.
const SAMPLE: (usize, usize) = (36, 12);

/// What the environment asks for: `all`, or a number.
fn asked_for() -> Option<String> {
    std::env::var("STORAGE_FAULTS").ok()
}

/// Whether the environment asks for all of them.
pub fn has_all() -> bool {
    asked_for().is_some_and(|which| which == "all")
}

/// Whether the environment asks for faults with every error that an operation can give.
pub fn has_each_error() -> bool {
    asked_for().is_some()
}

/// Whether an operation changes nothing.
pub fn is_reading(place: &Place) -> bool {
    ["stat", "list", "resolve", "open", "read"].contains(&place.operation)
}

/// With `STORAGE_FAULTS=all` all of them, which takes many minutes a scenario. With a number that many, which
/// are spread over the whole run, by the seed. Otherwise [`each_kind`].
pub fn sample(faults: Vec<(&Place, Fault)>, seed: u64) -> Vec<(&Place, Fault)> {
    match asked_for().as_deref() {
        Some("all") => faults,
        Some(number) => {
            let size = number.parse().unwrap_or_else(|error| panic!("STORAGE_FAULTS={number}: {error}"));
            spread(faults, size, seed)
        }
        None => each_kind(faults),
    }
}

fn spread(mut faults: Vec<(&Place, Fault)>, size: usize, seed: u64) -> Vec<(&Place, Fault)> {
    let count = faults.len();
    if count <= size {
        return faults;
    }
    let mut random = SplitMix64::new(seed);
    let chosen: HashSet<usize> = (0..size)
        .map(|part| {
            let (from, to) = (part * count / size, (part + 1) * count / size);
            from + (random.below((to - from) as u64)) as usize
        })
        .collect();
    let mut number = 0;
    faults.retain(|_| {
        number += 1;
        chosen.contains(&(number - 1))
    });
    faults
}

/// About [`SAMPLE`] of them: of each kind of fault at each kind of operation one at least, and every n-th
/// over the whole run. Each kind begins at another of its first n, so that they meet different operations.
fn each_kind(faults: Vec<(&Place, Fault)>) -> Vec<(&Place, Fault)> {
    let of_reading = faults.iter().filter(|(place, _)| is_reading(place)).count();
    let every_nth = |count: usize, sample: usize| count.div_ceil(sample).max(1);
    let changing = every_nth(faults.len() - of_reading, SAMPLE.0);
    let reading = every_nth(of_reading, SAMPLE.1);
    let mut kinds: BTreeMap<(&str, String), Vec<(&Place, Fault)>> = BTreeMap::new();
    for (place, fault) in faults {
        let kind = format!("{fault:?}");
        // Whatever its error is.
        let kind = kind.split('(').next().unwrap_or_default().to_owned();
        kinds.entry((place.operation, kind)).or_default().push((place, fault));
    }
    let sampled = kinds.into_values().enumerate().flat_map(|(number, kind)| {
        let nth = if is_reading(kind[0].0) { reading } else { changing };
        let first = number * 5 % nth.min(kind.len());
        kind.into_iter().skip(first).step_by(nth)
    });
    sampled.collect()
}

#[test]
fn a_sample_has_each_kind_of_fault_at_each_kind_of_operation_from_the_first_to_the_last() {
    let place = |operation, number| Place { operation, path: "last/a.ckpt".to_owned(), number };
    let places: Vec<Place> = (0..100)
        .flat_map(|number| ["stat", "write", "sync", "rename"].map(|operation| place(operation, number)))
        .chain([place("lock", 0)])
        .collect();
    let faults: Vec<(&Place, Fault)> = places
        .iter()
        .flat_map(|place| {
            system_tests::storage_faults::faults_at(place, 1).into_iter().map(move |fault| (place, fault))
        })
        .collect();
    let sampled = each_kind(faults);
    assert!((40..70).contains(&sampled.len()), "{}", sampled.len());
    let of = |operation: &str, is_kind: fn(&Fault) -> bool| -> Vec<u32> {
        let of = sampled.iter().filter(|(place, fault)| place.operation == operation && is_kind(fault));
        of.map(|(place, _)| place.number).collect()
    };
    let errors = ["stat", "write", "sync", "rename"]
        .map(|operation| of(operation, |it| matches!(it, Fault::Error(_))));
    for numbers in &errors {
        assert!(numbers.len() > 2 && numbers[0] < 34 && numbers[numbers.len() - 1] > 66, "{numbers:?}");
    }
    assert!(errors[1] != errors[2] && errors[2] != errors[3], "{errors:?}");
    assert!(
        !of("write", |it| *it == Fault::Short).is_empty()
            && !of("rename", |it| *it == Fault::EndsBefore).is_empty()
    );
    assert_eq!(of("lock", |_| true), [0]);
}
