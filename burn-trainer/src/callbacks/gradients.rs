//! The gradients of an optimizer step, as a callback sees them.

use std::collections::HashSet;

use burn::module::{ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, FloatDType, Tensor};
use burn::train::LearnerModel;

use crate::learner_state::float_parameters::{FloatVisitor, visit_floats};

/// The gradients of an optimizer step: the sum over its batches that the optimizer gets. With several devices
/// and a divided optimizer each device has those of its parameters.
///
/// Nothing here waits for a device.
///
/// ```
/// use burn::tensor::Tensor;
/// use burn::train::LearnerModel;
/// use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, GradientMapper, Gradients};
///
/// /// Trains the head alone.
/// struct FrozenBody;
///
/// impl<M: LearnerModel> Callback<M> for FrozenBody {
///     fn name(&self) -> String {
///         "frozen_body".to_owned()
///     }
///
///     fn on_before_optimizer_step(
///         &mut self,
///         _: &mut CallbackContext<'_, M>,
///         gradients: &mut Gradients<'_, M>,
///     ) -> CallbackResult {
///         gradients.map(&mut Self);
///         Ok(())
///     }
/// }
///
/// impl GradientMapper for FrozenBody {
///     fn map<const D: usize>(&mut self, path: &str, gradient: Tensor<D>) -> Tensor<D> {
///         if path.starts_with("head.") { gradient } else { gradient.zeros_like() }
///     }
/// }
/// ```
pub struct Gradients<'a, M> {
    model: &'a M,
    by_device: &'a mut [GradientsParams],
    device: &'a Device,
    is_skipped: bool,
}

/// Changes gradients one by one, for [`Gradients::map`]. [`Gradients`] has an example.
pub trait GradientMapper {
    /// The gradient to use in place of that of a parameter, which has this path in the model
    /// (`encoder.linear.weight`).
    fn map<const D: usize>(&mut self, path: &str, gradient: Tensor<D>) -> Tensor<D>;
}

impl<'a, M: LearnerModel> Gradients<'a, M> {
    /// The gradients of a step on devices, of which `device` is the first.
    pub(crate) fn new(model: &'a M, by_device: &'a mut [GradientsParams], device: &'a Device) -> Self {
        Self { model, by_device, device, is_skipped: false }
    }

    /// The gradient of a parameter. `None` if the parameter has none in this step.
    #[must_use]
    pub fn get<const D: usize>(&self, id: ParamId) -> Option<Tensor<D>> {
        self.by_device.iter().find_map(|gradients| gradients.get::<D>(id))
    }

    /// Replaces every gradient by what the mapper makes of it, in the order of the model's parameters.
    pub fn map(&mut self, mapper: &mut impl GradientMapper) {
        let mut mapping = Mapping { by_device: self.by_device, mapper, done: HashSet::new() };
        visit_floats(self.model, &mut mapping);
    }

    /// The L2 norm of all gradients together, in `f32`: a tensor of one element on the first device. `None`
    /// without gradients.
    #[must_use]
    pub fn norm(&self) -> Option<Tensor<1>> {
        let mut squares = Squares {
            by_device: self.by_device,
            device: self.device,
            done: HashSet::new(),
            sums: Vec::new(),
        };
        self.model.visit(&mut squares);
        let sums = squares.sums;
        (!sums.is_empty()).then(|| Tensor::cat(sums, 0).sum().sqrt())
    }

    /// Multiplies every gradient by a tensor of one element.
    pub fn scale(&mut self, factor: &Tensor<1>) {
        self.map(&mut ScaledBy(factor));
    }

    /// Scales all gradients down to this L2 norm, if theirs is larger. Returns the norm before, as
    /// [`norm`](Self::norm).
    ///
    /// The factor is that of PyTorch's
    /// [`clip_grad_norm_`](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html):
    /// `max_norm / (norm + 1e-6)`, at most 1. With a norm that is not finite the gradients are not finite
    /// either.
    pub fn clip_norm(&mut self, max_norm: f64) -> Option<Tensor<1>> {
        let norm = self.norm()?;
        self.scale_to(max_norm, norm.clone());
        Some(norm)
    }

    /// Scales gradients that have this norm down to the largest one.
    pub(super) fn scale_to(&mut self, max_norm: f64, norm: Tensor<1>) {
        let factor = (norm + 1e-6).recip().mul_scalar(max_norm).clamp_max(1.0);
        self.scale(&factor);
    }

    /// Limits every element of every gradient to `-max_value..=max_value`.
    pub fn clip_value(&mut self, max_value: f64) {
        self.map(&mut Clamped(max_value));
    }

    /// Leaves this optimizer step out: parameters, the optimizer's state and the learning rate stay, and the
    /// step is not counted. The batches are done.
    pub fn skip_step(&mut self) {
        self.is_skipped = true;
    }

    pub(crate) fn is_skipped(&self) -> bool {
        self.is_skipped
    }
}

struct ScaledBy<'a>(&'a Tensor<1>);

impl GradientMapper for ScaledBy<'_> {
    fn map<const D: usize>(&mut self, _path: &str, gradient: Tensor<D>) -> Tensor<D> {
        let factor = self.0.clone().to_device(&gradient.device()).cast(gradient.dtype());
        gradient * factor.reshape([1; D])
    }
}

struct Clamped(f64);

impl GradientMapper for Clamped {
    fn map<const D: usize>(&mut self, _path: &str, gradient: Tensor<D>) -> Tensor<D> {
        gradient.clamp(-self.0, self.0)
    }
}

/// Visits each parameter once, also where two places of a model share it.
struct Mapping<'a, G> {
    by_device: &'a mut [GradientsParams],
    mapper: &'a mut G,
    done: HashSet<ParamId>,
}

impl<G: GradientMapper> FloatVisitor for Mapping<'_, G> {
    fn visit<const D: usize>(&mut self, path: &str, param: &Param<Tensor<D>>) {
        if !self.done.insert(param.id) {
            return;
        }
        for gradients in &mut *self.by_device {
            if let Some(gradient) = gradients.remove::<D>(param.id) {
                gradients.register(param.id, self.mapper.map(path, gradient));
            }
        }
    }
}

/// The sum of the squares of each gradient, on the first device.
struct Squares<'a> {
    by_device: &'a [GradientsParams],
    device: &'a Device,
    done: HashSet<ParamId>,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.done.insert(param.id) {
            return;
        }
        for gradient in self.by_device.iter().filter_map(|gradients| gradients.get::<D>(param.id)) {
            // A sum of squares is soon more than f16 has.
            let gradient = match gradient.dtype() {
                DType::F32 => gradient,
                _ => gradient.cast(FloatDType::F32),
            };
            self.sums.push(gradient.square().sum().to_device(self.device));
        }
    }
}
