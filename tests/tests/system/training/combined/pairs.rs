//! Each pair of features of which one is a limit or says how a run ends: a run that fails at a seeded batch
//! and resumes ends with the bytes of one that does not. `callbacks::exact_resume` and
//! `validation::exact_resume` have the other features with each other.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::optim::AdamConfig;
use burn::train::metric::LossMetric;
use burn::train::{Learner, RegressionOutput};
use burn_ckpt::Section;
use burn_trainer::callbacks::{
    self, Callback, CallbackContext, CallbackResult, GradientGuard, NonFinite, ReduceOnPlateau,
};
use burn_trainer::config::{self, EndWith};
use burn_trainer::lr_scheduler::scaled;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::{FitResult, Result, Trainer, TrainerConfig};
use system_tests::backend;
use system_tests::models::small::{self, AlwaysStops, BATCH, Counting, Model, Poison, Script, shuffling};
use system_tests::random::SplitMix64;
use system_tests::run_files::{compare, in_memory, run_dir};

const SEED: u64 = 21;
/// Epochs of a run that nothing ends before. Each has ten batches.
const EPOCHS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feature {
    /// Over four batches.
    Accumulation,
    /// Every second step.
    Validation,
    Ema,
    /// Some steps are left out.
    Guard,
    TwoDevices,
    /// After the second validation.
    EarlyStopping,
    /// The rate falls after each validation.
    Plateau,
    /// In the middle of an epoch, and of no whole number of accumulated batches.
    MaxSteps,
    /// Seven.
    LimitTrainBatches,
    /// Three.
    OverfitBatches,
    /// Three. A callback would end the run at each step.
    MinEpochs,
    EndWithBest,
}
use Feature::{
    Accumulation, EarlyStopping, Ema, EndWithBest, Guard, LimitTrainBatches, MaxSteps, MinEpochs,
    OverfitBatches, Plateau, TwoDevices, Validation,
};

/// Those that other tests have with each other.
const OTHERS: [Feature; 7] = [Accumulation, Validation, Ema, Guard, TwoDevices, EarlyStopping, Plateau];
const LIMITS: [Feature; 5] = [MaxSteps, LimitTrainBatches, OverfitBatches, MinEpochs, EndWithBest];

/// Counts the batches of a process.
struct CountedBatches(Arc<AtomicU64>);

impl Callback<Model> for CountedBatches {
    fn name(&self) -> String {
        "counted_batches".to_owned()
    }

