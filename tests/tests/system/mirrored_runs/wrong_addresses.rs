//! Addresses that a run cannot be sent to: another run of its id is there, they are in its own directory, or
//! they are that of a run. Each is an error before anything is written.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn_ckpt::WrongMirror;
use burn_trainer::Error;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use system_tests::object_stores::{HookedStore, give_store, unreachable};
use system_tests::programs::commands::{burn_ckpt, ended_with, stdout};
use system_tests::run_files::{files, run_dir};
use system_tests::train;

use super::{in_mirror, lose_disk, mirrored, unmirrored};

fn wrong_mirror(error: &Error) -> &WrongMirror {
    match error {
        Error::Checkpoint(burn_ckpt::Error::WrongMirror(wrong)) => wrong,
        error => panic!("{error:?}"),
    }
}

fn address_of(directory: &Path) -> String {
    format!("file://{}", directory.display())
}

#[test]
fn another_run_of_the_same_id_is_an_error_in_both_directions() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other, disk] = ["one", "other", "disk"].map(|name| directory.path().join(name));
    let address = address_of(&disk);
    train(mirrored(&one, 2, &address)).unwrap();
    train(unmirrored(&other, 1)).unwrap();
    let before = in_mirror(&address);
    for ckpt_path in ["auto", "none"] {
        let error = train(mirrored(&other, 3, &address).with_ckpt_path(ckpt_path)).unwrap_err();
        let wrong = wrong_mirror(&error);
        assert!(matches!(wrong, WrongMirror::AnotherRun { step: 20, .. }), "{wrong:?}");
    }
    let (_, said) = ended_with(&burn_ckpt(&[&"mirror", &run_dir(&other), &address]), 1);
    let start = format!("the mirror {address} has another run of the id r1 (begun ");
    for part in [&start, ", step 20): choose another run id or another address"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(in_mirror(&address), before);
    assert_eq!(train(mirrored(&one, 3, &address)).unwrap().global_step, 30);
}

#[test]
fn another_run_of_the_same_id_that_a_start_could_not_see_is_said_and_nothing_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
    let address = "memory:another-run";
    let fails_once = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&fails_once);
    let store =
        HookedStore::new(Arc::new(InMemory::new()), move |_| match state.swap(false, Ordering::SeqCst) {
            true => Err(unreachable()),
            false => Ok(()),
        });
    give_store(address, Arc::new(store) as Arc<dyn ObjectStore>);
    train(mirrored(&one, 1, address)).unwrap();
    train(unmirrored(&other, 1)).unwrap();
    let before = in_mirror(address);
    fails_once.store(true, Ordering::SeqCst);
    let mirror = train(mirrored(&other, 2, address)).unwrap().mirror.unwrap();
    assert!(mirror.sent == 0 && mirror.failed > 0 && !mirror.unsent.is_empty(), "{mirror:?}");
    assert!(mirror.last_error.unwrap().contains("has another run of the id r1"));
    assert_eq!(in_mirror(address), before);
}

#[test]
fn a_mirror_in_the_runs_own_directory_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let logs = root.join("burn_trainer_logs");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&logs, &link).unwrap();
    // Before the directory is there, and after.
    for epochs in [1, 2] {
        for place in [&logs, &run_dir(&root), &link] {
            // A link to nothing is an error of its own.
            if epochs == 1 && *place == link {
                continue;
            }
            let error = train(mirrored(&root, epochs + 1, &address_of(place))).unwrap_err();
            assert_eq!(*wrong_mirror(&error), WrongMirror::OwnDirectory);
        }
        train(unmirrored(&root, epochs)).unwrap();
    }
    let before = files(&run_dir(&root));
    let (_, said) = ended_with(&burn_ckpt(&[&"mirror", &run_dir(&root), &address_of(&link)]), 1);
    assert!(said.contains("the mirror's directory is the run's own: name another one"), "{said}");
    assert_eq!(files(&run_dir(&root)), before);
}

