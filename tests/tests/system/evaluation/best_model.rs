//! `FitResult::best_model` and `end_with`: which model a program has when training is done.

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use burn::train::SupervisedTraining;
use burn::train::metric::LossMetric;
use burn_ckpt::retention::MetricMode;
use burn_ckpt::{ErrorKind, FromCheckpoint};
use burn_trainer::callbacks::Ema;
use burn_trainer::cli::EvaluateArgs;
use burn_trainer::config::EndWith;
use burn_trainer::strategy::{Best, BestStrategy, Last, StrategyConfig};
use burn_trainer::{Error, FitResult, Trainer, TrainerConfig};
use clap::Parser;
use system_tests::backend;
use system_tests::models::small::{
    Model, Script, ScriptedMetric, learner, loader, stopper, train_by, train_scored,
};
use system_tests::run_files::{checkpoints, in_memory, last_tensor_byte, run_dir};
use system_tests::{config, train_with};

/// The second of three epochs is the best.
const SCORES: [f64; 3] = [3.0, 1.0, 2.0];

fn ranked(root: &Path) -> TrainerConfig {
    config(root, SCORES.len()).with_primary_metric("val_score")
}

/// What a model computes, which tells one state from another.
fn output(model: &Model) -> Vec<f32> {
    let inputs = Tensor::<2>::from_floats([[0.1, 0.2, 0.3, 0.4]], &backend::device());
    model.predict(inputs).into_data().iter::<f32>().collect()
}

fn of_checkpoint(root: &Path, name: &str) -> Vec<f32> {
    output(&Model::from_checkpoint(run_dir(root).join(name), &backend::device()).unwrap())
}

#[test]
fn the_best_model_of_an_average_is_the_average_of_which_the_score_is() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path(), 2).with_end_with(EndWith::Best);
    let ema = |trainer: Trainer<Model>| trainer.callback(Ema::new(0.9).with_name("slow"));
    let result = train_by(config, Script::default(), ema).unwrap();
    let best = run_dir(root.path()).join("best");
    let averaged = Model::loader(&best).part("slow").load(&backend::device()).unwrap();
    assert_eq!(averaged.checkpoint.validated_part().unwrap().as_deref(), Some("slow"));
    assert_eq!(output(&result.best_model(&backend::device()).unwrap()), output(&averaged.model));
    assert_eq!(output(&result.model), output(&averaged.model));
    assert_ne!(
        of_checkpoint(root.path(), "best"),
        output(&averaged.model),
        "the parameters that are trained"
    );
    // Not where the average does not validate.
    let other = tempfile::tempdir().unwrap();
    let ema = |trainer: Trainer<Model>| trainer.callback(Ema::new(0.9).with_validates(false));
    let result = train_by(system_tests::config(other.path(), 2), Script::default(), ema).unwrap();
    let best = output(&result.best_model(&backend::device()).unwrap());
    assert_eq!(best, of_checkpoint(other.path(), "best"));
}

#[test]
fn the_best_model_by_a_set_that_the_average_leaves_to_the_trained_parameters_is_these() {
    let root = tempfile::tempdir().unwrap();
    let of_metric = |metric: &str, epochs: usize| {
        let config = config(root.path(), epochs).with_primary_metric(metric).with_end_with(EndWith::Best);
        let averaged = |trainer: Trainer<Model>| {
            let raw = loader(&Script::default());
            trainer.validation_set("raw", raw).callback(Ema::new(0.9).with_trained_on("raw"))
        };
        train_by(config.with_ckpt_path("auto"), Script::default(), averaged).unwrap()
    };
    let result = of_metric("val_raw_loss", 2);
    let best = run_dir(root.path()).join("best_val_raw_loss");
    let trained = output(&Model::from_checkpoint(&best, &backend::device()).unwrap());
    assert_eq!(output(&result.best_model(&backend::device()).unwrap()), trained);
    assert_eq!(output(&result.model), trained);
    let validated = Model::loader(&best).as_validated().load(&backend::device()).unwrap();
    assert_eq!((output(&validated.model), validated.part), (trained, None));
    let checkpoint = validated.checkpoint;
    for (metric, part) in [("val_loss", Some("ema")), ("val_raw_loss", None), ("train_loss", None)] {
        assert_eq!(checkpoint.part_of_metric(metric).unwrap().as_deref(), part, "{metric}");
    }
    let result = of_metric("val_loss", 3);
    let averaged = Model::loader(run_dir(root.path()).join("best_val_loss")).part("ema");
    let averaged = output(&averaged.load(&backend::device()).unwrap().model);
    assert_eq!(output(&result.best_model(&backend::device()).unwrap()), averaged);
    assert_eq!(output(&result.model), averaged);
}

