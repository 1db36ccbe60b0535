//! The tensors that an optimizer's state will have, found out before the first step.
//!
//! burn keeps a learner's optimizer private, and an optimizer says nothing of its state before it has one. So
//! a clone of the learner does one optimizer step for each of a few small parameters, with a gradient of
//! zeros. The states of the other parameters are taken to be alike. A clone shares the memory of all tensors,
//! and the learner itself stays as it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsParams, MultiGradientsParams};
use burn::tensor::{Device, Tensor};
use burn::train::{Learner, LearnerModel};
use burn_ckpt::Section;
use burn_ckpt::burn_pack::{self, DType, Shape};
use burn_ckpt::plumbing::panic_message;
use burn_environment::device_name;

use super::optimizer_probe::optimizer_and_scheduler;
use crate::optimizer::states_of_step;
use crate::remote::device_names::REMOTE;

/// More tensors than an optimizer keeps for a parameter. burn's keep up to four.
pub(crate) const MOST_TENSORS_OF_A_PARAMETER: u64 = 8;
/// How many parameters of each rank are tried. Groups of parameters can have optimizers of their own.
const TRIED_OF_A_RANK: usize = 3;
/// Larger parameters are not tried.
const MAX_TRIED_ELEMENTS: usize = 1 << 22;

/// The parameters of a model that are trained: those whose states an optimizer will have.
pub(crate) fn trained_parameters<M: Module>(model: &M) -> HashSet<u64> {
    trained(model).into_iter().map(|parameter| parameter.id.val()).collect()
}

/// What the optimizer's state will have, without contents: tensors of the parameters' lengths, and short
/// ones. `outlines` are the model's. `None` where it cannot be found out cheaply.
pub(crate) fn state_outlines<M: LearnerModel>(
    learner: &Learner<M>,
    outlines: &[burn_pack::Tensor],
) -> Option<Vec<burn_pack::Tensor>> {
    let tried = catch_unwind(AssertUnwindSafe(|| states_by_rank(learner)));
    let by_rank = tried.unwrap_or_else(|panic| {
        // A program's own optimizer or `optimize_multi`. Training will show what is wrong with it.
        log::debug!("the size of the optimizer's state is not known: {}", panic_message(&*panic));
        None
    })?;
    let trained = trained_parameters(&learner.model());
    let mut planned = Vec::new();
    for outline in outlines.iter().filter(|outline| outline.param_id.is_some_and(|id| trained.contains(&id)))
    {
        let Some(state) = by_rank.get(&outline.shape.len()) else { continue };
        for position in 0..state.tensors {
            let shape = if position < state.whole { outline.shape.clone() } else { Shape::from([1]) };
            planned.push(without_contents(&outline.name, outline.dtype, shape));
        }
    }
    Some(planned)
}

/// A tensor of the optimizer's state that has no contents yet.
fn without_contents(parameter: &str, dtype: DType, shape: Shape) -> burn_pack::Tensor {
    let name = format!("{}.{parameter}.state", Section::OPTIMIZER);
    let bytes = shape.num_elements() * dtype.size();
    let no_contents = || Err(burn_pack::Error::IoError("it is planned only".to_owned()));
    burn_pack::Tensor::deferred(name, dtype, shape, None, bytes, no_contents)
}

/// The state of one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ParameterState {
    /// Its tensors.
    tensors: usize,
    /// Those of them that have the parameter's shape. Others are shorter, as Adafactor's sums.
    whole: usize,
}

impl ParameterState {
    fn of<'a>(parameter: &Trained, state: impl Iterator<Item = &'a burn_pack::Tensor>) -> Self {
        state.fold(Self { tensors: 0, whole: 0 }, |so_far, tensor| Self {
            tensors: so_far.tensors + 1,
            whole: so_far.whole + usize::from(*tensor.shape == parameter.shape),
        })
    }

    fn min(self, other: Self) -> Self {
        Self { tensors: self.tensors.min(other.tensors), whole: self.whole.min(other.whole) }
    }
}

/// The smallest state of the parameters that were tried, for each rank: what a parameter of that rank has at
/// least.
fn states_by_rank<M: LearnerModel>(learner: &Learner<M>) -> Option<BTreeMap<usize, ParameterState>> {
    let model = learner.model();
    let (mut stepped, mut by_rank, mut unknown) = (learner.clone(), BTreeMap::new(), Vec::new());
    for parameter in smallest_of_each_rank(trained(&model)) {
        let grads = vec![(gradient_of_zeros(&model, parameter.id), parameter.device.clone())];
        // Programs override `optimize` for what they do with gradients, and seldom this one.
        match states_of_step(|| stepped.optimizer_step_multi(MultiGradientsParams { grads })) {
            Some(state) => note(&mut by_rank, &parameter, state.tensors.iter()),
            None => unknown.push(parameter),
        }
    }
    if unknown.is_empty() {
        return Some(by_rank);
    }
    // burn's record of the optimizer comes with one of the model, which would be read over the network.
    if unknown.iter().any(|parameter| device_name(&parameter.device).starts_with(REMOTE)) {
        return None;
    }
    let (record, _) = optimizer_and_scheduler(&stepped).ok()?;
    for parameter in &unknown {
        let of_parameter = |tensor: &&burn_pack::Tensor| tensor.param_id == Some(parameter.id.val());
        note(&mut by_rank, parameter, record.tensors.iter().filter(of_parameter));
    }
    Some(by_rank)
}

fn note<'a>(
    by_rank: &mut BTreeMap<usize, ParameterState>,
    parameter: &Trained,
    state: impl Iterator<Item = &'a burn_pack::Tensor>,
) {
    let state = ParameterState::of(parameter, state);
    let least = by_rank.entry(parameter.shape.len()).or_insert(state);
    *least = least.min(state);
}

/// A parameter that is trained.
#[derive(Debug, Clone)]
struct Trained {
    id: ParamId,
    shape: Vec<usize>,
    device: Device,
}

impl Trained {
    fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

fn trained<M: Module>(model: &M) -> Vec<Trained> {
    struct Find(Vec<Trained>);
    impl ModuleVisitor for Find {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                let value = param.val();
                let (shape, device) = (value.dims().to_vec(), value.device());
                self.0.push(Trained { id: param.id, shape, device });
            }
        }
    }
    let mut find = Find(Vec::new());
    model.visit(&mut find);
    find.0
}

fn smallest_of_each_rank(mut parameters: Vec<Trained>) -> Vec<Trained> {
    parameters.sort_by_key(Trained::elements);
    let mut tried: HashMap<usize, usize> = HashMap::new();
    parameters.retain(|parameter| {
        let of_rank = tried.entry(parameter.shape.len()).or_default();
        *of_rank += 1;
        *of_rank <= TRIED_OF_A_RANK && parameter.elements() <= MAX_TRIED_ELEMENTS
    });
    parameters
}

/// A gradient of zeros for one parameter.
fn gradient_of_zeros<M: Module>(model: &M, of: ParamId) -> GradientsParams {
    struct Zeros {
        of: ParamId,
        gradients: GradientsParams,
    }
    impl ModuleVisitor for Zeros {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.id == self.of {
                self.gradients.register(param.id, param.val().inner().zeros_like());
            }
        }
    }
    let mut zeros = Zeros { of, gradients: GradientsParams::new() };
    model.visit(&mut zeros);
    zeros.gradients
}
