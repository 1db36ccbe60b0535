//! One training step on one device or several: a batch for each, gradients summed in the devices' order.
//!
//! burn's own step for several devices (`MultiDevicesTrainStep`) adds gradients in the order in which they arrive and
//! lets threads share running statistics, so that two runs differ. Here the devices take their turns on the loop's
//! thread. What a device computes runs beside it: handing work to a GPU or to another machine does not wait for it.

use burn::module::{ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams, MultiGradientsParams};
use burn::tensor::{Device, Tensor};
use burn::train::{
    ExecutionStrategy, Learner, LearnerModel, MultiDeviceOptim, TrainOutput, TrainStep, TrainingStrategy,
};
use burn_environment::device_name;

use crate::error::{Error, Result};
use crate::process::console::warn;
use crate::remote::device_names::{IROH, REMOTE};

/// The devices that a run trains on; the first has the model.
pub(crate) struct Devices {
    all: Vec<Device>,
    optim: MultiDeviceOptim,
}

impl Devices {
    /// One at least, with where the optimizer works when there are several. All of them compute gradients.
    pub(crate) fn new(all: Vec<Device>, optim: MultiDeviceOptim) -> Self {
        Self { all, optim }
    }

    pub(crate) fn main(&self) -> &Device {
        &self.all[0]
    }

    pub(crate) fn all(&self) -> &[Device] {
        &self.all
    }

    /// A forward and backward pass on one of the devices.
    pub(crate) fn train_step<M: LearnerModel>(
        &self,
        learner: &Learner<M>,
        device: usize,
        batch: <M as TrainStep>::Input,
    ) -> TrainOutput<<M as TrainStep>::Output> {
        if self.all.len() == 1 {
            return learner.train_step(batch);
        }
        let model = learner.model();
        // Running statistics are shared by all copies of a model, and follow it to the device: what the device before
        // has added to them is applied first.
        drop(model.valid());
        TrainStep::step(&model.fork(&self.all[device]), batch)
    }

    /// Waits for what was handed to the devices so far, the model's initial values among it: the devices of one server draw
    /// their random numbers from one stream, which a seed for one of them changes under the others.
    pub(crate) fn settle(&self) {
        if self.all.len() < 2 {
            return;
        }
        for device in &self.all {
            if let Err(error) = device.sync() {
                // What it means for training shows in the first step.
                log::warn!("{} cannot be waited for: {error}", device_name(device));
            }
        }
    }

    /// Brings the whole model to the first device.
    pub(crate) fn gather<M: LearnerModel>(&self, learner: &mut Learner<M>) {
        if self.all.len() > 1 {
            drop(learner.model().valid());
            learner.fork(self.main());
        }
    }
}

/// The device of the model's first parameter, as burn chooses it.
pub(crate) fn of_model<M: LearnerModel>(learner: &Learner<M>) -> Vec<Device> {
    vec![learner.model().devices().into_iter().next().unwrap_or_default()]
}

/// Sees that tensors can be moved between the devices (burn panics when the first one is), and says what is not exact.
pub(crate) fn check(devices: &[Device]) -> Result<()> {
    let names: Vec<String> =
        devices.iter().map(device_name).filter(|name| name.starts_with(REMOTE)).collect();
    let is_iroh = |name: &&String| name.starts_with(IROH);
    if let (Some(one), Some(other)) = (names.iter().find(|name| !is_iroh(name)), names.iter().find(is_iroh)) {
        let reason = format!(
            "{one} and {other} cannot be used together: burn moves tensors between WebSocket servers, or between Iroh \
             servers"
        );
        return Err(Error::config("devices", reason));
    }
    let server = |name: &String| name.rsplit_once('#').map(|(server, _)| server.to_owned());
    for (position, name) in names.iter().enumerate() {
        if let Some(other) =
            names[..position].iter().find(|other| server(other) == server(name) && *other != name)
        {
            warn(&format!(
                "{other} and {name} are of one server, which computes and draws random numbers for both at the same time: \
                 two runs are not the same to the bit. A server for each device keeps them apart"
            ));
            break;
        }
    }
    Ok(())
}

