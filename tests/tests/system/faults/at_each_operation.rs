//! Each operation of each scenario fails in each plausible way, or the process ends there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use burn_ckpt::plumbing::storage::observer::observe;
use burn_ckpt::{Checkpoint, Metadata};
use system_tests::run_files::{compare, compare_states, files, in_memory, leftovers, run_dir};
use system_tests::storage_faults::{
    FailingOperation, Fault, Place, all_faults_at, faults_at, without_random_part,
};

use super::sample::{has_each_error, is_reading, sample};
use super::scenarios::{ALL, Scenario};

/// Chooses among the errors that an operation can give.
const SEED: u64 = 20;
/// A file of a user in the run's directories, which must stay.
const FOREIGN: [&str; 3] = [
    "burn_trainer_logs/r1/checkpoint/best/notes.txt",
    "burn_trainer_logs/r1/train/images/a.png",
    "shared/.b.ckpt.fedcba9876543210-0123456789abcdef.staging",
];

/// The directory of a scenario's run, which has the same path in each run: it stands in files.
fn root_with(scenario: &Scenario, home: &Path) -> PathBuf {
    let root = home.join("run");
    if root.exists() {
        std::fs::remove_dir_all(&root).unwrap();
    }
    let prepared = home.join("prepared");
    if !prepared.exists() {
        // Once, at the same path.
        std::fs::create_dir(&root).unwrap();
        scenario.prepare(&root);
        for name in FOREIGN {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "mine").unwrap();
        }
        std::fs::rename(&root, &prepared).unwrap();
    }
    // With its links, of both kinds.
    let copied = Command::new("cp").arg("-a").args([&prepared, &root]).status().unwrap();
    assert!(copied.success());
    root
}

/// Every operation of the undisturbed run, and its directory.
fn undisturbed(scenario: &Scenario, home: &Path) -> (PathBuf, Vec<Place>) {
    let root = root_with(scenario, home);
    let noting = Arc::new(FailingOperation::noting(&root));
    let observation = observe(&root, noting.clone());
    let _ = scenario.disturbed(&root);
    drop(observation);
    scenario.complete(&root).unwrap();
    let kept = home.join("undisturbed");
    std::fs::rename(root, &kept).unwrap();
    (kept, noting.places())
}

/// What is wrong after a fault and the next start.
fn violations(scenario: &Scenario, home: &Path, expected: &Path, place: &Place, fault: Fault) -> Vec<String> {
    let root = &root_with(scenario, home);
    let disturbed = Arc::new(FailingOperation::at(root, place.clone(), fault));
    let observation = observe(root, disturbed.clone());
    let result = scenario.disturbed(root);
    drop(observation);
    let mut wrong = Vec::new();
    // Beside training, earlier checkpoints are verified as far as there is time.
    if !disturbed.has_struck() && !is_reading(place) && !is_by_the_clock(place) {
        wrong.push("the operation did not come again".to_owned());
    }
    wrong.extend(not_whole(root));
    if let (Ok(result), false) = (&result, disturbed.has_ended()) {
        for (strategy, saved) in &result.checkpoints {
            if let Err(error) = Checkpoint::open(&saved.path).and_then(|checkpoint| checkpoint.verify()) {
                wrong.push(format!("{strategy} was said to be durable: {error}"));
            }
        }
    }
    match scenario.complete(root) {
        Ok(_) => {
            let compare = if is_unread(place, fault) { compare_states } else { compare };
            // A save of weights alone that failed, and was said to have failed, is not made again by a run
            // that resumes after it.
            let was_said = matches!(&result, Ok(result) if !result.failed_saves.is_empty());
            let is_known =
                |line: &&str| was_said && scenario.saves_weights && line.starts_with("checkpoint/best");
            let differences = compare(&run_dir(expected), &run_dir(root)).err().unwrap_or_default();
            wrong.extend(differences.lines().filter(|line| !is_known(line)).map(str::to_owned));
            wrong.extend(leftovers(&run_dir(root)).into_iter().map(|name| format!("{name} is left")));
            wrong.extend(outside_differs(expected, root));
        }
        Err(error) => wrong.push(format!("the next start fails: {error}")),
    }
    wrong.extend(not_whole(root));
    for name in FOREIGN {
        if std::fs::read_to_string(root.join(name)).ok().as_deref() != Some("mine") {
            wrong.push(format!("{name} of the user was touched"));
        }
    }
    wrong
}

