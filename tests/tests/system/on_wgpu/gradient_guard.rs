//! The gradient guard on a device that computes while the loop does other things: no step waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use backend::Backend;
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};
use burn::train::metric::LossMetric;
use burn::train::{Learner, RegressionOutput};
use burn_trainer::Trainer;
use burn_trainer::callbacks::{
    Callback, CallbackContext, CallbackResult, GradientGuard, Gradients, LoggedScalar, NonFinite,
};
use parking_lot::Mutex;
use system_tests::config;
use system_tests::models::small::{BATCH, Model, Script, shuffling};

/// How long the device is busy with something else in each of these steps.
const BUSY: Duration = Duration::from_secs(2);
/// A loop that has not waited for the device leaves the guard long before the work is done. The thread that
/// waits for the work sees its end within this time.
const SEEN_WITHIN: Duration = Duration::from_millis(250);
/// A product takes at least this. Of many short ones burn's queue takes some only when others are done, so
/// that little is left to do when the loop continues.
const MEASURABLE: Duration = Duration::from_millis(100);
const SMALLEST: usize = 128;
const LARGEST: usize = 8192;
/// How often a guard that does not wait may be seen to be late.
const ATTEMPTS: usize = 5;
/// The kernels of the first steps are compiled first.
const STEPS: std::ops::RangeInclusive<u64> = 4..=5;

/// Work for a device that takes [`BUSY`].
#[derive(Debug, Clone, Copy)]
struct Work {
    side: usize,
    products: usize,
}

impl Work {
    fn begin(self, device: &Device) -> Tensor<2> {
        let matrix = Tensor::<2>::zeros([self.side, self.side], device);
        (0..self.products).fold(matrix.clone(), |product, _| product.matmul(matrix.clone()))
    }

    fn measured(self, device: &Device) -> Duration {
        let begun = Instant::now();
        let _ = self.begin(device).into_data().try_to_vec::<f32>().unwrap();
        begun.elapsed()
    }

    fn for_device(device: &Device) -> Self {
        let mut one = Self { side: SMALLEST, products: 1 };
        // The first product of a size compiles its kernel.
        while one.measured(device).min(one.measured(device)) < MEASURABLE && one.side < LARGEST {
            one.side *= 2;
        }
        let few = Self { products: 8, ..one };
        let each = few.measured(device) / 8;
        Self { products: (BUSY.as_secs_f64() / each.as_secs_f64()).ceil() as usize, ..one }
    }
}

/// The guard, in steps in which the device has other work to do before.
struct OnBusyDevice {
    guard: GradientGuard,
    work: Work,
    running: Option<RunningWork>,
    /// Of each of these steps, whether the work was done when the guard was.
    has_waited: Arc<Mutex<Vec<bool>>>,
}

struct RunningWork {
    is_done: Arc<AtomicBool>,
    reader: JoinHandle<()>,
    /// A second owner keeps burn from releasing the tensor while the thread asks for it.
    _result: Tensor<2>,
}

impl RunningWork {
    fn begin(work: Work, device: &Device) -> Self {
        let result = work.begin(device);
        let (read, is_done) = (result.clone(), Arc::new(AtomicBool::new(false)));
        let done = Arc::clone(&is_done);
        let reader = spawn(move || {
            let _ = read.into_data().try_to_vec::<f32>().unwrap();
            done.store(true, Ordering::SeqCst);
        });
        Self { is_done, reader, _result: result }
    }

    fn is_done_soon(&self) -> bool {
        let begun = Instant::now();
        while !self.is_done.load(Ordering::SeqCst) && begun.elapsed() < SEEN_WITHIN {
            sleep(Duration::from_millis(1));
        }
        self.is_done.load(Ordering::SeqCst)
    }
}

impl Callback<Model> for OnBusyDevice {
    fn name(&self) -> String {
        Callback::<Model>::name(&self.guard)
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        Callback::<Model>::scalars(&self.guard)
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.guard.on_fit_start(context)
    }

    fn on_train_batch_end(
        &mut self,
        context: &mut CallbackContext<'_, Model>,
        output: &RegressionOutput,
    ) -> CallbackResult {
        if STEPS.contains(&context.batch()) {
            self.running = Some(RunningWork::begin(self.work, context.device()));
        }
        self.guard.on_train_batch_end(context, output)
    }

    fn on_before_optimizer_step(
        &mut self,
        context: &mut CallbackContext<'_, Model>,
        gradients: &mut Gradients<'_, Model>,
    ) -> CallbackResult {
        self.guard.on_before_optimizer_step(context, gradients)?;
        if let Some(running) = self.running.take() {
            self.has_waited.lock().push(running.is_done_soon());
            running.reader.join().map_err(|_| "the work failed")?;
        }
        Ok(())
    }
}

/// In which steps the loop has waited for the device within the guard.
fn waits(guard: GradientGuard, work: Work, device: &Device) -> Vec<bool> {
    let root = tempfile::tempdir().unwrap();
    let (script, has_waited) = (Script::default(), Arc::default());
    let busy = OnBusyDevice { guard, work, running: None, has_waited: Arc::clone(&has_waited) };
    let config = config(root.path(), 1).with_max_steps(*STEPS.end()).with_checkpoint_saving(false);
    let trainer = Trainer::new(config, &script.hparams()).unwrap().callback(busy);
    let training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metrics((LossMetric::new(),));
    let model = Model::new(script, &device.clone().autodiff());
    trainer.fit(training, Learner::new(model, AdamConfig::new().init(), 1e-2)).unwrap();
    Arc::into_inner(has_waited).unwrap().into_inner()
}

fn clipping() -> GradientGuard {
    GradientGuard::new().with_clip_norm(0.5)
}

#[test]
fn no_step_waits_for_the_device_unless_the_check_has_to_come_before_it() {
    let device = super::device(Backend::Wgpu);
    let work = Work::for_device(&device);
    let guards: [fn() -> GradientGuard; 2] = [clipping, || clipping().with_clip_value(0.1)];
    for never_waits in guards {
        // A device in software takes the processor from the loop, which then comes too late to see it busy.
        // A guard that waits is late in each step.
        let mut attempts = (0..ATTEMPTS).map(|_| waits(never_waits(), work, &device));
        assert!(attempts.any(|waits| waits.contains(&false)), "{work:?}");
    }
    // A guard that waits is seen.
    for waiting in [
        clipping().with_checks_before_step(true),
        clipping().with_non_finite(NonFinite::Skip { most_in_a_row: 3 }),
    ] {
        assert!(waits(waiting, work, &device).contains(&true), "{work:?}");
    }
}
