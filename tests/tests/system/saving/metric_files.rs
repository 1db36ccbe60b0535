//! burn's metric files, written by our own hand: what cannot be written stops nothing, what is of another
//! time is not read, and an epoch in two parts has the files of one in one part.

use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::tensor::TensorReadError;
use burn::train::metric::store::{Aggregate, Direction, EventStoreClient, Split};
use burn::train::metric::{
    LossInput, LossMetric, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericEntry,
    SerializedEntry,
};
use burn::train::{EarlyStoppingStrategy, SupervisedTraining};
use burn_trainer::TrainerConfig;
use burn_trainer::burn_ckpt::retention::TopK;
use burn_trainer::strategy::{Last, StrategyConfig};
use system_tests::models::small::{
    BATCH, Model, OnStep, Script, ScriptedMetric, in_two_parts_is_as_in_one, shuffling,
};
use system_tests::programs::commands::{stderr, stdout, train_example};
use system_tests::run_files::{checkpoints, complete_checkpoints, files, run_dir, stems};
use system_tests::{config, train, train_scripted, train_with};

#[test]
fn a_file_in_the_way_is_one_warning_and_training_continues() {
    let root = tempfile::tempdir().unwrap();
    let train = |epochs: &str| {
        train_example(root.path(), &["--run-id", "r1", "--epochs", epochs, "--ckpt-path", "auto"])
    };
    stdout(&train("1"));
    let in_the_way = run_dir(root.path()).join("train/epoch-2");
    std::fs::write(&in_the_way, "in the way").unwrap();
    let output = train("3");
    stdout(&output);
    let said = stderr(&output);
    let warnings: Vec<&str> = said.lines().filter(|line| line.contains("cannot be written")).collect();
    let [warning] = warnings[..] else { panic!("{said}") };
    assert!(warning.starts_with("warning: the metric file"), "{warning}");
    assert!(warning.contains("train/epoch-2/Loss.log cannot be written: "), "{warning}");
    assert!(warning.contains("os error"), "{warning}");
    assert!(complete_checkpoints(&checkpoints(root.path())).unwrap() > 0);
    let left = files(&run_dir(root.path()));
    for file in ["train/epoch-1/Loss.log", "valid/epoch-2/Loss.log", "train/epoch-3/Loss.log"] {
        assert!(left.iter().any(|name| name == file), "{left:?}");
    }
}

#[test]
fn training_without_metric_files_comes_to_the_same() {
    let (whole, without) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = train(config(whole.path(), 3)).unwrap();
    // In the second epoch the directories are replaced by files.
    let directory = run_dir(without.path());
    let action = OnStep(Arc::new(move || {
        for split in ["train", "valid"] {
            std::fs::rename(directory.join(split), directory.join(format!("{split}-before"))).unwrap();
            std::fs::write(directory.join(split), "in the way").unwrap();
        }
    }));
    let script = Script { at_step: Some((15, action)), ..Script::default() };
    let result = train_scripted(config(without.path(), 3), script).unwrap();
    assert!(result.outcome.is_done() && !result.last_save_failed);
    assert_eq!((expected.metrics, expected.epochs), (result.metrics, result.epochs));
    let checkpoints = [whole, without].map(|root| stems(&checkpoints(root.path())));
    assert_eq!(checkpoints[0], checkpoints[1]);
}

/// Asks for the best epoch so far after every epoch, and never stops.
#[derive(Clone, Default)]
struct Asking(Arc<Mutex<Answers>>);

/// After each epoch, the best one.
type Answers = Vec<(usize, Option<usize>)>;

impl EarlyStoppingStrategy for Asking {
    fn should_stop(&mut self, epoch: usize, store: &EventStoreClient) -> bool {
        let best = store.find_epoch("Score", Aggregate::Mean, Direction::Lowest, &Split::Valid);
        self.0.lock().unwrap().push((epoch, best));
        false
    }
}

#[test]
fn what_an_earlier_time_left_of_later_epochs_is_neither_seen_nor_kept() {
    let every_epoch = |root: &Path, epochs| {
        let last = Last::new().with_topk(TopK::All);
        config(root, epochs).with_primary_metric("val_score").with_strategies([StrategyConfig::Last(last)])
    };
    let run = |config: TrainerConfig, scores: &[f64]| {
        let (metric, asking) = (ScriptedMetric::new("Score", scores), Asking::default());
        let set_up = |training: SupervisedTraining<Model>| {
            training.metric_valid_numeric(metric).metrics((LossMetric::new(),)).early_stopping(asking.clone())
        };
        train_with(config, Script::default(), set_up).unwrap();
        asking.0.lock().unwrap().clone()
    };
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = run(every_epoch(whole.path(), 3), &[3.0, 2.0, 4.0]);
    assert_eq!(expected, [(1, Some(1)), (2, Some(2)), (3, Some(2))]);
    run(every_epoch(parts.path(), 5), &[3.0, 2.0, 1.0, 0.5, 0.25]);
    let second = checkpoints(parts.path()).join("last/epoch=1-step=20.ckpt");
    let again = every_epoch(parts.path(), 3).with_ckpt_path(second.to_str().unwrap());
    assert_eq!(run(again, &[4.0]), expected);
    for split in ["train", "valid"] {
        let files = |root: &Path| files(&run_dir(root).join(split));
        assert_eq!(files(whole.path()), files(parts.path()));
    }
}

/// A metric that is text, with another one for each batch, and nothing at the end of an epoch.
#[derive(Clone)]
struct Told(&'static str);

impl Metric for Told {
    type Input = LossInput;

    fn name(&self) -> MetricName {
        Arc::new(self.0.to_owned())
    }

    fn update(
        &mut self,
        input: &LossInput,
        metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let loss = LossMetric::new().update(input, metadata)?.serialized;
        Ok(SerializedEntry::new(loss.clone(), format!("it is {loss}, they say")))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(SerializedEntry::new(String::new(), String::new()))
    }

    fn clear(&mut self) {}
}

/// burn's loss under another name.
#[derive(Clone)]
struct Named(&'static str, LossMetric);

impl Metric for Named {
    type Input = LossInput;

    fn name(&self) -> MetricName {
        Arc::new(self.0.to_owned())
    }

    fn attributes(&self) -> MetricAttributes {
        self.1.attributes()
    }

    fn update(
        &mut self,
        input: &LossInput,
        metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.1.update(input, metadata)
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        self.1.compute()
    }

    fn clear(&mut self) {
        self.1.clear();
    }
}

impl Numeric for Named {
    fn value(&self) -> Option<NumericEntry> {
        self.1.value()
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.1.running_value()
    }

    fn final_value(&self) -> NumericEntry {
        self.1.final_value()
    }
}

#[test]
fn text_and_metrics_of_one_split_are_as_if_nothing_had_stopped_the_run() {
    in_two_parts_is_as_in_one(&|| shuffling(BATCH), &[11, 14, 20], |training| {
        training
            .metrics((LossMetric::new(),))
            .metric_train(Told("Told in Training"))
            .metric_valid(Told("Told in Validation"))
            .metric_train_numeric(Named("Of Training", LossMetric::new()))
            .metric_valid_numeric(Named("Of Validation", LossMetric::new()))
    });
}
