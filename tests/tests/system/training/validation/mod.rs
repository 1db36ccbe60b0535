//! Validation when a run wants it: which states are validated, what a save says of it, what is written, and
//! that it resumes exactly.

mod at_start;
mod exact_resume;
mod metric_files;
mod named_sets;
mod names_of_sets;
mod own_metrics;
mod programs;
mod schedules;

use std::path::Path;

use burn_ckpt::retention::TopK;
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use burn_trainer::{Error, FitResult, Result};
use system_tests::run_files::{checkpoints, in_memory, metadata, stems};

fn root() -> tempfile::TempDir {
    in_memory()
}

fn wrong_setting<T>(result: Result<FitResult<T>>) -> (String, String) {
    match result {
        Err(Error::Config { setting, reason }) => (setting, reason),
        other => panic!("{:?}", other.map(|result| result.global_step)),
    }
}

/// Best, and the newest states of every so many steps, all of which stay.
fn keeping_steps(steps: u64) -> [StrategyConfig; 3] {
    [
        StrategyConfig::Best(Best::new()),
        StrategyConfig::Last(Last::new().with_every_n_steps(steps).with_topk(TopK::All)),
        StrategyConfig::OnException(Default::default()),
    ]
}

/// The names of the metrics of each checkpoint in a directory of the run, by its step.
fn metrics_by_step(root: &Path, directory: &str) -> Vec<(u64, Vec<String>)> {
    let directory = checkpoints(root).join(directory);
    let mut found: Vec<(u64, Vec<String>)> = { stems(&directory).into_iter() }
        .map(|stem| {
            let saved = metadata(&directory.join(format!("{stem}.ckpt")));
            let names = saved["metrics"].as_object().unwrap().keys().cloned().collect();
            (saved["global_step"].as_u64().unwrap(), names)
        })
        .collect();
    found.sort();
    found
}
