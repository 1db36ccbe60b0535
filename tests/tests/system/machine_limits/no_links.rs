//! File systems without symbolic links, and without hard links (vfat, exFAT): files take the places of links.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn_ckpt::plumbing::storage::observer::{Observation, observe};
use burn_trainer::burn_ckpt::retention::MetricMode;
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use burn_trainer::{FitResult, TrainerConfig};
use system_tests::models::small::Model;
use system_tests::run_files::{checkpoints, files, metadata};
use system_tests::storage_faults::WithoutLinks;
use system_tests::{config, train_scored};

fn without_links(root: &Path, hard_links: bool) -> Observation {
    observe(root, Arc::new(WithoutLinks { hard_links }))
}

fn scored(root: &Path, epochs: usize, ckpt_path: &str, scores: &[f64]) -> FitResult<Model> {
    let best = Best::new().with_mode(MetricMode::Min);
    let config: TrainerConfig = config(root, epochs)
        .with_primary_metric("val_score")
        .with_strategies([StrategyConfig::Best(best), StrategyConfig::Last(Last::default())])
        .with_ckpt_path(ckpt_path);
    train_scored(config, scores).unwrap()
}

#[test]
fn last_and_best_are_found_and_resumed_and_follow_the_run() {
    for hard_links in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let _observation = without_links(root.path(), hard_links);
        scored(root.path(), 2, "auto", &[1.0, 2.0]);
        let directory = checkpoints(root.path());
        let steps = || {
            ["best_val_score.ckpt", "last.ckpt"]
                .map(|name| metadata(&directory.join(name))["global_step"].as_u64().unwrap())
        };
        assert_eq!(steps(), [10, 20]);
        assert!(files(&directory).iter().all(|name| !name.contains(" -> ") && !name.contains("staging")));
        // By each of the names.
        assert_eq!(scored(root.path(), 3, "last", &[3.0]).global_step, 30, "hard links: {hard_links}");
        assert_eq!(steps(), [10, 30]);
        let copy = tempfile::tempdir().unwrap();
        let _observation = without_links(copy.path(), hard_links);
        fs::create_dir(copy.path().join("burn_trainer_logs")).unwrap();
        let mut cp = std::process::Command::new("cp");
        cp.arg("-r").arg(root.path().join("burn_trainer_logs/r1")).arg(copy.path().join("burn_trainer_logs"));
        assert!(cp.status().unwrap().success());
        let from_best = scored(copy.path(), 4, "best", &[3.0, 0.5, 4.0]);
        assert_eq!(from_best.global_step, 40, "hard links: {hard_links}");
        let burn_ckpt = system_tests::programs::commands::burn_ckpt;
        for name in ["last", "best"] {
            let verified = burn_ckpt(&[&"verify", &root.path().join("burn_trainer_logs/r1").join(name)]);
            system_tests::programs::commands::ended_with(&verified, 0);
        }
    }
}
