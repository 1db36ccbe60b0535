//! States with values that are not finite: never the best, never what `auto` resumes, and no finite one is
//! deleted for them.

use std::path::Path;

use burn::module::{Module, Param};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};
use burn::train::metric::LossMetric;
use burn::train::{InferenceStep, Learner, RegressionOutput, TrainOutput, TrainStep};
use burn_ckpt::{Catalog, Checkpoint, Contents, Metadata, RunLayout, Section};
use burn_trainer::strategy::{Best, Last, OnException, StrategyConfig};
use burn_trainer::{Result, Trainer, TrainerConfig};
use system_tests::models::small::{Batch, Model, Poison, Script, config, loader, stopper, train_by};
use system_tests::programs::commands::{burn_ckpt, stderr, stdout};
use system_tests::run_files::{checkpoints, in_memory, run_dir, target};

/// With the three strategies, each for one checkpoint, and a save at every fifth step.
fn settings(root: &Path, epochs: usize) -> TrainerConfig {
    config(root, epochs).with_ckpt_path("auto").with_strategies([
        StrategyConfig::Best(Best::new().with_topk(2)),
        StrategyConfig::Last(Last::new().with_every_n_steps(5)),
        StrategyConfig::OnException(OnException::default()),
    ])
}

/// Trains with a gradient of NaN in the third step of the second epoch, after which all parameters are NaN.
fn poisoned(config: TrainerConfig, script: Script) -> Result<burn_trainer::FitResult<Model>> {
    train_by(config, script, |trainer| trainer.callback(Poison::new(&[(1, 3)], f32::NAN)))
}

/// Each checkpoint of a run: its name and whether it says that it is finite.
fn saved(root: &Path) -> Vec<(String, bool)> {
    let catalog = Catalog::scan(&RunLayout::at(run_dir(root))).unwrap();
    let directory = checkpoints(root);
    let name = |path: &Path| path.strip_prefix(&directory).unwrap().to_string_lossy().into_owned();
    let entries = catalog.entries.iter();
    entries.map(|entry| (name(&entry.path), entry.metadata.is_finite())).collect()
}

#[test]
fn the_last_finite_state_stays_last_and_best_and_is_what_auto_resumes() {
    let root = tempfile::tempdir().unwrap();
    let result = poisoned(settings(root.path(), 4), Script::default()).unwrap();
    assert_eq!(result.global_step, 40);
    let finite = |name: &str| (name.to_owned(), true);
    let step_10 = [finite("best/epoch=0-step=10.ckpt"), finite("last/epoch=0-step=10.ckpt")];
    assert_eq!(saved(root.path()), step_10);
    for link in ["last.ckpt", "best_val_loss.ckpt"] {
        assert!(target(&checkpoints(root.path()).join(link)).ends_with("epoch=0-step=10.ckpt"), "{link}");
    }
    let best = result.best().unwrap();
    assert!(best.is_finite && best.step == 10, "{best:?}");
    // What was NaN is trained again, without the fault.
    let result = train_by(settings(root.path(), 4), Script::default(), |trainer| trainer).unwrap();
    assert_eq!((result.global_step, result.epochs), (40, 4));
    assert!(result.metrics["val_loss"].is_finite());
    assert!(saved(root.path()).iter().all(|(_, finite)| *finite));
}

#[test]
fn what_a_failure_saves_is_passed_over_by_auto_and_resumed_by_its_name() {
    let root = tempfile::tempdir().unwrap();
    let failing = Script { panic_in_step: Some(18), ..Script::default() };
    poisoned(settings(root.path(), 4), failing).unwrap_err();
    let there = saved(root.path());
    let [exception] = &there.iter().filter(|(_, finite)| !finite).collect::<Vec<_>>()[..] else {
        panic!("{there:?}")
    };
    assert!(exception.0.starts_with("on_exception/"), "{there:?}");
    let path = checkpoints(root.path()).join(&exception.0);
    let metadata = Checkpoint::open(&path).unwrap().verify().unwrap();
    assert_eq!(metadata.global_step, 17);
    let found = metadata.found_non_finite().unwrap();
    assert!(found.count > 6 && found.first.as_deref() == Some("model.input.weight"), "{found:?}");
    let result = train_by(settings(root.path(), 2), Script::default(), |trainer| trainer).unwrap();
    assert!(result.metrics["val_loss"].is_finite());
    assert_eq!(result.resumed_from.unwrap().file_name().unwrap(), "epoch=0-step=10.ckpt");
    // By its name it is resumed all the same, and stays as it is.
    let other = tempfile::tempdir().unwrap();
    let named = config(other.path(), 3).with_ckpt_path(&path);
    let result = train_by(named, Script::default(), |trainer| trainer).unwrap();
    assert!(result.metrics["val_loss"].is_nan());
    assert!(saved(other.path()).iter().all(|(_, finite)| !finite));
}

