//! The names, limits and data of validation sets: what cannot be is an error before the first step, and what
//! changes is said.

use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::data::dataset::InMemDataset;
use burn::train::ExecutionStrategy;
use burn::train::metric::LossMetric;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, LoggedScalar};
use burn_trainer::config::{BatchLimit, Validation};
use burn_trainer::{Error, FitResult, Result, ResumableDataLoader, Trainer, TrainerConfig};
use parking_lot::Mutex;
use system_tests::backend;
use system_tests::models::small::{
    BATCH, Batch, ItemBatcher, Model, Script, ScriptedMetric, config, learner, loader, shuffling,
};
use system_tests::programs::test_alone::said_alone;
use system_tests::run_files::{checkpoints, metadata, run_dir};

use super::{root, wrong_setting};

type Data = Arc<dyn DataLoader<Batch>>;

/// Trains an epoch, in which any step would panic if `is_wrong`, with these validation sets and a metric of a
/// name.
fn train_with(
    config: TrainerConfig,
    sets: Vec<(&str, Data)>,
    metric: &str,
    is_wrong: bool,
) -> Result<FitResult<Model>> {
    let script = Script { panic_in_step: is_wrong.then_some(1), ..Script::default() };
    let trainer = Trainer::new(config, &script.hparams())?;
    let trainer = sets.into_iter().fold(trainer, |trainer, (name, data)| trainer.validation_set(name, data));
    let training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metrics((LossMetric::new(),));
    let training = training.metric_valid_numeric(ScriptedMetric::new(metric, &[1.0]));
    trainer.fit(training, learner(script))
}

fn any() -> Data {
    shuffling(BATCH)
}

/// A loader without items.
fn empty() -> Data {
    ResumableDataLoader::builder(ItemBatcher).batch_size(BATCH).build(InMemDataset::new(Vec::new()))
}

#[test]
fn a_name_that_cannot_be_is_an_error_before_the_first_step() {
    for (names, words) in [
        (vec![""], "letters and digits"),
        (vec!["so hard"], "letters and digits"),
        (vec!["../hard"], "letters and digits"),
        (vec!["val"], "main set"),
        (vec!["val_hard"], "\"hard\" gives val_hard_loss"),
        (vec!["hard", "Hard"], "two sets are called \"hard\" and \"Hard\""),
    ] {
        let root = root();
        let sets = names.into_iter().map(|name| (name, any())).collect();
        let (setting, reason) = wrong_setting(train_with(config(root.path(), 1), sets, "Score", true));
        assert!(setting == "Trainer::validation_set" && reason.contains(words), "{setting}: {reason}");
    }
}

#[test]
fn two_metrics_of_one_name_are_an_error_that_names_both() {
    for metric in ["Hard Loss", "hard Loss", "hard_Loss", "hard-loss"] {
        let root = root();
        let sets = vec![("hard", any())];
        let (setting, reason) = wrong_setting(train_with(config(root.path(), 1), sets, metric, true));
        assert_eq!(setting, "Trainer::validation_set");
        assert!(
            reason.contains(metric) && reason.contains("\"Loss\" on the validation set \"hard\""),
            "{reason}"
        );
    }
    let root = root();
    let sets = vec![("hard", any()), ("hard_very", any())];
    let (_, reason) = wrong_setting(train_with(config(root.path(), 1), sets, "Very Loss", true));
    assert!(reason.contains("val_hard_very_loss"), "{reason}");
}

#[test]
fn a_metric_of_no_set_is_unknown_and_the_error_offers_those_of_the_sets() {
    for unknown in ["val_easy_loss", "train_hard_loss"] {
        let root = root();
        let config = config(root.path(), 1).with_primary_metric(unknown);
        let failed = train_with(config, vec![("hard", any())], "Score", true);
        let Err(Error::UnknownMetric { name, known, .. }) = failed else { panic!() };
        assert_eq!(name, unknown);
        assert!(known.iter().any(|known| known == "val_hard_loss"), "{known:?}");
        assert!(!known.iter().any(|known| known == "train_hard_loss"), "{known:?}");
    }
}

