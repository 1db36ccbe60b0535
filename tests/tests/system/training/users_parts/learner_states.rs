//! Optimizers and schedulers of a user's own, whose states burn's rules do not bind.

use std::path::Path;

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::AdamConfig;
use burn::train::Learner;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{FitResult, Result, Trainer};
use system_tests::models::small::{Model, Script, loader};
use system_tests::run_files::{compare, in_memory, run_dir};
use system_tests::{backend, config};

/// Keeps what no scheduler of burn's has: an infinite value, a state of random numbers, an offset below 0.
#[derive(Clone)]
struct Wandering {
    best: f64,
    random: u64,
    offset: i64,
}

impl LrScheduler for Wandering {
    fn step(&mut self) -> f64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.offset -= 1;
        1e-2 + 1e-3 * (self.random >> 40) as f64 / (1u64 << 24) as f64
    }

    fn to_record(&self) -> LrSchedulerRecord {
        let record = LrSchedulerRecord::new().with_scalar("best", self.best);
        record.with_scalar("random", self.random).with_scalar("offset", self.offset)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        self.best = record.scalar("best").unwrap();
        self.random = record.scalar("random").unwrap();
        self.offset = record.scalar("offset").unwrap();
    }
}

fn train(root: &Path, name: &'static str, epochs: usize) -> Result<FitResult<Model>> {
    /// The same under a name of burn's.
    #[derive(Clone)]
    struct Named(Wandering, &'static str);

    impl LrScheduler for Named {
        fn step(&mut self) -> f64 {
            self.0.step()
        }

        fn to_record(&self) -> LrSchedulerRecord {
            self.0.to_record().with_scalar(self.1, f64::INFINITY)
        }

        fn load_record(&mut self, record: LrSchedulerRecord) {
            self.0.load_record(record);
        }
    }

    let script = Script::default();
    let trainer = Trainer::new(config(root, epochs).with_ckpt_path("auto"), &script.hparams())?;
    let training = trainer.training(loader(&script), loader(&script));
    let training = training.metrics((burn::train::metric::LossMetric::new(),));
    let model = Model::new(script, &backend::device().autodiff());
    let scheduler = Wandering { best: f64::INFINITY, random: u64::MAX - 7, offset: -1 };
    trainer.fit(training, Learner::new(model, AdamConfig::new().init_streamed(), Named(scheduler, name)))
}

#[test]
fn a_state_of_a_schedulers_own_resumes_to_the_same_bytes() {
    let (whole, parts) = (in_memory(), in_memory());
    train(whole.path(), "longest", 3).unwrap();
    for epochs in [1, 3] {
        train(parts.path(), "longest", epochs).unwrap();
    }
    compare(&run_dir(whole.path()), &run_dir(parts.path())).unwrap();
}

#[test]
fn a_state_that_no_run_could_resume_from_is_said_when_it_is_saved() {
    let root = in_memory();
    let result = train(root.path(), "previous_lr", 1).unwrap();
    let (step, error) = result.failed_saves.first().unwrap();
    let error = error.to_string();
    assert_eq!(*step, 10);
    assert!(error.contains("no run could resume from it: the value scheduler.0.previous_lr is"), "{error}");
    assert!(result.last_save_failed && result.checkpoints.is_empty());
}