#[test]
fn what_a_stop_saves_takes_the_place_of_no_finite_state() {
    let root = tempfile::tempdir().unwrap();
    let script = Script::default();
    let trainer = Trainer::new(settings(root.path(), 4), &script.hparams()).unwrap();
    let trainer = trainer.callback(Poison::new(&[(1, 3)], f32::NAN));
    let training = trainer.training(loader(&script), loader(&script)).metrics((LossMetric::new(),));
    let stop = Some((18, stopper(training.interrupter(), false)));
    let learner = system_tests::models::small::learner(Script { at_step: stop, ..script });
    let result = trainer.fit(training, learner).unwrap();
    assert!(result.outcome.is_stopped() && result.global_step == 18, "{:?}", result.outcome);
    assert!(saved(root.path()).iter().all(|(name, finite)| *finite && name.ends_with("step=10.ckpt")));
    let result = train_by(settings(root.path(), 2), Script::default(), |trainer| trainer).unwrap();
    assert!(result.metrics["val_loss"].is_finite());
}

#[test]
fn a_run_whose_states_are_all_not_finite_says_so_and_starts_no_new_one() {
    let root = tempfile::tempdir().unwrap();
    let broken = |config: TrainerConfig| {
        train_by(config, Script::default(), |trainer| trainer.callback(Poison::new(&[(0, 1)], f32::NAN)))
    };
    let result = broken(settings(root.path(), 2)).unwrap();
    assert!(result.best().is_none(), "none is the best: {:?}", result.best());
    assert_eq!(saved(root.path()), [("last/epoch=1-step=20.ckpt".to_owned(), false)]);
    let error = broken(settings(root.path(), 3)).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("name one as ckpt_path") && said.contains("overwrite"), "{said}");
    let burn_trainer::Error::NothingToResume { skipped, .. } = error else { panic!("{error}") };
    assert!(skipped.len() == 1 && skipped[0].reason.contains("not finite"), "{skipped:?}");
    // What it says helps.
    let again = settings(root.path(), 1).with_overwrite(true).with_ckpt_path("none");
    assert_eq!(broken(again).unwrap().global_step, 10);
}

#[test]
fn weights_to_begin_with_that_are_not_finite_make_no_state_finite() {
    let broken = in_memory();
    let poison = |trainer: Trainer<Model>| trainer.callback(Poison::new(&[(0, 1)], f32::NAN));
    train_by(settings(broken.path(), 1), Script::default(), poison).unwrap();
    let root = in_memory();
    let begun = |epochs| settings(root.path(), epochs).with_init_from(run_dir(broken.path()).join("last"));
    let result = train_by(begun(1), Script::default(), |trainer| trainer).unwrap();
    assert!(result.best().is_none(), "{:?}", result.best());
    assert_eq!(saved(root.path()), [("last/epoch=0-step=10.ckpt".to_owned(), false)]);
    let error = train_by(begun(2), Script::default(), |trainer| trainer).unwrap_err();
    assert!(matches!(&error, burn_trainer::Error::NothingToResume { .. }), "{error}");
}

/// The small model with a mask of which half is infinite, one that is trained (with zeros for gradients) and
/// one that is not.
#[derive(Module, Debug)]
struct Masked {
    inner: Model,
    fixed: Param<Tensor<1>>,
    trained: Param<Tensor<1>>,
}

impl Masked {
    fn new(script: Script, device: &Device) -> Self {
        let mask = || Tensor::<1>::from_floats([0.0, f32::NEG_INFINITY], device);
        let fixed = Param::from_tensor(mask()).set_require_grad(false);
        Self { inner: Model::new(script, device), fixed, trained: Param::from_tensor(mask()) }
    }
}

impl TrainStep for Masked {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> TrainOutput<RegressionOutput> {
        let item = InferenceStep::step(&self.inner, batch);
        let loss = item.loss.clone() + self.trained.val().exp().sum().mul_scalar(0.0).reshape([1]);
        TrainOutput::new(self, loss.backward(), item)
    }
}

impl InferenceStep for Masked {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> RegressionOutput {
        InferenceStep::step(&self.inner, batch)
    }
}

