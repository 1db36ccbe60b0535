//! Each operation of each scenario fails in each plausible way, or the process ends there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn_ckpt::Checkpoint;
use burn_ckpt::plumbing::storage::observer::observe;
use system_tests::run_files::{compare, files, leftovers, run_dir};
use system_tests::storage_faults::{Disturbed, Fault, Place, faults_at};
use tempfile::{TempDir, tempdir};

use super::scenarios::{ALL, Scenario};

/// Chooses among the errors that an operation can give.
const SEED: u64 = 20;
/// A file of a user in the run's directories, which must stay.
const FOREIGN: [&str; 3] = [
    "burn_trainer_logs/r1/checkpoint/best/notes.txt",
    "burn_trainer_logs/r1/train/images/a.png",
    "shared/.b.ckpt.fedcba9876543210-0123456789abcdef.staging",
];

/// A directory in memory where there is one: what a disk takes for a sync is nothing to these tests.
pub fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempdir()).unwrap()
}

/// The directory of a scenario's run, which has the same path in each run: it stands in files.
fn root_with(scenario: &Scenario, home: &Path) -> PathBuf {
    let root = home.join("run");
    if root.exists() {
        std::fs::remove_dir_all(&root).unwrap();
    }
    std::fs::create_dir(&root).unwrap();
    scenario.prepare(&root);
    for name in FOREIGN {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "mine").unwrap();
    }
    root
}

/// Every operation of the undisturbed run, and its directory.
fn undisturbed(scenario: &Scenario, home: &Path) -> (PathBuf, Vec<Place>) {
    let root = root_with(scenario, home);
    let noting = Arc::new(Disturbed::noting(&root));
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
    let disturbed = Arc::new(Disturbed::at(root, place.clone(), fault));
    let observation = observe(root, disturbed.clone());
    let result = scenario.disturbed(root);
    drop(observation);
    let mut wrong = Vec::new();
    if !disturbed.has_struck() {
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
            wrong.extend(compare(&run_dir(expected), &run_dir(root)).err());
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
        let is_visible = name.ends_with(".ckpt") && !name.rsplit('/').next().unwrap().starts_with('.');
        if is_visible && !is_link && !root.join(format!("{name}.metadata.json")).exists() {
            wrong.push(format!("{name} has no metadata"));
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
    let mut all = Vec::new();
    for place in &places {
        let count = counts.entry(place.operation).or_default();
        count.0 += 1;
        for fault in faults_at(place, SEED) {
            count.1 += 1;
            let wrong = violations(scenario, home.path(), &expected, place, fault);
            if !wrong.is_empty() {
                all.push(format!("{fault:?} at {place}:\n    {}", wrong.join("\n    ")));
            }
        }
    }
    let total: u32 = counts.values().map(|(_, faults)| faults).sum();
    println!(
        "{} (seed {SEED}): {} operations, {total} faults, {} violations, {:.0?}",
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