#[test]
fn the_address_of_a_run_in_the_place_of_the_mirrors_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let [root, disk] = ["root", "disk"].map(|name| directory.path().join(name));
    let (address, run) = (address_of(&disk), address_of(&disk.join("r1")));
    train(mirrored(&root, 1, &address)).unwrap();
    let why = format!("{run} is a run: the mirror is the address above it, {address}");
    for has_lease in [true, false] {
        let (_, said) = ended_with(&burn_ckpt(&[&"mirror", &run_dir(&root), &run]), 1);
        assert!(said.contains(&why), "{said}");
        if has_lease {
            fs::remove_file(disk.join("r1/lease.json")).unwrap();
        }
    }
    lose_disk(&root);
    let error = train(mirrored(&root, 1, &run)).unwrap_err();
    assert_eq!(wrong_mirror(&error).to_string(), why);
    assert!(!disk.join("r1/r1").exists());
}

#[test]
fn prune_of_a_directory_of_runs_in_a_mirror_names_the_runs_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let [root, disk] = ["root", "disk"].map(|name| directory.path().join(name));
    let address = address_of(&disk);
    train(unmirrored(&root, 1)).unwrap();
    stdout(&burn_ckpt(&[&"mirror", &run_dir(&root), &address]));
    let before = files(directory.path());
    let (_, said) = ended_with(&burn_ckpt(&[&"prune", &address, &"--keep", &"last=1"]), 1);
    let why = format!("{address} is not a run, but a directory of runs: name one of them: {address}/r1");
    assert!(said.contains(&why), "{said}");
    assert_eq!(files(directory.path()), before);
}

#[test]
fn a_run_whose_objects_were_renamed_as_a_whole_is_read_and_never_written() {
    let directory = tempfile::tempdir().unwrap();
    let [root, disk, copies] = ["root", "disk", "copies"].map(|name| directory.path().join(name));
    let address = address_of(&disk);
    train(mirrored(&root, 2, &address)).unwrap();
    fs::rename(disk.join("r1"), disk.join("r2")).unwrap();
    let run = format!("{address}/r2");
    let note = format!(
        "note: {run}/checkpoint has checkpoints of the run r1, whose objects were renamed or copied to r2"
    );
    for verb in ["ls", "verify"] {
        let (out, err) = ended_with(&burn_ckpt(&[&verb, &run]), 0);
        assert!(out.contains("last/epoch=1-step=20.ckpt"), "{out}");
        assert_eq!(err.lines().filter(|line| *line == note).count(), 1, "{err}");
    }
    fs::create_dir(&copies).unwrap();
    stdout(&burn_ckpt(&[&"show", &format!("{run}/best")]));
    stdout(&burn_ckpt(&[&"cp", &format!("{run}/last"), &copies]));
    stdout(&burn_ckpt(&[&"verify", &copies.join("epoch=1-step=20.ckpt")]));
    // No writer takes it for its own.
    let before = files(&disk.join("r2/checkpoint"));
    let (_, said) = ended_with(&burn_ckpt(&[&"prune", &run, &"--keep", &"last=1"]), 1);
    assert!(said.contains("only reading them is safe"), "{said}");
    for ckpt_path in ["auto", "none"] {
        let config = mirrored(&root, 3, &address).with_run_id("r2").with_ckpt_path(ckpt_path);
        let error = train(config).unwrap_err();
        let wrong = wrong_mirror(&error);
        assert!(matches!(wrong, WrongMirror::Renamed { other, .. } if other == "r1"), "{wrong:?}");
    }
    assert_eq!(files(&disk.join("r2/checkpoint")), before);
    // With its name it is the run again, below any prefix.
    let elsewhere = disk.with_file_name("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(disk.join("r2"), elsewhere.join("r1")).unwrap();
    lose_disk(&root);
    let resumed = train(mirrored(&root, 3, &address_of(&elsewhere))).unwrap();
    assert!(resumed.resumed_from.unwrap().ends_with("epoch=1-step=20.ckpt"));
}