#[test]
fn a_model_that_has_infinite_values_from_its_start_is_finite() {
    let root = tempfile::tempdir().unwrap();
    let train = |config: TrainerConfig| {
        let script = Script::default();
        let trainer: Trainer<Masked> = Trainer::new(config, &script.hparams()).unwrap();
        let training = trainer.training(loader(&script), loader(&script)).metrics((LossMetric::new(),));
        let model = Masked::new(script, &system_tests::backend::device().autodiff());
        trainer.fit(training, Learner::new(model, AdamConfig::new().init(), 1e-2)).unwrap()
    };
    train(settings(root.path(), 1));
    let result = train(settings(root.path(), 2));
    assert_eq!((result.global_step, result.resumed_from.is_some()), (20, true));
    assert!(saved(root.path()).iter().all(|(_, finite)| *finite));
    let last = Checkpoint::open(checkpoints(root.path()).join("last.ckpt")).unwrap().metadata().unwrap();
    // Also after the resume.
    assert_eq!(last.non_finite.unwrap().at_start, ["model.fixed", "model.trained"]);
    // And where it begins with weights of another run.
    let other = in_memory();
    train(settings(other.path(), 1).with_init_from(run_dir(root.path()).join("last")));
    assert!(saved(other.path()).iter().all(|(_, finite)| *finite));
}

#[test]
fn a_checkpoint_of_an_earlier_version_does_not_say_and_is_resumed() {
    let old = Metadata::new(jiff::Timestamp::now());
    assert!(old.non_finite.is_none() && old.is_finite());
    let read: Metadata = serde_json::from_str(&old.to_json().unwrap()).unwrap();
    assert_eq!(read.non_finite, None);
}

#[test]
fn ls_show_and_prune_say_it() {
    let root = tempfile::tempdir().unwrap();
    let failing = Script { panic_in_step: Some(18), ..Script::default() };
    poisoned(settings(root.path(), 4), failing).unwrap_err();
    let run = run_dir(root.path());
    let listed = burn_ckpt(&[&"ls", &run]);
    assert_eq!(stdout(&listed).matches("whole, not finite").count(), 1, "{}", stdout(&listed));
    let json = burn_ckpt(&[&"ls", &"--json", &run]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    let counts = json[0]["checkpoints"].as_array().unwrap().iter();
    let counts: Vec<u64> = counts.map(|row| row["non_finite"]["count"].as_u64().unwrap()).collect();
    assert!(counts[..2] == [0, 0] && counts[2] > 6, "{counts:?}");
    let broken = saved(root.path()).into_iter().find(|(_, finite)| !finite).unwrap().0;
    let shown = burn_ckpt(&[&"show", &checkpoints(root.path()).join(&broken)]);
    assert!(stdout(&shown).contains("not finite in"), "{}", stdout(&shown));
    // The newest is not finite, and `last=1` keeps the newest that is.
    let pruned = burn_ckpt(&[&"prune", &run, &"--keep", &"last=1", &"--dry-run"]);
    assert!(pruned.status.success(), "{}", stderr(&pruned));
    assert!(stdout(&pruned).contains(broken.rsplit('/').next().unwrap()), "{}", stdout(&pruned));
}

#[test]
fn a_programs_own_file_says_it_too_and_its_metadata_has_the_planned_length() {
    let directory = tempfile::tempdir().unwrap();
    let device = Device::default();
    let save = |name: &str, values: [f32; 3]| {
        let path = directory.path().join(name);
        let mut model = Section::new();
        model.push("a \"quoted\" näme\n".to_owned(), 1, Tensor::<1>::from_floats(values, &device));
        model.push("b".to_owned(), 2, Tensor::<1>::from_floats([0.0, 1.0, 2.0], &device));
        let contents = Contents::new(&()).unwrap().with_section(Section::MODEL, model);
        contents.save(&path, Metadata::new(jiff::Timestamp::UNIX_EPOCH)).unwrap();
        let metadata = Checkpoint::open(&path).unwrap().verify().unwrap();
        (std::fs::metadata(&path).unwrap().len(), metadata.non_finite.unwrap())
    };
    let (finite, nothing) = save("finite.ckpt", [0.0, 1.0, -1.0]);
    let (broken, found) = save("broken.ckpt", [0.0, f32::NAN, -1.0]);
    assert_eq!(finite, broken);
    assert_eq!((nothing.count, nothing.first), (0, None));
    assert_eq!((found.count, found.first.as_deref()), (1, Some("model.a \"quoted\" näme\n")));
}
