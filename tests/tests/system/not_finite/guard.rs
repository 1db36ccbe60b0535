//! The gradient guard: a loss that is not finite, and values that are read after their step.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};
use burn::train::metric::LossMetric;
use burn::train::{InferenceStep, Learner, RegressionOutput, TrainOutput, TrainStep};
use burn_ckpt::Checkpoint;
use burn_trainer::callbacks::{Callback, GradientGuard, NonFinite};
use burn_trainer::strategy::{Last, OnException, StrategyConfig};
use burn_trainer::{Error, FitResult, Result, Trainer, TrainerConfig};
use system_tests::models::small::{Batch, Model, Poison, Script, config, loader, train_by};
use system_tests::run_files::{checkpoints, compare, run_dir, stems};

/// What is wrong in some batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// The loss that is reported. Gradients are finite.
    Loss,
    /// The inputs, and so everything that is computed of them, running statistics too.
    Inputs,
}

/// The small model, for which some batches are not finite.
#[derive(Module, Debug)]
struct Misreporting {
    inner: Model,
    #[module(skip)]
    batches: Arc<AtomicU64>,
    #[module(skip)]
    wrong: (Wrong, Vec<u64>),
}

impl Misreporting {
    fn new((what, batches): (Wrong, &[u64]), device: &Device) -> Self {
        let inner = Model::new(Script::default(), device);
        Self { inner, batches: Arc::default(), wrong: (what, batches.to_vec()) }
    }
}

impl TrainStep for Misreporting {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, mut batch: Batch) -> TrainOutput<RegressionOutput> {
        let number = self.batches.fetch_add(1, Ordering::SeqCst) + 1;
        let (what, batches) = &self.wrong;
        let wrong = batches.contains(&number).then_some(what);
        if wrong == Some(&Wrong::Inputs) {
            batch.inputs = batch.inputs.mul_scalar(f32::NAN);
        }
        let mut item = InferenceStep::step(&self.inner, batch);
        let gradients = item.loss.backward();
        if wrong == Some(&Wrong::Loss) {
            item.loss = item.loss.mul_scalar(f32::INFINITY);
        }
        TrainOutput::new(self, gradients, item)
    }
}

impl InferenceStep for Misreporting {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> RegressionOutput {
        InferenceStep::step(&self.inner, batch)
    }
}

/// Trains an epoch of ten batches, of which these have an infinite loss; `accumulation` of them in each
/// optimizer step.
fn misreported(
    wrong: &[u64],
    accumulation: usize,
    guard: impl Callback<Misreporting> + 'static,
) -> Result<u64> {
    let root = tempfile::tempdir().unwrap();
    let trained = train(config(root.path(), 1), (Wrong::Loss, wrong), accumulation, guard);
    trained.map(|result| result.global_step)
}

fn train(
    config: TrainerConfig,
    wrong: (Wrong, &[u64]),
    accumulation: usize,
    guard: impl Callback<Misreporting> + 'static,
) -> Result<FitResult<Misreporting>> {
    let script = Script::default();
    let trainer: Trainer<Misreporting> = Trainer::new(config, &script.hparams())?.callback(guard);
    let training = trainer.training(loader(&script), loader(&script)).metrics((LossMetric::new(),));
    let training = if accumulation > 1 { training.grads_accumulation(accumulation) } else { training };
    let model = Misreporting::new(wrong, &system_tests::backend::device().autodiff());
    trainer.fit(training, Learner::new(model, AdamConfig::new().init(), 1e-2))
}

/// What the guard says of a run that it has ended.
fn reason<T>(result: Result<T>) -> String {
    let Err(Error::Callback { name, source, .. }) = result else { panic!("the guard has ended no run") };
    assert_eq!(name, "gradient_guard");
    source.to_string()
}

#[test]
fn a_loss_that_is_not_finite_is_an_error_also_where_the_gradients_are_finite() {
    for before in [true, false] {
        let text = reason(misreported(&[4], 1, GradientGuard::new().with_checks_before_step(before)));
        assert!(
            text.starts_with("the loss of batch 4 of step 4 (batches 4 to 4 of the epoch) is inf"),
            "{text}"
        );
        let text = reason(misreported(&[6], 4, GradientGuard::new().with_checks_before_step(before)));
        assert!(
            text.starts_with("the loss of batch 6 of step 2 (batches 5 to 8 of the epoch) is inf"),
            "{text}"
        );
    }
}

#[test]
fn or_its_step_is_left_out_or_nothing_is_checked() {
    let skip = || GradientGuard::new().with_non_finite(NonFinite::Skip { most_in_a_row: 2 });
    assert_eq!(misreported(&[3, 4, 6], 1, skip()).unwrap(), 7);
    assert_eq!(misreported(&[3], 4, skip()).unwrap(), 2);
    assert!(reason(misreported(&[3, 4, 5], 1, skip())).contains("after 2 steps in a row that were left out"));
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1), (Wrong::Loss, &[3, 4, 6]), 1, skip()).unwrap();
    let log = std::fs::read_to_string(run_dir(root.path()).join("experiment.log")).unwrap();
    assert_eq!(log.matches(": the step is left out").count(), 3, "{log}");
    let end = "3 of 10 steps were left out, as a loss or gradient was not finite";
    assert_eq!(log.matches(end).count(), 1, "{log}");
    assert_eq!(misreported(&[3], 1, GradientGuard::new().with_non_finite(NonFinite::Off)).unwrap(), 10);
    assert_eq!(misreported(&[3], 1, GradientGuard::new().without_loss()).unwrap(), 10);
}

