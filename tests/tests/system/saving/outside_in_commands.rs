//! Every command sees the checkpoints of a run in a directory outside of its own, and no other run's there.

use std::path::Path;

use burn_ckpt::{Catalog, RunLayout};
use burn_trainer::TrainerConfig;
use burn_trainer::strategy::{Last, StrategyConfig};
use serde_json::Value;
use system_tests::programs::commands::{burn_ckpt, ended_with, stdout};
use system_tests::run_files::{run_dir, stems};
use system_tests::{config, train};

/// Three checkpoints outside of the run, of which one has a link.
fn outside(root: &Path, shared: &Path, id: &str) -> TrainerConfig {
    let last = Last::new().with_dirpath(shared).with_topk(3).with_filename(format!("{id}-{{epoch}}"));
    config(root, 3).with_run_id(id.to_owned()).with_strategies([StrategyConfig::Last(last)])
}

#[test]
fn commands_see_what_a_run_has_outside_and_nothing_of_another_run_there() {
    let (root, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for id in ["r1", "r2"] {
        train(outside(root.path(), shared.path(), id)).unwrap();
    }
    let run = run_dir(root.path());
    let own = ["r1-0", "r1-1", "r1-2"];
    let stems_of = |paths: Vec<&Path>| -> Vec<String> {
        paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let catalog = Catalog::scan(&RunLayout::at(&run)).unwrap();
    assert_eq!(stems_of(catalog.entries.iter().map(|entry| &*entry.path).collect()), own);

    let listed: Value = serde_json::from_str(&stdout(&burn_ckpt(&[&"ls", &run, &"--json"]))).unwrap();
    let rows = listed[0]["checkpoints"].as_array().unwrap();
    assert_eq!(stems_of(rows.iter().map(|row| Path::new(row["path"].as_str().unwrap())).collect()), own);

    let page = root.path().join("page.html");
    ended_with(&burn_ckpt(&[&"report", &run, &"-o", &page]), 0);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(own.iter().all(|stem| page.contains(&format!("{stem}.ckpt"))) && !page.contains("r2-0.ckpt"));

    let average = root.path().join("average.ckpt");
    stdout(&burn_ckpt(&[&"average", &run, &"--last", &"3", &"-o", &average]));

    // Files outside stay, whatever the rules say.
    let (_, said) = ended_with(&burn_ckpt(&[&"prune", &run, &"--keep", &"last=1"]), 0);
    assert!(said.contains("0 files removed") && said.contains("3 kept"), "{said}");
    assert_eq!(stems(shared.path()), ["r1-0", "r1-1", "r1-2", "r2-0", "r2-1", "r2-2"]);

    // In a copy without links too.
    std::fs::remove_file(run.join("checkpoint/last.ckpt")).unwrap();
    let shown: Value =
        serde_json::from_str(&stdout(&burn_ckpt(&[&"show", &run.join("last"), &"--json"]))).unwrap();
    assert!(shown.to_string().contains("r1-2.ckpt"), "{shown}");
}

#[test]
fn a_damaged_list_of_directories_is_named() {
    let (root, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(outside(root.path(), shared.path(), "r1")).unwrap();
    let run = run_dir(root.path());
    std::fs::write(run.join("directories.json"), "[]").unwrap();
    for arguments in [&["ls"][..], &["prune", "--keep=last=1"]] {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&arguments[0], &run];
        all.extend(arguments[1..].iter().map(|more| more as &dyn AsRef<std::ffi::OsStr>));
        let (_, said) = ended_with(&burn_ckpt(&all), 1);
        assert!(said.contains("directories.json") && said.contains("correct it, or remove it"), "{said}");
    }
    assert_eq!(stems(shared.path()).len(), 3);
}
