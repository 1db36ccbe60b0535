//! The learning rate: scaled by a callback, of a schedule that a resumed run has changed.

use std::path::Path;
use std::sync::Arc;

use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::noam::NoamLrSchedulerConfig;
use burn::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::lr_scheduler::{LrScheduler, LrSchedulerConfig, LrSchedulerRecord};
use burn::module::ParamGroup;
use burn::optim::AdamConfig;
use burn::train::metric::LearningRateMetric;
use burn::train::{ExecutionStrategy, Learner, SupervisedTraining};
use burn_ckpt::Checkpoint;
use burn_ckpt::metadata::TensorInfo;
use burn_ckpt::retention::MetricMode;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, ReduceOnPlateau};
use burn_trainer::lr_scheduler::{WarmupCosine, scaled};
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::strategy::MetricConfig;
use burn_trainer::{Error, FitResult, Result, Trainer, TrainerConfig};
use indexmap::IndexMap;
use parking_lot::Mutex;
use system_tests::backend;
use system_tests::models::small::{Model, Script, ScriptedMetric, config, loader};
use system_tests::run_files::{in_memory, run_dir};

type Rates = Arc<Mutex<Vec<f64>>>;

/// Notes the rate of each step.
struct Noting(Rates);

impl Callback<Model> for Noting {
    fn name(&self) -> String {
        "noting".to_owned()
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.0.lock().push(context.learning_rate());
        Ok(())
    }
}

/// Trains; returns the result and the rate of each step of this process.
fn train(
    config: TrainerConfig,
    script: Script,
    rate: impl Into<ModuleLrScheduler>,
    scores: &[f64],
    plateaus: impl IntoIterator<Item = ReduceOnPlateau>,
) -> (Result<FitResult<Model>>, Vec<f64>) {
    let rates = Rates::default();
    let trainer = Trainer::new(config, &script.hparams()).unwrap().callback(Noting(Arc::clone(&rates)));
    let trainer = plateaus.into_iter().fold(trainer, Trainer::callback);
    let score = ScriptedMetric::new("Score", scores);
    let training: SupervisedTraining<Model> = trainer.training(loader(&script), loader(&script));
    let model = Model::new(script, &backend::device().autodiff());
    let learner = Learner::new(model, AdamConfig::new().init_streamed(), rate);
    let result = trainer.fit(training.metric_valid_numeric(score), learner);
    let rates = rates.lock().clone();
    (result, rates)
}

fn settings(root: &Path, epochs: usize) -> TrainerConfig {
    config(root, epochs).with_primary_metric("val_score").with_ckpt_path("auto")
}

/// What the last checkpoint has. The scripted metric's lines of a batch depend on the process.
fn last(root: &Path) -> (IndexMap<String, TensorInfo>, Vec<String>) {
    let last = Checkpoint::open(run_dir(root).join("last")).unwrap();
    let plateau = last.section("user.reduce_on_plateau").unwrap().strings.into_values().collect();
    (last.verify().unwrap().tensors, plateau)
}

fn plateau() -> ReduceOnPlateau {
    plateau_on("val_score")
}

fn plateau_on(metric: &str) -> ReduceOnPlateau {
    ReduceOnPlateau::new(metric).with_mode(MetricMode::Min).with_factor(0.5).with_patience(1)
}

const SCORES: [f64; 6] = [3.0, 3.5, 3.1, 3.2, 3.3, 3.4];

/// The rate of the first step of each epoch, of ten steps.
fn by_epoch(rates: &[f64]) -> Vec<f64> {
    rates.iter().step_by(10).copied().collect()
}

