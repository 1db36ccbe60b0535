//! A metric logger of a user's own beside the run's.

use std::collections::BTreeMap;

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{LossMetric, MetricDefinition, NumericEntry};
use burn_ckpt::Checkpoint;
use system_tests::models::small::{Script, ScriptedMetric, config, stopping_after, train_with};
use system_tests::run_files::{checkpoints, in_memory};

/// Answers every question of burn's with nothing.
struct Mute;

impl MetricLogger for Mute {
    fn log(&mut self, _: MetricsUpdate, _: usize, _: &Split) {}

    fn read_numeric(&mut self, _: &str, _: usize, _: &Split) -> Result<Vec<NumericEntry>, String> {
        Ok(Vec::new())
    }

    fn log_metric_definition(&mut self, _: MetricDefinition) {}

    fn log_epoch_summary(&mut self, _: EpochSummary) {}
}

#[test]
fn a_users_logger_switches_off_neither_early_stopping_nor_the_history() {
    let roots = [in_memory(), in_memory()];
    let scores = [3.0, 1.0, 2.0, 2.0, 2.0, 2.0];
    let results = [false, true].map(|is_mute| {
        let root = roots[usize::from(is_mute)].path();
        let score = ScriptedMetric::new("Score", &scores);
        let early = stopping_after(2, &score);
        let result = train_with(config(root, 6), Script::default(), |training| {
            let training = if is_mute { training.with_metric_logger(Mute) } else { training };
            training.metrics((LossMetric::new(),)).metric_valid_numeric(score).early_stopping(early)
        });
        let result = result.unwrap();
        assert!(result.outcome.is_early_stop());
        let last = Checkpoint::open(checkpoints(root).join("last.ckpt")).unwrap();
        let history = last.section("history").unwrap().tensors;
        let bytes = history.iter().map(|tensor| (tensor.name.clone(), tensor.to_bytes().unwrap().to_vec()));
        (result.epochs, bytes.collect::<BTreeMap<_, _>>())
    });
    assert_eq!(results[0], results[1]);
    let names = String::from_utf8_lossy(&results[1].1["metrics"]);
    assert!(names.contains("val_score") && results[1].1.contains_key("epochs"), "{names}");
}