#[test]
fn a_metric_that_no_validation_logs_is_an_error_at_the_first_batch_of_its_set() {
    let root = root();
    let config = config(root.path(), 1).with_primary_metric("val_hard_only_training");
    let trainer = Trainer::new(config, &()).unwrap().validation_set("hard", any());
    let training = trainer.training(any(), any()).metrics((LossMetric::new(),));
    let training = training.metric_train_numeric(ScriptedMetric::new("Only Training", &[]));
    let script = Script { panic_in_validation: Some(12), ..Script::default() };
    let Err(Error::MetricNotLogged { name, logged, .. }) = trainer.fit(training, learner(script)) else {
        panic!()
    };
    assert_eq!(name, "val_hard_only_training");
    assert!(logged.contains(&"val_hard_loss".to_owned()), "{logged:?}");
}

#[test]
fn a_set_without_a_batch_is_an_error() {
    let root = root();
    let Err(Error::NoBatch { split, .. }) =
        train_with(config(root.path(), 1), vec![("hard", empty())], "Score", true)
    else {
        panic!()
    };
    assert_eq!(split, "validation (hard)");
    // A loader that does not say how large it is.
    let unknown = loader(&Script { batches: Some(0), ..Script::default() });
    let again = config(root.path(), 1).with_overwrite(true);
    let Err(Error::NoBatch { split, reason }) = train_with(again, vec![("hard", unknown)], "Score", false)
    else {
        panic!()
    };
    assert!(split == "validation (hard)" && reason.contains("num_items() is 0"), "{split}: {reason}");
}

#[test]
fn limit_valid_batches_holds_for_each_set() {
    let lines = |limit: BatchLimit| {
        let root = root();
        let config = config(root.path(), 1).with_limit_valid_batches(limit);
        train_with(config, vec![("hard", shuffling(20))], "Score", false).unwrap();
        ["Loss", "hard_Loss"].map(|file| {
            let path = run_dir(root.path()).join(format!("valid/epoch-1/{file}.log"));
            std::fs::read_to_string(path).unwrap().lines().count() - 1
        })
    };
    assert_eq!(lines(BatchLimit::Count(3)), [3, 3]);
    assert_eq!(lines(BatchLimit::Fraction(0.5)), [5, 2]);
    assert_eq!(lines(BatchLimit::Fraction(1.0)), [10, 4]);
    let root = root();
    let quiet = config(root.path(), 1).with_primary_metric("train_loss").with_limit_valid_batches(0);
    let result = train_with(quiet, vec![("hard", empty())], "Score", false).unwrap();
    assert_eq!(result.metrics.keys().collect::<Vec<_>>(), ["train_loss"]);
    let unknown = loader(&Script::default());
    let half = config(root.path(), 1).with_limit_valid_batches(0.5).with_overwrite(true);
    let (setting, _) = wrong_setting(train_with(half, vec![("hard", unknown)], "Score", true));
    assert_eq!(setting, "limit_valid_batches (of the validation set hard)");
}

#[test]
fn a_loop_of_burns_has_none() {
    let root = root();
    let trainer = Trainer::new(config(root.path(), 1), &()).unwrap().validation_set("hard", any());
    let training = trainer.training(any(), any()).metrics((LossMetric::new(),));
    let strategy = ExecutionStrategy::single(backend::device().autodiff());
    let (setting, reason) = wrong_setting(trainer.fit_with(training, learner(Script::default()), strategy));
    assert!(setting == "Trainer::validation_set" && reason.contains("Trainer::fit"), "{setting}: {reason}");
}

/// Has the directory, in the process that the next test starts.
const ROOT: &str = "TEST_OTHER_SETS_IN";

#[test]
fn a_resumed_run_with_other_sets_says_so_in_a_line_for_each() {
    let Some(root) = std::env::var_os(ROOT) else {
        let root = root();
        let said = said_alone(
            module_path!(),
            "a_resumed_run_with_other_sets_says_so_in_a_line_for_each",
            ROOT,
            root.path(),
        );
        for line in [
            "warning: the validation set new is new: the checkpoint has no metrics of it\n",
            "warning: the checkpoint has the validation set noisy, and this run has not: later checkpoints are without its metrics\n",
            "warning: the validation set hard has 16 items, had 80: scores from before are of other data\n",
        ] {
            assert_eq!(said.matches(line).count(), 1, "{line}: {said}");
        }
        assert_eq!(said.matches("warning: ").count(), 3, "{said}");
        return;
    };
    let start = |epochs: usize, sets: Vec<(&str, Data)>| {
        let config = config(Path::new(&root), epochs).with_ckpt_path("auto");
        train_with(config, sets, "Score", false).unwrap();
        let last = metadata(&checkpoints(Path::new(&root)).join("last.ckpt"));
        last["metrics"].as_object().unwrap().keys().cloned().collect::<Vec<String>>()
    };
    start(1, vec![("hard", any()), ("noisy", any())]);
    let names = start(2, vec![("new", any()), ("hard", any())]);
    for name in ["val_loss", "val_hard_loss", "val_new_loss", "val_new_score"] {
        assert!(names.iter().any(|known| known == name), "{names:?}");
    }
    assert!(!names.iter().any(|name| name.starts_with("val_noisy")), "{names:?}");
    start(3, vec![("new", any()), ("hard", loader(&Script { batches: Some(2), ..Script::default() }))]);
}

