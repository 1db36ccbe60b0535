//! What killed processes left of unfinished saves in a directory that several runs share: each run removes
//! its own.

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
