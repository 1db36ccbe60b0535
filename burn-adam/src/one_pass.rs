//! The optimizer around burn's.

use burn::optim::{
    Adam, AdamConfig, AdamState, AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, LearningRate,
    Optimizer,
};
use burn::tensor::{Device, Tensor};

use crate::element::Rule;
use crate::memory;

/// burn's [`Adam`] or [`AdamW`], whose update on the CPU is one pass over memory.
///
/// The parameters and the state are those of burn's optimizer, bit for bit. On other devices, for other types
/// of numbers than `f32`, and with AMSGrad or cautious weight decay, it is burn's optimizer that computes.
///
/// ```
/// use burn::optim::{AdamWConfig, ModuleOptimizer};
/// use burn_adam::OnePass;
///
/// let optimizer = ModuleOptimizer::from(OnePass::from(&AdamWConfig::new().with_beta_2(0.99)));
/// ```
///
/// As with burn's `build()`, gradient clipping in the configuration is the module optimizer's.
#[derive(Clone)]
pub struct OnePass<O> {
    optimizer: O,
    /// `None` for what is left to burn.
    rule: Option<Rule>,
}

/// The two optimizers, whose states are alike. For [`OnePass`], which has an example.
pub trait AdamFamily: Optimizer {
    /// The moments in a state.
    fn moments<const D: usize>(state: Self::State<D>) -> AdaptiveMomentumState<D>;
    /// The state with these moments.
    fn state<const D: usize>(moments: AdaptiveMomentumState<D>) -> Self::State<D>;
}

impl AdamFamily for Adam {
    fn moments<const D: usize>(state: AdamState<D>) -> AdaptiveMomentumState<D> {
        state.momentum
    }

    fn state<const D: usize>(moments: AdaptiveMomentumState<D>) -> AdamState<D> {
        AdamState::new(moments)
    }
}

impl AdamFamily for AdamW {
    fn moments<const D: usize>(state: AdamWState<D>) -> AdaptiveMomentumState<D> {
        state.momentum
    }

    fn state<const D: usize>(moments: AdaptiveMomentumState<D>) -> AdamWState<D> {
        AdamWState::new(moments)
    }
}

impl From<&AdamConfig> for OnePass<Adam> {
    fn from(config: &AdamConfig) -> Self {
        Self { optimizer: config.build(), rule: Rule::of_adam(config) }
    }
}

impl From<&AdamWConfig> for OnePass<AdamW> {
    fn from(config: &AdamWConfig) -> Self {
        Self { optimizer: config.build(), rule: Rule::of_adam_w(config) }
    }
}

impl<O> std::fmt::Debug for OnePass<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnePass").field("rule", &self.rule).finish_non_exhaustive()
    }
}