#[test]
fn it_falls_on_a_plateau() {
    let rates = |plateau: ReduceOnPlateau| {
        let root = in_memory();
        let (result, rates) =
            train(settings(root.path(), 6), Script::default(), scaled(0.01), &SCORES, Some(plateau));
        result.unwrap();
        by_epoch(&rates)
    };
    assert_eq!(rates(plateau()), [0.01, 0.01, 0.01, 0.005, 0.005, 0.0025]);
    assert_eq!(rates(plateau().with_min_scale(0.4)), [0.01, 0.01, 0.01, 0.005, 0.005, 0.004]);
    assert_eq!(rates(plateau().with_cooldown(1)), [0.01, 0.01, 0.01, 0.005, 0.005, 0.005]);
    assert_eq!(rates(plateau().with_mode(MetricMode::Max)), [0.01, 0.01, 0.01, 0.01, 0.005, 0.005]);
    let highest = ReduceOnPlateau::new(highest()).with_factor(0.5).with_patience(1);
    assert_eq!(rates(highest), [0.01, 0.01, 0.01, 0.01, 0.005, 0.005]);
}

fn highest() -> MetricConfig {
    MetricConfig::new("val_score").with_mode(MetricMode::Max)
}

#[test]
fn two_with_names_multiply_the_rate_and_resume_exactly() {
    let plateaus = || [plateau(), plateau().with_patience(2).with_name("after_two")];
    let (whole, parts) = (in_memory(), in_memory());
    let (result, rates) =
        train(settings(whole.path(), 6), Script::default(), scaled(0.01), &SCORES, plateaus());
    result.unwrap();
    assert_eq!(by_epoch(&rates), [0.01, 0.01, 0.01, 0.005, 0.0025, 0.00125]);
    let failing = Script { panic_in_step: Some(44), ..Script::default() };
    train(settings(parts.path(), 6), failing, scaled(0.01), &SCORES, plateaus()).0.unwrap_err();
    train(settings(parts.path(), 6), Script::default(), scaled(0.01), &SCORES[4..], plateaus()).0.unwrap();
    assert_eq!(last(whole.path()), last(parts.path()));

    let twice = [plateau(), plateau()];
    let root = in_memory();
    let (result, _) = train(settings(root.path(), 6), Script::default(), scaled(0.01), &SCORES, twice);
    let Err(Error::Config { setting, reason }) = result else { panic!("{result:?}") };
    assert!(setting.contains("reduce_on_plateau") && reason.contains("with_name"), "{setting}: {reason}");
}

#[test]
fn a_direction_that_is_given_twice_and_differs_is_an_error() {
    let root = in_memory();
    let plateau = ReduceOnPlateau::new(highest()).with_mode(MetricMode::Min);
    let settings = settings(root.path(), 6);
    let (result, _) = train(settings, Script::default(), scaled(0.01), &SCORES, Some(plateau));
    let Err(Error::Callback { source, .. }) = result else { panic!("{result:?}") };
    assert_eq!(
        source.to_string(),
        "its mode cannot be used: it is \"min\", and the metric val_score is given with the mode \"max\": leave out one of the two"
    );
}

#[test]
fn a_run_with_a_plateau_resumes_exactly() {
    let root = || in_memory();
    let cosine = || scaled(WarmupCosine::new(0.02, 60).with_warmup_steps(7).with_floor(0.001));
    let whole = root();
    let (result, expected) =
        train(settings(whole.path(), 6), Script::default(), cosine(), &SCORES, Some(plateau()));
    result.unwrap();
    for step in [3, 28, 31, 34, 51] {
        let parts = root();
        let failing = Script { panic_in_step: Some(step), ..Script::default() };
        let (failed, before) = train(settings(parts.path(), 6), failing, cosine(), &SCORES, Some(plateau()));
        assert!(failed.is_err());
        let epochs_done = (step - 1) / 10;
        let rest = &SCORES[epochs_done..];
        let (result, after) =
            train(settings(parts.path(), 6), Script::default(), cosine(), rest, Some(plateau()));
        result.unwrap();
        assert_eq!([before, after].concat(), expected, "{step}");
        assert_eq!(last(parts.path()), last(whole.path()), "{step}");
    }
}

