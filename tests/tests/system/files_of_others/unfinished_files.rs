//! What killed processes left of unfinished saves in a directory that several runs share: each run removes
//! its own. And what they left beside the checkpoints, where there are files of users.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_trainer::TrainerConfig;
use burn_trainer::strategy::{Last, StrategyConfig};
use system_tests::programs::commands::{burn_ckpt, ended_with};
use system_tests::run_files::run_dir;
use system_tests::{config, train};

/// Notes the files that are created.
#[derive(Default)]
struct Created(Mutex<Vec<PathBuf>>);

impl Observer for Created {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        if let Operation::CreateFile(path, _) = operation {
            self.0.lock().unwrap().push(path.to_path_buf());
        }
        Verdict::Proceed
    }
}

fn saving_to(root: &Path, shared: &Path, epochs: usize) -> TrainerConfig {
    let last = StrategyConfig::Last(Last::new().with_dirpath(shared));
    config(root, epochs).with_strategies([last]).with_ckpt_path("auto")
}

#[test]
fn each_run_removes_its_own_from_a_shared_directory_and_ls_and_prune_name_them() {
    let (root, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = fs::canonicalize(shared.path()).unwrap();
    let created = Arc::new(Created::default());
    {
        let _observation = observe(&shared, created.clone());
        train(saving_to(root.path(), &shared, 1)).unwrap();
    }
    let is_container = |path: &PathBuf| {
        path.to_string_lossy().contains(".ckpt.") && !path.to_string_lossy().contains("json")
    };
    let own = created.0.lock().unwrap().iter().find(|path| is_container(path)).unwrap().clone();
    // `.<name>.<16 digits of the run>-<random>.staging`
    let name = own.file_name().unwrap().to_str().unwrap();
    let mark = name.rsplit('.').nth(1).unwrap().split('-').next().unwrap();
    assert_eq!(mark.len(), 16, "{name}");
    let others = shared.join(name.replace(mark, "0123456789abcdef"));
    let leave = || [&own, &others].map(|path| fs::write(path, "half a checkpoint").unwrap());

    leave();
    let (_, said) = ended_with(&burn_ckpt(&[&"ls", &run_dir(root.path())]), 0);
    assert!(said.contains("1 unfinished file") && said.contains("burn-ckpt prune"), "{said}");
    train(saving_to(root.path(), &shared, 2)).unwrap();
    assert!(!own.exists() && others.exists());

    // Without a link that leads there, as after a kill in the first save.
    leave();
    let link = run_dir(root.path()).join("checkpoint/last.ckpt");
    let leads_to = fs::read_link(&link).unwrap();
    fs::remove_file(&link).unwrap();
    let (_, said) = ended_with(&burn_ckpt(&[&"ls", &run_dir(root.path())]), 0);
    assert!(said.contains("1 unfinished file"), "{said}");
    std::os::unix::fs::symlink(leads_to, &link).unwrap();

    leave();
    let prune = |arguments: &[&str]| {
        let run = run_dir(root.path());
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"prune", &run, &"--keep", &"links"];
        all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
        ended_with(&burn_ckpt(&all), 0).0
    };
    let would = prune(&["--dry-run"]);
    assert!(would.contains("would remove") && would.contains("(unfinished)") && own.exists(), "{would}");
    let removed = prune(&[]);
    assert!(removed.contains("(unfinished)") && !own.exists() && others.exists(), "{removed}");
}

#[test]
fn what_is_left_beside_the_checkpoints_is_removed_and_what_has_other_names_stays() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let own = [
        "tags.json",
        "directories.json",
        "report.html",
        "metrics.jsonl",
        "metrics.csv",
        "experiment.log",
        "tracker-mlflow.json",
    ]
    .map(|name| run.join(format!(".{name}.0-0123456789abcdef.staging")));
    let of_users = [
        ".mine.staging",
        ".notes.txt.0-0123456789abcdef.staging",
        "checkpoint/.mine.staging",
        "checkpoint/last/.my.model.staging",
    ]
    .map(|name| run.join(name));
    let leave = || own.iter().chain(&of_users).for_each(|path| fs::write(path, "half").unwrap());
    fs::create_dir(run.join("checkpoint/last/.directory.0-0123456789abcdef.staging")).unwrap();
    let prune = || drop(ended_with(&burn_ckpt(&[&"prune", &run, &"--keep", &"links"]), 0));
    let start = || drop(train(config(root.path(), 2).with_ckpt_path("auto")).unwrap());
    let ways: [&dyn Fn(); 2] = [&prune, &start];
    for remove in ways {
        leave();
        let (_, said) = ended_with(&burn_ckpt(&[&"ls", &run]), 0);
        assert!(said.contains("7 unfinished files"), "{said}");
        remove();
        let left: Vec<&PathBuf> = own.iter().filter(|path| path.exists()).collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(of_users.iter().all(|path| fs::read_to_string(path).unwrap() == "half"));
    }
}