/// Whether the fault is that something cannot be read for a moment.
fn is_unread(place: &Place, fault: Fault) -> bool {
    matches!(fault, Fault::Error(_)) && is_reading(place)
}

/// Whether the operation comes as often as the clock says: lines of the log of metrics are written after a
/// second at the latest, in which a loaded machine does few steps.
fn is_by_the_clock(place: &Place) -> bool {
    place.operation == "write" && place.path.ends_with("/metrics.jsonl")
}

/// Files in a shared directory that should not be there, or are missing.
fn outside_differs(expected: &Path, found: &Path) -> Option<String> {
    let names = |root: &Path| files(&root.join("shared"));
    let (expected, found) = (names(expected), names(found));
    (expected != found).then(|| format!("shared has {found:?} and should have {expected:?}"))
}

/// Visible checkpoints that cannot be verified, and links to nothing.
pub fn not_whole(root: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in files(root) {
        // No reader depends on the link to the metadata.
        let is_link = name.contains(" -> ");
        let name = name.split(" -> ").next().unwrap();
        // Shards are verified with their checkpoint.
        let is_visible = name.ends_with(".ckpt")
            && !name.contains(".shards")
            && !name.rsplit('/').next().unwrap().starts_with('.');
        if is_visible
            && !is_link
            && let Err(error) = Metadata::read(root.join(format!("{name}.metadata.json")))
        {
            wrong.push(format!("the metadata of {name}: {error}"));
        }
        if is_visible && let Err(error) = Checkpoint::open(root.join(name)).and_then(|it| it.verify()) {
            wrong.push(format!("{name}: {error}"));
        }
    }
    wrong
}

/// Runs a scenario with every fault of every operation of these kinds. Returns the violations.
fn enumerate(scenario: &Scenario) -> Vec<String> {
    let start = Instant::now();
    let home = in_memory();
    let (expected, places) = undisturbed(scenario, home.path());
    let mut counts: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut faults = Vec::new();
    for place in &places {
        counts.entry(place.operation).or_default().0 += 1;
        let here = if has_each_error() { all_faults_at(place) } else { faults_at(place, SEED) };
        faults.extend(here.into_iter().map(|fault| (place, fault)));
    }
    let total = faults.len();
    let mut all = Vec::new();
    for (place, fault) in sample(faults, SEED) {
        counts.entry(place.operation).or_default().1 += 1;
        let wrong = violations(scenario, home.path(), &expected, place, fault);
        if !wrong.is_empty() {
            all.push(format!("{fault:?} at {place}:\n    {}", wrong.join("\n    ")));
        }
    }
    let done: u32 = counts.values().map(|(_, faults)| faults).sum();
    println!(
        "{} (seed {SEED}): {} operations, {done} of {total} faults, {} violations, {:.0?}",
        scenario.name,
        places.len(),
        all.len(),
        start.elapsed()
    );
    for (operation, (operations, faults)) in counts {
        println!("    {operation:<18} {operations:>4} operations {faults:>5} faults");
    }
    all
}

