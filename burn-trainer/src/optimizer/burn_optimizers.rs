//! The tensors in the states of burn's optimizers, for [`Streamed`].
//!
//! `burn-optim`'s states keep some fields private (the velocity of SGD's momentum, AdaGrad's sum, RMSprop's
//! buffer). Those are read as burn reads them. The others are destructured field by field: a field that burn
//! adds is then an error of the compiler here, and not missing in a checkpoint.

use burn::optim::{
    AdaGrad, AdaGradConfig, Adafactor, AdafactorConfig, AdafactorState, Adam, AdamConfig, AdamState, AdamW,
    AdamWConfig, AdamWState, Adan, AdanConfig, AdanState, AdaptiveMomentumState,
    AdaptiveNesterovMomentumState, CenteredState, Lamb, LambConfig, LambState, Lion, LionConfig, LionState,
    ModuleOptimizer, Muon, MuonConfig, RmsProp, RmsPropConfig, RmsPropState, Sgd, SgdConfig, SquareAvgState,
};
use burn_adam::{AdamFamily, OnePass};

use super::streamed::{StateParts, StateTensors, Streamed};

/// `init` of burn's configurations of optimizers, with an optimizer that is cheap to save: see [`Streamed`].
///
/// On the CPU, Adam and AdamW update all parameters in one pass over memory, to the same bits as burn's.
///
/// ```
/// use burn::optim::AdamConfig;
/// use burn_trainer::optimizer::InitStreamed;
///
/// let optimizer = AdamConfig::new().init_streamed();
/// ```
pub trait InitStreamed {
    /// The optimizer of this configuration, with its gradient clipping.
    fn init_streamed(&self) -> ModuleOptimizer;
}

macro_rules! init_streamed {
    ($($config:ty => $build:expr),* $(,)?) => {
        $(impl InitStreamed for $config {
            fn init_streamed(&self) -> ModuleOptimizer {
                let optimizer = ModuleOptimizer::from(Streamed($build(self)));
                // The configuration's own field is private.
                match self.init().grad_clipping() {
                    Some(clipping) => optimizer.with_grad_clipping(clipping.clone()),
                    None => optimizer,
                }
            }
        })*
    };
}

init_streamed! {
    AdaGradConfig => AdaGradConfig::build,
    AdafactorConfig => AdafactorConfig::build,
    AdamConfig => OnePass::from,
    AdamWConfig => OnePass::from,
    AdanConfig => AdanConfig::build,
    LambConfig => LambConfig::build,
    LionConfig => LionConfig::build,
    MuonConfig => MuonConfig::build,
    RmsPropConfig => RmsPropConfig::build,
    SgdConfig => SgdConfig::build,
}

impl<O: AdamFamily + StateTensors> StateTensors for OnePass<O> {
    fn state_tensors<const D: usize>(state: &Self::State<D>, parts: &mut StateParts<'_>) {
        O::state_tensors(state, parts);
    }
}

impl StateTensors for Adam {
    fn state_tensors<const D: usize>(state: &AdamState<D>, parts: &mut StateParts<'_>) {
        let AdamState { momentum } = state;
        adaptive_momentum(momentum, &mut parts.within("momentum"));
    }
}

impl StateTensors for AdamW {
    fn state_tensors<const D: usize>(state: &AdamWState<D>, parts: &mut StateParts<'_>) {
        let AdamWState { momentum } = state;
        adaptive_momentum(momentum, &mut parts.within("momentum"));
    }
}

fn adaptive_momentum<const D: usize>(momentum: &AdaptiveMomentumState<D>, parts: &mut StateParts<'_>) {
    let AdaptiveMomentumState { time, moment_1, moment_2, max_moment_2 } = momentum;
    parts.scalar("time", *time);
    parts.tensor("moment_1", moment_1);
    parts.tensor("moment_2", moment_2);
    if let Some(max_moment_2) = max_moment_2 {
        parts.tensor("max_moment_2", max_moment_2);
    }
}

impl StateTensors for Adan {
    fn state_tensors<const D: usize>(state: &AdanState<D>, parts: &mut StateParts<'_>) {
        let AdanState { momentum } = state;
        let AdaptiveNesterovMomentumState { time, exp_avg, exp_avg_sq, exp_avg_diff, neg_pre_grad } =
            momentum;
        let mut parts = parts.within("momentum");
        parts.scalar("time", *time);
        parts.tensor("exp_avg", exp_avg);
        parts.tensor("exp_avg_sq", exp_avg_sq);
        parts.tensor("exp_avg_diff", exp_avg_diff);
        parts.tensor("neg_pre_grad", neg_pre_grad);
    }
}

impl StateTensors for Adafactor {
    fn state_tensors<const D: usize>(state: &AdafactorState<D>, parts: &mut StateParts<'_>) {
        let AdafactorState { time, second_moment, column_second_moment } = state;
        parts.scalar("time", *time);
        parts.tensor("second_moment", second_moment);
        if let Some(column_second_moment) = column_second_moment {
            parts.tensor("column_second_moment", column_second_moment);
        }
    }
}

impl StateTensors for Lamb {
    fn state_tensors<const D: usize>(state: &LambState<D>, parts: &mut StateParts<'_>) {
        let LambState { time, moment_1, moment_2 } = state;
        parts.scalar("time", *time);
        parts.tensor("moment_1", moment_1);
        parts.tensor("moment_2", moment_2);
    }
}

impl StateTensors for Lion {
    fn state_tensors<const D: usize>(state: &LionState<D>, parts: &mut StateParts<'_>) {
        let LionState { momentum } = state;
        parts.tensor("momentum", momentum);
    }
}

impl StateTensors for RmsProp {
    fn state_tensors<const D: usize>(state: &RmsPropState<D>, parts: &mut StateParts<'_>) {
        let RmsPropState { square_avg, centered, momentum } = state;
        let SquareAvgState { square_avg } = square_avg;
        parts.within("square_avg").tensor("square_avg", square_avg);
        let CenteredState { grad_avg, avg } = centered;
        let mut centered = parts.within("centered");
        if let Some(grad_avg) = grad_avg {
            centered.tensor("grad_avg", grad_avg);
        }
        centered.tensor("avg", avg);
        if let Some(momentum) = momentum {
            parts.within("momentum").everything(momentum);
        }
    }
}

impl StateTensors for AdaGrad {}

impl StateTensors for Muon {}

impl StateTensors for Sgd {}
