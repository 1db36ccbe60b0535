//! One training step on one device or several: a batch for each, with gradients summed in the order of the
//! devices.
//!
//! burn's own step for several devices (`MultiDevicesTrainStep`) adds gradients in the order in which they
//! arrive, and shares running statistics between threads, so that two runs differ. Here the loop's thread
//! gives work to one device after the other. The devices still compute at the same time: a GPU or another
//! machine takes work without waiting for it.

use burn::module::{ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams, MultiGradientsParams};
use burn::tensor::{Device, Tensor};
use burn::train::{
    ExecutionStrategy, Learner, LearnerModel, MultiDeviceOptim, TrainOutput, TrainStep, TrainingStrategy,
};
use burn_environment::device_name;

use crate::error::{Error, Result};
use crate::learner_state::recomputation::training_device;
use crate::process::console::warn;
use crate::remote::device_names::{IROH, REMOTE};

/// The devices that a run trains on. The first has the model.
pub(crate) struct TrainingDevices {
    all: Vec<Device>,
    optim: MultiDeviceOptim,
}

impl TrainingDevices {
    /// At least one device. `optim` says where the optimizer works when there are several. `recomputes`: the
    /// model computes activations in the backward pass again, instead of keeping them.
    pub(crate) fn new(devices: &[Device], optim: MultiDeviceOptim, recomputes: bool) -> Self {
        let all = devices.iter().map(|device| training_device(device.clone(), recomputes)).collect();
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
        // All copies of a model share the running statistics, which move with it. So the updates of the
        // device before are applied first.
        drop(model.valid());
        TrainStep::step(&model.fork(&self.all[device]), batch)
    }

    /// Waits until several devices have done their work so far, such as the model's initial values. The
    /// devices of one server draw from one random stream, and a seed for one of them would change the numbers
    /// of the others.
    pub(crate) fn settle(&self) {
        if self.all.len() < 2 {
            return;
        }
        for device in &self.all {
            if let Err(error) = device.sync() {
                // If training is affected, the first step fails.
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

/// What a program says of the devices of a run.
pub(crate) struct DeviceSettings {
    /// Empty: the device that the model is on.
    pub(crate) named: Vec<Device>,
    /// Where the optimizer works with several devices.
    pub(crate) optim: MultiDeviceOptim,
}

impl Default for DeviceSettings {
    fn default() -> Self {
        Self { named: Vec::new(), optim: MultiDeviceOptim::OptimMainDevice }
    }
}

impl DeviceSettings {
    /// The devices to train a model on.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when tensors cannot be moved between them.
    pub(crate) fn of_run<M: LearnerModel>(&self, model: &M) -> Result<Vec<Device>> {
        if self.named.is_empty() {
            // That of the first parameter, as burn chooses it.
            return Ok(vec![model.devices().into_iter().next().unwrap_or_default()]);
        }
        check(&self.named)?;
        Ok(self.named.clone())
    }
}

/// Checks that tensors can be moved between the devices, where burn would panic, and warns of what is not
/// reproducible.
fn check(devices: &[Device]) -> Result<()> {
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

/// The devices of a loop that is not the trainer's. For a custom strategy, those of the model.
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

/// The gradients for the next optimizer step, by device.
pub(crate) struct StepGradients<'a, M> {
    devices: &'a TrainingDevices,
    by_device: Vec<GradientsAccumulator<M>>,
    /// The gradients of a step that has one batch, so that there is nothing to sum.
    single: Option<GradientsParams>,
    has_single_batch: bool,
}

impl<'a, M: LearnerModel> StepGradients<'a, M> {
    /// `accumulates`: each device has several batches in an optimizer step.
    pub(crate) fn new(devices: &'a TrainingDevices, accumulates: bool) -> Self {
        let by_device = devices.all.iter().map(|_| GradientsAccumulator::new()).collect();
        Self { devices, by_device, single: None, has_single_batch: devices.all.len() == 1 && !accumulates }
    }

    /// Adds the gradients of a batch on one of the devices.
    pub(crate) fn add(&mut self, learner: &Learner<M>, device: usize, gradients: GradientsParams) {
        if self.has_single_batch {
            self.single = Some(gradients);
        } else {
            self.by_device[device].accumulate(&learner.model(), gradients);
        }
    }

    /// The gradients of the step, and starts with none again. Of one device, or of a divided optimizer on
    /// each device; otherwise all are on the first.
    pub(crate) fn sum(&mut self, learner: &Learner<M>) -> SummedGradients {
        if let Some(gradients) = self.single.take() {
            return SummedGradients(vec![gradients]);
        }
        let by_device: Vec<GradientsParams> =
            self.by_device.iter_mut().map(GradientsAccumulator::grads).collect();
        if by_device.len() == 1 {
            return SummedGradients(by_device);
        }
        let sharded = matches!(self.devices.optim, MultiDeviceOptim::OptimSharded);
        let mut sum = GradientSum { devices: &self.devices.all, sharded, by_device, parameters: 0 };
        learner.model().visit(&mut sum);
        let mut by_device = sum.by_device;
        if !sharded {
            by_device.truncate(1);
        }
        SummedGradients(by_device)
    }
}

/// The gradients of an optimizer step, by the device that updates the parameters.
pub(crate) struct SummedGradients(pub(crate) Vec<GradientsParams>);

impl SummedGradients {
    /// Does the optimizer step.
    pub(crate) fn apply<M: LearnerModel>(mut self, devices: &TrainingDevices, learner: &mut Learner<M>) {
        if self.0.len() == 1 {
            return learner.optimizer_step(self.0.remove(0));
        }
        let grads = self.0.into_iter().zip(devices.all.iter().cloned()).collect();
        learner.optimizer_step_multi(MultiGradientsParams { grads });
    }
}

/// Sums each parameter's gradients in the order of the devices. Afterwards only the device that updates the
/// parameter has a gradient for it.
///
/// burn would sum them too, beginning with a device that it chooses by the parameter's id. Ids are random, so
/// with three devices two runs would add in different orders.
struct GradientSum<'a> {
    devices: &'a [Device],
    sharded: bool,
    by_device: Vec<GradientsParams>,
    parameters: usize,
}

impl ModuleVisitor for GradientSum<'_> {
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