fn check(name: &str) {
    let scenario = ALL.iter().find(|scenario| scenario.name == name).unwrap();
    let wrong = enumerate(scenario);
    assert!(wrong.is_empty(), "{} violations in {name:?}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn at_the_first_save() {
    check("first save");
}

#[test]
fn while_best_is_replaced() {
    check("replacing best, evicting top-k");
}

#[test]
fn while_weights_are_saved() {
    check("weights only");
}

#[test]
fn while_a_failure_is_saved() {
    check("on exception");
}

#[test]
fn while_a_run_recovers_from_a_kill() {
    check("recovery");
}

#[test]
fn while_an_older_run_is_removed() {
    check("overwrite");
}

#[test]
fn in_a_directory_outside_of_the_run() {
    check("a directory outside of the run");
}

#[test]
fn while_a_state_is_saved_in_several_files() {
    check("a state in several files");
}

/// What a run with a fault comes to: its operations, and what is on disk. After its end other threads come to
/// different operations.
fn outcome(scenario: &Scenario, home: &Path, place: &Place, fault: Fault) -> (Vec<Place>, Vec<String>) {
    let root = root_with(scenario, home);
    let disturbed = Arc::new(FailingOperation::at(&root, place.clone(), fault));
    let observation = observe(&root, disturbed.clone());
    let _ = scenario.disturbed(&root);
    drop(observation);
    let mut places = if disturbed.has_ended() { vec![place.clone()] } else { disturbed.places() };
    // The order of threads differs.
    places.sort();
    let name = |name: String| match name.split_once(" -> ") {
        Some((link, target)) => format!("{} -> {target}", without_random_part(link)),
        None => without_random_part(&name),
    };
    (places, files(&root).into_iter().map(name).collect())
}

#[test]
fn the_simulation_repeats_itself() {
    let scenario = &ALL[1];
    let home = in_memory();
    let (_, places) = undisturbed(scenario, home.path());
    let (_, again) = undisturbed(scenario, in_memory().path());
    // But for those whose number depends on the time that there is.
    let sorted = |mut places: Vec<Place>| {
        places.retain(|place| !is_reading(place) && !is_by_the_clock(place));
        places.sort();
        places
    };
    assert!(sorted(places.clone()) == sorted(again));
    let place = places.iter().find(|place| place.operation == "rename").unwrap();
    for fault in faults_at(place, SEED) {
        let [first, second] = [(); 2].map(|()| outcome(scenario, home.path(), place, fault));
        assert_eq!(first.1, second.1, "{fault:?}");
        assert!(first.0 == second.0, "{fault:?}");
    }
}

/// A run in which something fails at each start, fifty times.
#[test]
fn nothing_accumulates_over_fifty_starts_with_a_fault_each() {
    let scenario = &ALL[1];
    let home = in_memory();
    let (expected, places) = undisturbed(scenario, home.path());
    let root = root_with(scenario, home.path());
    let changing: Vec<&Place> = places.iter().filter(|place| faults_at(place, SEED).len() > 1).collect();
    for round in 0..50 {
        let place = changing[round * changing.len() / 50];
        let faults = faults_at(place, round as u64);
        let disturbed = Arc::new(FailingOperation::at(&root, place.clone(), faults[round % faults.len()]));
        let observation = observe(&root, disturbed);
        // It may well fail.
        let _ = scenario.disturbed(&root);
        drop(observation);
    }
    scenario.complete(&root).unwrap();
    compare(&run_dir(&expected), &run_dir(&root)).unwrap();
    assert_eq!(leftovers(&run_dir(&root)), Vec::<String>::new());
    assert_eq!(outside_differs(&expected, &root), None);
}

#[test]
fn a_lost_damaged_or_foreign_file_is_seen_by_the_checks() {
    let scenario = &ALL[1];
    let home = in_memory();
    let (expected, _) = undisturbed(scenario, home.path());
    let root = home.path().join("damaged");
    let is_seen = |damage: &dyn Fn(&Path)| {
        let copied = Command::new("cp").arg("-a").args([&expected, &root]).status().unwrap();
        assert!(copied.success());
        damage(&root);
        let is_seen = !not_whole(&root).is_empty()
            || compare(&run_dir(&expected), &run_dir(&root)).is_err()
            || outside_differs(&expected, &root).is_some();
        std::fs::remove_dir_all(&root).unwrap();
        is_seen
    };
    let last = "burn_trainer_logs/r1/checkpoint/last/epoch=1-step=20.ckpt";
    assert!(!is_seen(&|_| ()));
    assert!(is_seen(&|root| std::fs::remove_file(root.join(last)).unwrap()));
    assert!(is_seen(&|root| std::fs::remove_file(root.join(format!("{last}.metadata.json"))).unwrap()));
    assert!(is_seen(&|root| std::fs::write(root.join(last), "short").unwrap()));
    assert!(is_seen(
        &|root| std::fs::remove_file(root.join(run_dir(root)).join("checkpoint/last.ckpt")).unwrap()
    ));
    assert!(is_seen(&|root| std::fs::write(root.join("shared/another"), "").unwrap()));
}