/// A batch of NaN makes the running statistics of a batch normalisation NaN while it is computed.
#[test]
fn a_step_that_is_left_out_leaves_the_running_statistics_as_they_were() {
    for (poisoned, accumulation, kept) in [(10, 1, 9), (9, 4, 8), (10, 4, 8)] {
        let digests = |batches: &[u64], limit: u64| {
            let root = tempfile::tempdir().unwrap();
            let guard = GradientGuard::new().with_non_finite(NonFinite::Skip { most_in_a_row: 1 });
            let config =
                settings(root.path(), Last::new()).with_max_epochs(1).with_limit_train_batches(limit);
            let result = train(config, (Wrong::Inputs, batches), accumulation, guard).unwrap();
            assert!(result.metrics["val_loss"].is_finite(), "{:?}", result.metrics);
            let last = Checkpoint::open(run_dir(root.path()).join("last")).unwrap().metadata().unwrap();
            assert!(last.is_finite());
            let mut tensors = last.tensors;
            tensors.retain(|name, _| name.starts_with("model."));
            tensors.into_iter().map(|(name, tensor)| (name, tensor.blake3)).collect::<Vec<_>>()
        };
        let undisturbed = digests(&[], kept);
        assert!(undisturbed.iter().any(|(name, _)| name.contains("running_mean")), "{undisturbed:?}");
        assert_eq!(digests(&[poisoned], 10), undisturbed, "batch {poisoned}, {accumulation} a step");
    }
}

#[test]
fn a_program_can_name_the_loss() {
    let of_targets = |output: &RegressionOutput| output.targets.clone().reshape([-1]);
    assert_eq!(misreported(&[3], 1, GradientGuard::new().with_loss(of_targets)).unwrap(), 10);
    let own = |output: &RegressionOutput| output.loss.clone();
    assert!(
        reason(misreported(&[3], 1, GradientGuard::new().with_loss(own))).contains("the loss of batch 3")
    );
    let broken = |output: &RegressionOutput| Tensor::full([3], f32::NAN, &output.loss.device());
    assert!(
        reason(misreported(&[], 1, GradientGuard::new().with_loss(broken))).contains("the loss of batch 1")
    );
}

/// Trains with gradients of NaN in the step that ends with this batch, and a guard that looks at a step when
/// it is done.
fn guarded_late(config: TrainerConfig, poisoned: (u64, u64)) -> Result<FitResult<Model>> {
    train_by(config, Script::default(), |trainer| {
        trainer
            .callback(Poison::new(&[poisoned], f32::NAN))
            .callback(GradientGuard::new().with_checks_before_step(false))
    })
}

fn settings(root: &Path, last: Last) -> TrainerConfig {
    config(root, 2)
        .with_ckpt_path("auto")
        .with_strategies([StrategyConfig::Last(last), StrategyConfig::OnException(OnException::default())])
}

#[test]
fn what_is_seen_after_its_step_is_never_saved_as_good() {
    let root = tempfile::tempdir().unwrap();
    let each_step = || settings(root.path(), Last::new().with_every_n_steps(1).with_topk(100));
    let text = reason(guarded_late(each_step(), (0, 4)));
    assert!(
        text.contains("of step 4 (batches 4 to 4 of the epoch) is NaN, which was seen after the step"),
        "{text}"
    );
    let last = stems(&checkpoints(root.path()).join("last"));
    assert_eq!(last, ["epoch=0-step=1", "epoch=0-step=2", "epoch=0-step=3"]);
    let exceptions = stems(&checkpoints(root.path()).join("on_exception"));
    let [exception] = &exceptions[..] else { panic!("{exceptions:?}") };
    let path = checkpoints(root.path()).join(format!("on_exception/{exception}.ckpt"));
    assert!(Checkpoint::open(path).unwrap().metadata().unwrap().found_non_finite().is_some());
    let result = train_by(each_step(), Script::default(), |trainer| trainer).unwrap();
    assert_eq!(result.resumed_from.unwrap().file_name().unwrap(), "epoch=0-step=3.ckpt");
    assert!(result.metrics["val_loss"].is_finite());
}

#[test]
fn it_is_seen_before_a_validation_and_at_the_end() {
    let root = tempfile::tempdir().unwrap();
    let text = reason(guarded_late(settings(root.path(), Last::new()), (0, 10)));
    assert!(text.contains("of step 10 "), "{text}");
    assert!(!run_dir(root.path()).join("valid").exists(), "no batch was validated");
    // Nothing is saved, and nothing validated.
    let root = tempfile::tempdir().unwrap();
    let ends = settings(root.path(), Last::new()).with_checkpoint_saving(false).with_max_steps(4);
    assert!(reason(guarded_late(ends, (0, 4))).contains("of step 4 "));
}

#[test]
fn a_run_that_is_checked_later_computes_the_same() {
    let roots = [true, false].map(|before| {
        let root = tempfile::tempdir().unwrap();
        let guard = GradientGuard::new().with_clip_norm(0.5).with_checks_before_step(before);
        let config = settings(root.path(), Last::new().with_every_n_steps(3));
        train_by(config, Script::default(), |trainer| trainer.callback(guard)).unwrap();
        root
    });
    compare(&run_dir(roots[0].path()), &run_dir(roots[1].path())).unwrap();
}