    fn on_train_batch_end(
        &mut self,
        _: &mut CallbackContext<'_, Model>,
        _: &RegressionOutput,
    ) -> CallbackResult {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Two features, and how the run is interrupted.
#[derive(Debug, Clone, Copy)]
struct Pair {
    features: [Feature; 2],
    /// Whether the state before the failure is saved. Else the run resumes from an earlier one, as after a
    /// kill.
    is_saved: bool,
}

impl Pair {
    fn has(self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    fn settings(self, root: &Path) -> TrainerConfig {
        let mut strategies = vec![
            StrategyConfig::Best(Default::default()),
            StrategyConfig::Last(Last::new().with_every_n_steps(2)),
        ];
        if self.is_saved {
            strategies.push(StrategyConfig::OnException(Default::default()));
        }
        let mut config = small::config(root, EPOCHS).with_ckpt_path("auto").with_strategies(strategies);
        if self.has(Validation) {
            config = config.with_validation(config::Validation::every_n_steps(2));
        }
        if self.has(EarlyStopping) {
            let stopping = callbacks::EarlyStopping::new("val_loss");
            config = config.with_early_stopping(stopping.with_patience(1).with_min_delta(1e9));
        }
        if self.has(MaxSteps) {
            config = config.with_max_steps(if self.has(Accumulation) { 5 } else { 11 });
        }
        if self.has(LimitTrainBatches) {
            config = config.with_limit_train_batches(7);
        }
        if self.has(OverfitBatches) {
            config = config.with_overfit_batches(3);
        }
        if self.has(MinEpochs) {
            config = config.with_min_epochs(3);
        }
        if self.has(EndWithBest) {
            config = config.with_end_with(EndWith::Best);
        }
        config
    }

    fn with_callbacks(self, mut trainer: Trainer<Model>) -> Trainer<Model> {
        trainer = trainer.callback(Counting::default());
        if self.has(Guard) {
            let skip = NonFinite::Skip { most_in_a_row: 2 };
            trainer = trainer
                .callback(Poison::new(&[(0, 4), (0, 8), (1, 2)], f32::INFINITY))
                .callback(GradientGuard::new().with_clip_norm(0.5).with_non_finite(skip));
        }
        if self.has(Ema) {
            trainer = trainer.callback(callbacks::Ema::new(0.9).with_start_step(2));
        }
        if self.has(Plateau) {
            let plateau = ReduceOnPlateau::new("val_loss").with_factor(0.5).with_patience(0);
            trainer = trainer.callback(plateau.with_min_delta(1e9));
        }
        if self.has(MinEpochs) {
            trainer = trainer.callback(AlwaysStops);
        }
        trainer
    }

    fn fit(
        self,
        root: &Path,
        panic_in_step: Option<usize>,
        seen: &Arc<AtomicU64>,
    ) -> Result<FitResult<Model>> {
        let (script, device) = (Script { panic_in_step, ..Script::default() }, backend::device().autodiff());
        let devices = vec![device.clone(); if self.has(TwoDevices) { 2 } else { 1 }];
        let trainer = Trainer::new(self.settings(root), &script.hparams())?.devices(devices);
        let trainer = self.with_callbacks(trainer).callback(CountedBatches(Arc::clone(seen)));
        let mut training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metrics((LossMetric::new(),));
        if self.has(Accumulation) {
            training = training.grads_accumulation(4);
        }
        let model = Model::new(script, &device);
        trainer.fit(training, Learner::new(model, AdamConfig::new().init_streamed(), scaled(1e-2)))
    }

    /// Compares a run that fails at a batch, and resumes, with one that does not.
    fn is_exact(self, random: &mut SplitMix64) {
        let (whole, parts, seen) = (in_memory(), in_memory(), Arc::default());
        let expected = self.fit(whole.path(), None, &seen).unwrap();
        let batches = seen.load(Ordering::SeqCst);
        assert!(batches >= 6, "{self:?}: {batches} batches");
        let batch = 2 + random.below(batches - 1);
        self.fit(parts.path(), Some(batch as usize), &seen).unwrap_err();
        let resumed = self.fit(parts.path(), None, &seen).unwrap();
        let what = format!("{self:?}, which fails in batch {batch} of {batches}");
        compare(&run_dir(whole.path()), &run_dir(parts.path()))
            .unwrap_or_else(|reason| panic!("{what}: {reason}"));
        assert_eq!(resumed.outcome, expected.outcome, "{what}");
        assert_eq!(weights(&resumed.model), weights(&expected.model), "{what}");
    }
}

/// The parameters of the model that a run ends with.
fn weights(model: &Model) -> Vec<(String, Vec<u8>)> {
    let tensors = Section::from_module(model).tensors.into_iter();
    tensors.map(|tensor| (tensor.name.clone(), tensor.into_bytes().unwrap().to_vec())).collect()
}

fn are_exact(pairs: impl Iterator<Item = [Feature; 2]>) {
    let mut random = SplitMix64::new(SEED);
    for (number, features) in pairs.enumerate() {
        Pair { features, is_saved: number % 2 == 0 }.is_exact(&mut random);
    }
}

#[test]
fn a_limit_with_each_feature_that_is_not_a_limit() {
    are_exact(LIMITS.into_iter().flat_map(|limit| OTHERS.map(|other| [limit, other])));
}

#[test]
fn two_limits() {
    let pairs = LIMITS
        .iter()
        .enumerate()
        .flat_map(|(number, one)| LIMITS[number + 1..].iter().map(|other| [*one, *other]));
    // Of these two only one can be set.
    are_exact(pairs.filter(|pair| *pair != [LimitTrainBatches, OverfitBatches]));
}