#[test]
fn the_returned_model_is_that_of_the_last_step_or_of_the_best_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let last = train_scored(ranked(root.path()), &SCORES).unwrap();
    assert_eq!((output(&last.model), &last.model_checkpoint), (of_checkpoint(root.path(), "last"), &None));
    let best = output(&last.best_model(&backend::device()).unwrap());
    assert_eq!(best, of_checkpoint(root.path(), "best"));
    assert_ne!(best, output(&last.model));

    let root = tempfile::tempdir().unwrap();
    let result = train_scored(ranked(root.path()).with_end_with(EndWith::Best), &SCORES).unwrap();
    assert_eq!(output(&result.model), best);
    assert_eq!(
        result.model_checkpoint.as_deref(),
        Some(checkpoints(root.path()).join("best/epoch=1-step=20.ckpt").as_path())
    );
    // Checkpoints do not depend on it, and a run that is done ends with the best too.
    assert_eq!(of_checkpoint(root.path(), "last"), output(&last.model));
    let again = ranked(root.path()).with_end_with(EndWith::Best).with_ckpt_path("auto");
    let again = train_scored(again, &[]).unwrap();
    assert!(again.finished_before);
    assert_eq!(output(&again.model), best);
}

#[test]
fn without_a_strategy_for_the_best_it_is_an_error_before_training() {
    let root = tempfile::tempdir().unwrap();
    let best = || ranked(root.path()).with_end_with(EndWith::Best);
    for config in [
        best().with_checkpoint_saving(false),
        best().with_strategies([StrategyConfig::Last(Last::new())]),
        config(root.path(), 1).with_strategies([]).with_end_with(EndWith::Best),
    ] {
        let error = train_scored(config, &SCORES).map(|_| ()).unwrap_err();
        let Error::Config { setting, .. } = &error else { panic!("{error}") };
        assert_eq!(setting, "end_with");
        assert!(!root.path().join("burn_trainer_logs").exists());
    }
}

#[test]
fn a_run_without_a_best_checkpoint_yet_returns_the_model_that_it_has() {
    let root = tempfile::tempdir().unwrap();
    let config = ranked(root.path()).with_end_with(EndWith::Best);
    let result = train_with_a_stop_at(3, config);
    assert!(result.outcome.is_stopped());
    assert_eq!(result.model_checkpoint, None);
    let error = result.best_model(&backend::device()).map(|_| ()).unwrap_err();
    let Error::Checkpoint(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(output(&result.model), of_checkpoint(root.path(), "last"));
}

#[test]
fn a_best_checkpoint_that_cannot_be_loaded_is_an_error_and_not_another_model() {
    let root = tempfile::tempdir().unwrap();
    train_scored(ranked(root.path()), &SCORES).unwrap();
    // One bit of a tensor.
    let best = checkpoints(root.path()).join("best/epoch=1-step=20.ckpt");
    let mut bytes = std::fs::read(&best).unwrap();
    let at = last_tensor_byte(&bytes);
    bytes[at] ^= 1;
    std::fs::write(&best, bytes).unwrap();
    let again = ranked(root.path()).with_end_with(EndWith::Best).with_ckpt_path("last");
    let error = train_scored(again, &[]).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(_)), "{error}");
}

fn train_with_a_stop_at(step: usize, config: TrainerConfig) -> FitResult<Model> {
    let plain = Script::default();
    let trainer = Trainer::new(config, &plain.hparams()).unwrap();
    let training = trainer.training(loader(&plain), loader(&plain));
    let training = training.metric_valid_numeric(ScriptedMetric::new("Score", &SCORES));
    let script = Script { at_step: Some((step, stopper(training.interrupter(), false))), ..plain };
    trainer.fit(training, learner(script)).unwrap()
}