impl<O: AdamFamily> Optimizer for OnePass<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (rule, mut moments) = match (&self.rule, state) {
            (Some(rule), Some(state)) => (rule, O::moments(state)),
            // burn makes the moments, in the first step.
            (_, state) => return self.optimizer.step(rate, tensor, gradient, state),
        };
        if !memory::is_at_hand([&tensor, &gradient, &moments.moment_1, &moments.moment_2]) {
            return self.optimizer.step(rate, tensor, gradient, Some(O::state(moments)));
        }
        moments.time += 1;
        let changed = [tensor, moments.moment_1, moments.moment_2];
        let [tensor, moment_1, moment_2] = memory::in_pieces(changed, gradient, |changed, gradients| {
            rule.update(rate, moments.time, changed, gradients);
        });
        (tensor, Some(O::state(AdaptiveMomentumState { moment_1, moment_2, ..moments })))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        O::to_device(state, device)
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::decay::WeightDecayConfig;
    use burn::tensor::{DType, Distribution, FloatDType};

    use super::*;

    fn random(shape: [usize; 2]) -> Tensor<2> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    fn bits(tensor: Tensor<2>) -> Vec<u32> {
        tensor.into_data().iter::<f32>().map(f32::to_bits).collect()
    }

    /// After each of some steps, the parameter and both moments are the same to the bit.
    fn same_bits<O: AdamFamily>(burns: &O, ours: &OnePass<O>) {
        // Smaller than a piece, and several pieces of which the last is not full.
        for shape in [[3, 5], [129, 257]] {
            let start = random(shape);
            let mut expected = (start.clone(), None);
            let mut found = (start, None);
            for step in 1..=8 {
                // As of a transposed product: its rows do not lie one behind the other.
                let gradient = random([shape[1], shape[0]]).transpose() / f64::from(step);
                let rate = 1e-2 / f64::from(step);
                expected = burns.step(rate, expected.0, gradient.clone(), expected.1);
                found = ours.step(rate, found.0, gradient, found.1);
                let moments = [&expected.1, &found.1].map(|state| O::moments(state.clone().unwrap()));
                let [expected_moments, found_moments] = moments;
                assert_eq!(found_moments.time, expected_moments.time);
                assert_eq!(bits(found_moments.moment_1), bits(expected_moments.moment_1), "step {step}");
                assert_eq!(bits(found_moments.moment_2), bits(expected_moments.moment_2), "step {step}");
                assert_eq!(bits(found.0.clone()), bits(expected.0.clone()), "step {step}");
            }
        }
    }

    /// Set in the process that configures the device: its settings are the whole process's.
    const CONFIGURED: &str = "BURN_ADAM_CONFIGURED";

    #[test]
    fn an_update_keeps_the_type_of_the_parameters_whatever_the_devices_default_is() {
        const THIS: &str =
            "one_pass::tests::an_update_keeps_the_type_of_the_parameters_whatever_the_devices_default_is";
        if std::env::var_os(CONFIGURED).is_none() {
            let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
            let output = alone.args(["--exact", THIS]).env(CONFIGURED, "1").output().unwrap();
            let printed = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
            return;
        }
        let mut device = Device::flex();
        device.configure(FloatDType::BF16).unwrap();
        let random = || {
            let options = (&device, DType::F32);
            Tensor::<2>::random([3, 5], Distribution::Normal(0.0, 1.0), options)
        };
        let adam = OnePass::<Adam>::from(&AdamConfig::new());
        let (parameters, state) = adam.step(1e-2, random(), random(), None);
        let (parameters, state) = adam.step(1e-2, parameters, random(), state);
        let AdaptiveMomentumState { moment_1, moment_2, .. } = Adam::moments(state.unwrap());
        assert_eq!([parameters, moment_1, moment_2].map(|tensor| tensor.dtype()), [DType::F32; 3]);
    }

    #[test]
    fn adam_has_the_bits_of_burns() {
        for config in [
            AdamConfig::new(),
            AdamConfig::new().with_beta_1(0.8).with_beta_2(0.95).with_epsilon(1e-8),
            AdamConfig::new().with_weight_decay(Some(WeightDecayConfig::new(0.03))),
        ] {
            let ours = OnePass::from(&config);
            assert!(matches!(ours.rule, Some(Rule::Adam { .. })), "{ours:?}");
            same_bits(&config.build(), &ours);
        }
    }

    #[test]
    fn adam_w_has_the_bits_of_burns() {
        for config in [
            AdamWConfig::new(),
            AdamWConfig::new().with_beta_1(0.8).with_beta_2(0.99).with_epsilon(1e-8).with_weight_decay(0.1),
            AdamWConfig::new().with_weight_decay(0.0),
        ] {
            let ours = OnePass::from(&config);
            assert!(matches!(ours.rule, Some(Rule::AdamW { .. })), "{ours:?}");
            same_bits(&config.build(), &ours);
        }
    }

    #[test]
    fn what_it_does_not_compute_is_left_to_burn() {
        let amsgrad = AdamConfig::new().with_amsgrad(true);
        assert!(OnePass::from(&amsgrad).rule.is_none());
        same_bits(&amsgrad.build(), &OnePass::from(&amsgrad));
        let cautious = AdamWConfig::new().with_cautious_weight_decay(true);
        assert!(OnePass::from(&cautious).rule.is_none());
        same_bits(&cautious.build(), &OnePass::from(&cautious));
        // Other numbers.
        let optimizer = OnePass::from(&AdamWConfig::new());
        let double = || random([2, 3]).cast(DType::F64);
        let (tensor, state) = optimizer.step(0.1, double(), double(), None);
        let (tensor, _) = optimizer.step(0.1, tensor, double(), state);
        assert_eq!(tensor.dtype(), DType::F64);
    }

    #[test]
    fn what_is_held_elsewhere_stays_as_it_was() {
        let optimizer = OnePass::from(&AdamConfig::new());
        let start = random([4, 4]);
        let (first, state) = optimizer.step(0.1, start.clone(), random([4, 4]), None);
        let (kept, of_state) = (first.clone(), state.clone().unwrap().momentum.moment_1);
        let before = [bits(kept.clone()), bits(of_state.clone())];
        let (second, _) = optimizer.step(0.1, first, random([4, 4]), state);
        assert_ne!(bits(second), before[0]);
        assert_eq!([bits(kept), bits(of_state)], before);
    }
}
