//! Metrics that a callback logs are metrics like any other.

use burn::tensor::Tensor;
use burn_ckpt::retention::MetricMode;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, GradientGuard, LoggedScalar};
use burn_trainer::strategy::{Best, Last, MetricConfig, StrategyConfig};
use system_tests::models::small::{Model, Script, config, loader, train_by};
use system_tests::run_files::{checkpoints, in_memory, metadata, run_dir, target};

/// A score of each epoch, and a number at every second step.
struct Scores(Vec<f64>);

impl Callback<Model> for Scores {
    fn name(&self) -> String {
        "scores".to_owned()
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        vec![
            LoggedScalar::of_validation("Own Score").higher_is_better(),
            LoggedScalar::of_training("every_second"),
        ]
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        if context.global_step().is_multiple_of(2) {
            let device = context.device().clone().inner();
            context.log("every_second", Tensor::<1>::from_floats([context.global_step() as f32], &device))?;
        }
        Ok(())
    }

    fn on_validation_batches_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        let score = self.0[usize::try_from(context.epoch())?];
        context.log("Own Score", score)
    }
}

#[test]
fn best_checkpoints_are_ranked_by_it_and_files_and_metadata_have_it() {
    let root = in_memory();
    let best = Best::new()
        .with_metric(MetricConfig::new("val_own_score"))
        .with_filename("{epoch}-{val_own_score:.2}");
    let config = config(root.path(), 4).with_strategies([StrategyConfig::Best(best)]);
    let scores = Scores(vec![0.25, 0.5, 0.75, 0.1]);
    let result = train_by(config, Script::default(), |trainer| {
        trainer.callback(scores).callback(GradientGuard::new())
    })
    .unwrap();
    let link = checkpoints(root.path()).join("best_val_own_score.ckpt");
    assert_eq!(target(&link).file_name().unwrap(), "2-0.75.ckpt");
    let metrics = &metadata(&link)["metrics"];
    assert_eq!(metrics["val_own_score"], 0.75);
    // The mean of 22, 24, 26, 28 and 30.
    assert_eq!(metrics["train_every_second"], 26.0);
    assert!(metrics["train_grad_norm"].as_f64().unwrap() > 0.0);
    assert_eq!(result.metrics["val_own_score"], 0.1);
    let file = |split: &str, name: &str| {
        std::fs::read_to_string(run_dir(root.path()).join(split).join("epoch-3").join(name)).unwrap()
    };
    assert_eq!(file("valid", "Own_Score.log").lines().collect::<Vec<_>>(), ["0.75,final"]);
    let lines = file("train", "every_second.log");
    assert_eq!(lines.lines().collect::<Vec<_>>(), ["22,1", "24,1", "26,1", "28,1", "30,1", "26,final"]);
    assert_eq!(file("train", "grad_norm.log").lines().count(), 11);
}

#[test]
fn two_callbacks_cannot_log_one_metric() {
    let root = in_memory();
    struct Other;
    impl Callback<Model> for Other {
        fn name(&self) -> String {
            "other".to_owned()
        }

        fn scalars(&self) -> Vec<LoggedScalar> {
            vec![LoggedScalar::of_training("every_second")]
        }
    }
    let result = train_by(config(root.path(), 1), Script::default(), |trainer| {
        trainer.callback(Scores(vec![0.0])).callback(Other)
    });
    let Err(burn_trainer::Error::Config { setting, reason }) = result else { panic!() };
    assert!(setting.contains("other") && reason.contains("every_second"), "{setting} {reason}");
}

/// A score of each validation set, in the first epoch only.
struct FirstEpoch;

impl Callback<Model> for FirstEpoch {
    fn name(&self) -> String {
        "first_epoch".to_owned()
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        vec![LoggedScalar::of_validation("score")]
    }

    fn on_validation_batches_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        if context.epoch() == 0 { context.log("score", 0.5) } else { Ok(()) }
    }
}

#[test]
fn a_value_that_a_validation_does_not_log_is_not_that_of_the_one_before() {
    let root = in_memory();
    let last = Last::new().with_topk(9).with_filename("{epoch}");
    let config = config(root.path(), 2).with_strategies([StrategyConfig::Last(last)]);
    train_by(config, Script::default(), |trainer| {
        trainer.callback(FirstEpoch).validation_set("hard", loader(&Script::default()))
    })
    .unwrap();
    let scores = |epoch: usize| {
        let metadata = metadata(&checkpoints(root.path()).join(format!("last/{epoch}.ckpt")));
        ["val_score", "val_hard_score"].map(|name| metadata["metrics"][name].as_f64())
    };
    assert_eq!(scores(0), [Some(0.5); 2]);
    assert_eq!(scores(1), [None; 2]);
}

#[test]
fn what_ranks_by_a_score_has_to_be_told_which_is_better() {
    let train = |primary: MetricConfig, score: LoggedScalar| {
        let root = in_memory();
        let config = config(root.path(), 2).with_primary_metric(primary);
        let trained = train_by(config, Script::default(), |trainer| trainer.callback(Directed(score)));
        trained.map(|_| {
            let best = target(&checkpoints(root.path()).join("best_val_score.ckpt"));
            best.file_name().unwrap().to_string_lossy().into_owned()
        })
    };
    let score = || LoggedScalar::of_validation("score");
    let Err(burn_trainer::Error::Config { setting, reason }) = train("val_score".into(), score()) else {
        panic!("it has trained")
    };
    assert!(setting == "best.mode" && reason.contains("val_score does not say"), "{setting}: {reason}");
    let highest = MetricConfig::new("val_score").with_mode(MetricMode::Max);
    assert!(train(highest, score()).unwrap().starts_with("epoch=1"));
    assert!(train("val_score".into(), score().higher_is_better()).unwrap().starts_with("epoch=1"));
    assert!(train("val_score".into(), score().lower_is_better()).unwrap().starts_with("epoch=0"));
}

/// A score that is the number of the epoch.
struct Directed(LoggedScalar);

impl Callback<Model> for Directed {
    fn name(&self) -> String {
        "directed".to_owned()
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        vec![self.0.clone()]
    }

    fn on_validation_batches_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        let epoch = context.epoch() as f64;
        context.log("score", epoch)
    }
}