/// The configuration of a run that ranks by two metrics, of which the primary one comes second.
fn ranked_twice(root: &Path, epochs: usize) -> TrainerConfig {
    let loss = Best::new().with_metric("val_loss").with_dirpath("by_loss");
    let score = Best::new().with_metric("val_score").with_mode(MetricMode::Min);
    config(root, epochs).with_primary_metric("val_score").with_strategies([
        StrategyConfig::Best(loss),
        StrategyConfig::Best(score),
        StrategyConfig::Last(Last::new()),
    ])
}

fn train_ranked_twice(config: TrainerConfig) -> FitResult<Model> {
    let metric = ScriptedMetric::new("Score", &SCORES);
    let with_metrics = |training: SupervisedTraining<Model>| {
        training.metrics((LossMetric::new(),)).metric_valid_numeric(metric)
    };
    train_with(config, Script::default(), with_metrics).unwrap()
}

/// The checkpoint that `--evaluate best` evaluates.
fn evaluated(result: FitResult<Model>, config: &TrainerConfig) -> PathBuf {
    let args = Program::parse_from(["program", "--evaluate", "best"]).evaluate;
    let mut evaluated = PathBuf::new();
    let reported = args.print_result(Ok(result), config, "program", |checkpoint, _| {
        evaluated = checkpoint.to_path_buf();
        Err(Error::NoBatch { split: "test".to_owned(), reason: "the path is enough".to_owned() })
    });
    assert!(matches!(reported, Err(Error::NoBatch { .. })), "{reported:?}");
    evaluated
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    evaluate: EvaluateArgs,
}

#[test]
fn of_several_strategies_of_the_program_that_of_the_primary_metric_has_the_best() {
    let named = |path: &Path| std::fs::canonicalize(path).unwrap();
    for (ranked, expected) in [(&["train_loss", "val_loss"][..], "val_loss"), (&["train_loss"], "train_loss")]
    {
        let root = in_memory();
        let mut config = config(root.path(), 2).with_primary_metric("val_loss").with_strategies([]);
        // A name that is not unique would be an error before training.
        Program::parse_from(["program", "--evaluate", "best"]).evaluate.apply(&mut config);
        // The first epoch is the best by the one, and the second by the other.
        let best = |(place, metric): (usize, &&str)| {
            let mode = [MetricMode::Max, MetricMode::Min][place];
            BestStrategy::new(Best::new(), *metric, mode)
        };
        let result = train_by(config.clone(), Script::default(), |trainer| {
            ranked.iter().enumerate().map(best).fold(trainer, Trainer::strategy)
        });
        let result = result.unwrap();
        let best = result.best().unwrap().path.clone();
        assert_eq!(best, result.checkpoints[&format!("best:{expected}")].path);
        assert_eq!(named(&evaluated(result, &config)), named(&best));
    }
}

#[test]
fn of_several_best_checkpoints_that_of_the_primary_metric_is_the_best_everywhere() {
    let named = |path: &Path| std::fs::canonicalize(path).unwrap();
    for (primary, step) in [(Some("val_score"), 20), (Some("Val Score"), 20), (None, 30)] {
        let root = in_memory();
        // Without a primary metric it is that of the first strategy.
        let config = |epochs| {
            let mut config = ranked_twice(root.path(), epochs).with_end_with(EndWith::Best);
            config.primary_metric = primary.map(Into::into);
            config
        };
        let result = train_ranked_twice(config(3));
        let best = result.best().unwrap();
        assert_eq!(best.step, step, "{primary:?}");
        let path = named(&best.path);
        assert_eq!(named(result.model_checkpoint.as_deref().unwrap()), path, "{primary:?}");
        let model = output(&result.best_model(&backend::device()).unwrap());
        assert_eq!(model, output(&Model::from_checkpoint(&path, &backend::device()).unwrap()));
        assert_eq!(named(&evaluated(result, &config(3))), path, "{primary:?}");
        let resumed = train_ranked_twice(config(4).with_ckpt_path("best"));
        // It may be deleted by now.
        assert_eq!(resumed.resumed_from, Some(path), "{primary:?}");
    }
}