/// The devices that a loop which is not the trainer's computes on; of one that burn does not know either, those of the
/// model.
pub(crate) fn of_strategy<M: LearnerModel>(
    strategy: &TrainingStrategy<M>,
    learner: &Learner<M>,
) -> Vec<Device> {
    match strategy {
        TrainingStrategy::Default(ExecutionStrategy::SingleDevice(device)) => vec![device.clone()],
        TrainingStrategy::Default(
            ExecutionStrategy::MultiDevice(devices, _)
            | ExecutionStrategy::DistributedDataParallel { devices, .. },
        ) => devices.clone(),
        TrainingStrategy::Custom(_) => learner.model().devices(),
    }
}

/// The gradients of an optimizer step in the making, by device.
pub(crate) struct Gradients<'a, M> {
    devices: &'a Devices,
    by_device: Vec<GradientsAccumulator<M>>,
    /// Those of the only batch of a step, with which there is nothing to sum.
    alone: Option<GradientsParams>,
    is_alone: bool,
}

impl<'a, M: LearnerModel> Gradients<'a, M> {
    /// With whether a device has several batches in a step.
    pub(crate) fn new(devices: &'a Devices, accumulates: bool) -> Self {
        let by_device = devices.all.iter().map(|_| GradientsAccumulator::new()).collect();
        Self { devices, by_device, alone: None, is_alone: devices.all.len() == 1 && !accumulates }
    }

    /// Adds what a batch on one of the devices gave.
    pub(crate) fn add(&mut self, learner: &Learner<M>, device: usize, gradients: GradientsParams) {
        if self.is_alone {
            self.alone = Some(gradients);
        } else {
            self.by_device[device].accumulate(&learner.model(), gradients);
        }
    }

    /// Does the optimizer step, and begins anew.
    pub(crate) fn apply(&mut self, learner: &mut Learner<M>) {
        if let Some(gradients) = self.alone.take() {
            return learner.optimizer_step(gradients);
        }
        let mut by_device: Vec<GradientsParams> =
            self.by_device.iter_mut().map(GradientsAccumulator::grads).collect();
        if by_device.len() == 1 {
            return learner.optimizer_step(by_device.remove(0));
        }
        let sharded = matches!(self.devices.optim, MultiDeviceOptim::OptimSharded);
        let mut sum = Sum { devices: &self.devices.all, sharded, by_device, parameters: 0 };
        learner.model().visit(&mut sum);
        let mut by_device = sum.by_device;
        if sharded {
            let grads = by_device.into_iter().zip(self.devices.all.iter().cloned()).collect();
            learner.optimizer_step_multi(MultiGradientsParams { grads });
        } else {
            learner.optimizer_step(by_device.remove(0));
        }
    }
}

/// Sums each parameter's gradients in the devices' order, at the device that updates the parameter, and leaves the
/// others without.
///
/// burn would sum them itself, beginning with a device that it chooses by the parameter's id. Those are random, so
/// that with three devices two runs would not add in the same order.
struct Sum<'a> {
    devices: &'a [Device],
    sharded: bool,
    by_device: Vec<GradientsParams>,
    parameters: usize,
}

impl ModuleVisitor for Sum<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let owner = if self.sharded { self.parameters % self.devices.len() } else { 0 };
        let gradients = self.by_device.iter_mut().filter_map(|gradients| gradients.remove::<D>(param.id));
        let sum = gradients
            .map(|gradient| gradient.to_device(&self.devices[owner].clone().inner()))
            .reduce(|sum, gradient| sum + gradient);
        if let Some(sum) = sum {
            self.by_device[owner].register(param.id, sum);
            self.parameters += 1;
        }
    }
}