#[test]
fn a_metric_that_is_not_there_or_not_logged_for_its_split_is_an_error_that_names_the_plateau() {
    let failed = |metric: &str, panic_in_step: usize| {
        let root = in_memory();
        let script = Script { panic_in_step: Some(panic_in_step), ..Script::default() };
        let plateau = plateau_on(metric);
        let (result, _) = train(settings(root.path(), 2), script, scaled(0.01), &SCORES, Some(plateau));
        result.map(|_| ()).unwrap_err()
    };
    let Error::UnknownMetric { setting, .. } = failed("val_scor", 1) else { panic!() };
    assert_eq!(setting, "the callback reduce_on_plateau");
    // At the first batch: the second would panic.
    let Error::MetricNotLogged { setting, name, .. } = failed("train_score", 2) else { panic!() };
    assert_eq!((setting.as_str(), name.as_str()), ("the callback reduce_on_plateau", "train_score"));
}

#[test]
fn what_a_plateau_has_seen_in_another_direction_is_not_used() {
    let after = |mode: MetricMode, scores: &[f64]| {
        let root = in_memory();
        let run = |epochs, scores: &[f64], mode: MetricMode| {
            let plateau = plateau().with_mode(mode);
            let config = settings(root.path(), epochs);
            let (result, rates) = train(config, Script::default(), scaled(0.01), scores, Some(plateau));
            result.unwrap();
            by_epoch(&rates)
        };
        run(2, &[5.0, 5.5], MetricMode::Min);
        run(4, scores, mode)
    };
    assert_eq!(after(MetricMode::Min, &[7.0, 8.0]), [0.01, 0.005], "neither is better than 5");
    assert_eq!(
        after(MetricMode::Max, &[3.0, 3.5]),
        [0.01, 0.01],
        "neither is better than 5, but that was the lowest"
    );
}

#[test]
fn a_rate_that_cannot_be_scaled_is_an_error_before_the_first_step_that_says_what_to_do() {
    let plain = ModuleLrScheduler::new(0.01);
    let a_group =
        ModuleLrScheduler::new(scaled(0.01)).with_group(ParamGroup::from_path("output.weight"), 0.02);
    for rate in [plain, a_group] {
        let root = in_memory();
        let (result, rates) =
            train(settings(root.path(), 6), Script::default(), rate, &SCORES, Some(plateau()));
        let Err(Error::Callback { name, source, .. }) = result else { panic!() };
        assert!(
            name == "reduce_on_plateau" && source.to_string().contains("lr_scheduler::scaled"),
            "{source}"
        );
        assert!(rates.is_empty());
    }
}

#[test]
fn a_factor_or_a_least_scale_that_would_never_lower_the_rate_is_an_error_before_the_first_step() {
    for (plateau, reason) in [
        (plateau().with_factor(1.0), "factor is 1:"),
        (plateau().with_min_scale(1.0), "min_scale is 1:"),
        (plateau().with_min_scale(f64::NAN), "min_scale is NaN:"),
        (plateau().with_min_scale(-0.1), "min_scale is -0.1:"),
    ] {
        let root = in_memory();
        let (result, rates) =
            train(settings(root.path(), 6), Script::default(), scaled(0.01), &SCORES, Some(plateau));
        let Err(Error::Callback { name, method, source, .. }) = result else { panic!("{reason}") };
        assert_eq!((name.as_str(), method), ("reduce_on_plateau", "on_fit_start"));
        assert!(source.to_string().contains(reason) && rates.is_empty(), "{source}");
    }
}

/// A rate for each step, and none after them.
#[derive(Clone)]
struct Table(std::vec::IntoIter<f64>);

impl LrScheduler for Table {
    fn step(&mut self) -> f64 {
        self.0.next().unwrap()
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new()
    }

    fn load_record(&mut self, _: LrSchedulerRecord) {}
}

#[test]
fn a_schedule_that_ends_with_the_run_ends_it_well() {
    let root = in_memory();
    let table = Table(vec![0.01; 20].into_iter());
    let (result, rates) = train(settings(root.path(), 2), Script::default(), table, &SCORES, None);
    assert_eq!((result.unwrap().global_step, rates.len()), (20, 20));
}