/// Has the directory, in the process that the next test starts.
const SHOWN: &str = "TEST_SETS_ARE_SHOWN_IN";

#[test]
fn the_lines_of_progress_have_the_metrics_of_each_set_under_their_names() {
    let Some(root) = std::env::var_os(SHOWN) else {
        let root = root();
        let said = said_alone(
            module_path!(),
            "the_lines_of_progress_have_the_metrics_of_each_set_under_their_names",
            SHOWN,
            root.path(),
        );
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("epoch 1/1 ")).collect();
        let [within, hard_within, train, main, hard] = lines[..] else { panic!("{said}") };
        for line in [within, hard_within] {
            assert!(line.contains(" valid ") && line.contains("  after 40/80 items of training"), "{line}");
        }
        assert!(train.contains(" train 80/80 items  loss "), "{said}");
        assert!(main.contains(" valid 80/80 items  loss ") && main.contains("  score 1"), "{said}");
        assert!(hard.contains(" valid 80/80 items  hard loss ") && hard.contains("  hard score 1"), "{said}");
        assert!(!hard.contains("items of training"), "{said}");
        return;
    };
    let config = config(Path::new(&root), 1).with_validation(Validation::every_n_steps(5));
    train_with(config, vec![("hard", any())], "Score", false).unwrap();
}

/// Notes its calls, with the set and the names of the validation's metrics. Logs a scalar for all sets but
/// one.
#[derive(Clone, Default)]
struct Noting(Arc<Mutex<Vec<String>>>);

impl Noting {
    fn note(&self, method: &str, context: &CallbackContext<'_, Model>) {
        let names =
            context.metrics().into_keys().filter(|name| name.ends_with("_loss") && name != "train_loss");
        let names: Vec<String> = names.collect();
        self.0.lock().push(format!("{method} {:?} {}", context.validation_set(), names.join(",")));
    }
}

impl Callback<Model> for Noting {
    fn name(&self) -> String {
        "noting".to_owned()
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        vec![LoggedScalar::of_validation("length")]
    }

    fn on_validation_start(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.note("start", context);
        Ok(())
    }

    fn on_validation_batches_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.note("batches", context);
        match context.validation_set() {
            None => context.log("length", 4.0),
            Some(set) if set == "noisy" => context.log("length", 5.0),
            Some(_) => Ok(()),
        }
    }

    fn on_validation_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.note("end", context);
        Ok(())
    }
}

#[test]
fn callbacks_are_told_of_each_set_and_log_scalars_for_it() {
    let (root, noting) = (root(), Noting::default());
    let trainer = Trainer::new(config(root.path(), 1), &()).unwrap().callback(noting.clone());
    let trainer = trainer.validation_set("hard", any()).validation_set("noisy", any());
    let training = trainer.training(any(), any()).metrics((LossMetric::new(),));
    let result = trainer.fit(training, learner(Script::default())).unwrap();
    assert_eq!(
        noting.0.lock()[..],
        [
            "start None ",
            "batches None val_loss",
            "batches Some(\"hard\") val_loss,val_hard_loss",
            "batches Some(\"noisy\") val_loss,val_hard_loss,val_noisy_loss",
            "end None val_loss,val_hard_loss,val_noisy_loss",
        ]
    );
    assert_eq!((result.metrics["val_length"], result.metrics["val_noisy_length"]), (4.0, 5.0));
    assert!(!result.metrics.contains_key("val_hard_length"), "{:?}", result.metrics);
}