#[test]
fn a_longer_schedule_continues_at_its_own_rate() {
    let root = in_memory();
    let cosine = |steps: u64| WarmupCosine::new(0.02, steps).with_warmup_steps(5);
    train(settings(root.path(), 2), Script::default(), cosine(20), &SCORES, None).0.unwrap();
    let (result, rates) = train(settings(root.path(), 4), Script::default(), cosine(40), &SCORES, None);
    result.unwrap();
    let whole = in_memory();
    let (_, expected) = train(settings(whole.path(), 4), Script::default(), cosine(40), &SCORES, None);
    assert_eq!(rates, expected[20..]);
    assert!(rates.iter().all(|rate| *rate <= 0.02));
}

/// Trains two epochs with one scheduler, and two more with another. Returns the rates of the later ones.
fn continued(before: impl Into<ModuleLrScheduler>, after: impl Into<ModuleLrScheduler>) -> Vec<f64> {
    let root = in_memory();
    train(settings(root.path(), 2), Script::default(), before, &SCORES, None).0.unwrap();
    let (result, rates) = train(settings(root.path(), 4), Script::default(), after, &SCORES, None);
    assert_eq!((result.unwrap().global_step, rates.len()), (40, 20));
    rates
}

fn burns_sequence(steps: usize) -> ModuleLrScheduler {
    let rising = LrSchedulerConfig::Linear(LinearLrSchedulerConfig::new(0.004, 0.02, 5));
    let falling = LrSchedulerConfig::Cosine(CosineAnnealingLrSchedulerConfig::new(0.02, steps - 5));
    SequentialLrSchedulerConfig::new(vec![rising, falling], vec![5]).init().unwrap()
}

#[test]
fn another_kind_of_schedule_continues_at_the_step_of_the_run() {
    let cosine = || WarmupCosine::new(0.02, 40).with_warmup_steps(5);
    let whole = in_memory();
    let (_, expected) = train(settings(whole.path(), 4), Script::default(), cosine(), &SCORES, None);
    let noam = || NoamLrSchedulerConfig::new(0.1).with_warmup_steps(30).init().unwrap();
    for before in [0.02.into(), burns_sequence(20), noam()] {
        assert_eq!(continued(before, cosine()), expected[20..]);
    }
    // burn's two have a count of the same name.
    let mut all = noam();
    let expected: Vec<f64> = (0..40).map(|_| all.step().base()).collect();
    assert_eq!(continued(burns_sequence(20), noam()), expected[20..]);
    // One that has no rate for so many steps begins at its start.
    let rates: Vec<f64> = (1..=20).map(f64::from).map(|step| step / 1000.0).collect();
    assert_eq!(continued(cosine(), Table(rates.clone().into_iter())), rates);
}

#[test]
fn another_kind_of_schedule_continues_in_burns_loop_too() {
    let root = in_memory();
    train(settings(root.path(), 2), Script::default(), burns_sequence(20), &SCORES, None).0.unwrap();
    let script = Script::default();
    let trainer = Trainer::new(settings(root.path(), 4), &script.hparams()).unwrap();
    let training: SupervisedTraining<Model> = trainer.training(loader(&script), loader(&script));
    let training = training
        .metric_valid_numeric(ScriptedMetric::new("Score", &SCORES))
        .metric_train_numeric(LearningRateMetric::new());
    let model = Model::new(script, &backend::device().autodiff());
    let cosine = WarmupCosine::new(0.02, 40).with_warmup_steps(5);
    let learner = Learner::new(model, AdamConfig::new().init_streamed(), cosine.clone());
    trainer.fit_with(training, learner, ExecutionStrategy::single(backend::device().autodiff())).unwrap();
    let logged =
        std::fs::read_to_string(run_dir(root.path()).join("train/epoch-3/Learning_Rate.log")).unwrap();
    let first: f64 = logged.split(',').next().unwrap().parse().unwrap();
    let mut all = cosine;
    (0..20).for_each(|_| _ = all.step());
    assert_eq!(first, all.step());
}
