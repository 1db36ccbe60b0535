//! burn's own loops: `Trainer::fit_with` saves at the ends of epochs what `Trainer::fit` would save there,
//! and each resumes where the other stopped.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use burn::data::dataloader::DataLoader;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::optim::SgdConfig;
use burn::tensor::Device;
use burn::tensor::distributed::{DistributedConfig, ReduceOperation};
use burn::train::metric::LossMetric;
use burn::train::{ExecutionStrategy, Learner, MultiDeviceOptim, TrainingStrategy};
use burn_ckpt::{Checkpoint, ErrorKind};
use burn_trainer::burn_ckpt::retention::TopK;
use burn_trainer::burn_loops::ddp;
use burn_trainer::strategy::{Best, Last, OnException, StrategyConfig};
use burn_trainer::{Error, FitResult, Result, ResumableDataLoader, RunOutcome, Trainer, TrainerConfig};
use system_tests::backend;
use system_tests::models::small::{
    Batch, Model, Script, ScriptedMetric, keeping_every_epoch, learner, loader, stopper, stopping_after,
    train_scripted_with_strategy, train_with_strategy,
};
use system_tests::programs::test_alone::said_alone;
use system_tests::run_files::{
    checkpoints, described_state, files, in_memory, last_epochs, metadata, stems, target,
};
use system_tests::{config, train, train_scripted};

fn single() -> ExecutionStrategy {
    ExecutionStrategy::single(backend::device())
}

fn multi() -> ExecutionStrategy {
    ExecutionStrategy::multi(vec![backend::device(), backend::device()], MultiDeviceOptim::OptimMainDevice)
}

fn scripted(
    config: TrainerConfig,
    script: Script,
    strategy: impl Into<TrainingStrategy<Model>>,
) -> Result<FitResult<Model>> {
    train_scripted_with_strategy(config, script, strategy, |training| training.metrics((LossMetric::new(),)))
}

fn error(result: Result<FitResult<Model>>) -> Error {
    result.map(|_| ()).unwrap_err()
}

#[test]
fn the_files_are_those_that_our_own_loop_writes() {
    let (ours, burns) = (in_memory(), in_memory());
    let expected = train(keeping_every_epoch(ours.path(), 3)).unwrap();
    let result = train_with_strategy(keeping_every_epoch(burns.path(), 3), single()).unwrap();
    let (ours, burns) = (checkpoints(ours.path()), checkpoints(burns.path()));
    assert_eq!(files(&ours), files(&burns));
    for link in ["last.ckpt", "best_val_loss.ckpt"] {
        assert_eq!(target(&ours.join(link)), target(&burns.join(link)));
        assert_eq!(described_state(&ours.join(link)), described_state(&burns.join(link)));
        let sections = |path: &Path| Checkpoint::open(path.join(link)).unwrap().sections().to_vec();
        assert_eq!(sections(&ours), sections(&burns));
    }
    assert_eq!(expected.metrics, result.metrics);
    let totals = |result: &FitResult<Model>| (result.epochs, result.global_step, result.saves);
    assert_eq!(totals(&expected), totals(&result));
}

#[test]
fn several_devices_of_burns_save_the_best_and_the_last_epoch() {
    let root = in_memory();
    let result = train_with_strategy(config(root.path(), 3), multi()).unwrap();
    assert_eq!((result.epochs, result.global_step), (3, 30), "each device takes a batch in a step");
    assert!(!result.last_save_failed && result.failed_saves.is_empty() && result.outcome.is_done());
    let (best, last) = (result.best().unwrap(), result.last().unwrap());
    assert_eq!(last.path.file_stem().unwrap(), "epoch=2-step=30");
    for held in [best, last] {
        let checkpoint = Checkpoint::open(&held.path).unwrap();
        checkpoint.verify().unwrap();
        checkpoint.load_into(learner(Script::default()).model()).unwrap();
    }
    let described = metadata(&best.path);
    assert_eq!(described["metrics"]["val_loss"].as_f64().unwrap(), best.score);
}

#[test]
fn a_run_resumes_with_the_next_epoch_and_changes_between_the_loops() {
    let (whole, parts) = (in_memory(), in_memory());
    train(keeping_every_epoch(whole.path(), 4)).unwrap();
    // Ours, burn's, burn's, ours.
    train(keeping_every_epoch(parts.path(), 1)).unwrap();
    for epochs in [2, 3] {
        let result = train_with_strategy(keeping_every_epoch(parts.path(), epochs), single()).unwrap();
        assert_eq!((result.epochs, result.global_step, result.saves), (epochs as u64, 10 * epochs as u64, 1));
    }
    train(keeping_every_epoch(parts.path(), 4)).unwrap();
    assert_eq!(last_epochs(whole.path()), last_epochs(parts.path()), "no epoch twice, and none left out");
    for stem in last_epochs(whole.path()) {
        let state = |root| described_state(&checkpoints(root).join(format!("last/{stem}.ckpt")));
        assert_eq!(state(whole.path()), state(parts.path()), "{stem}, its history included");
    }
}

#[test]
fn a_run_on_several_devices_resumes_with_each_item_of_the_next_epoch_once() {
    struct Recorder {
        seen: Arc<Mutex<Vec<usize>>>,
        batch: Batch,
    }
    impl Batcher<usize, Batch> for Recorder {
        fn batch(&self, items: Vec<usize>, _device: &Device) -> Batch {
            self.seen.lock().unwrap().extend(items);
            self.batch.clone()
        }
    }
    let run = |root: &Path, epochs| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let batch = loader(&Script::default()).iter().next().unwrap().unwrap();
        let recorder = Recorder { seen: seen.clone(), batch };
        let data: Arc<dyn DataLoader<Batch>> = ResumableDataLoader::builder(recorder)
            .batch_size(3)
            .shuffle(1)
            .build(InMemDataset::new((0..26).collect()));
        let trainer = Trainer::new(keeping_every_epoch(root, epochs), &()).unwrap();
        let training = trainer.training(data, loader(&Script::default())).metrics((LossMetric::new(),));
        let result = trainer.fit_with(training, learner(Script::default()), multi()).unwrap();
        assert_eq!(result.global_step, 5 * epochs as u64, "13 items for each device");
        seen.lock().unwrap().clone()
    };
    let (whole, parts) = (in_memory(), in_memory());
    let expected = run(whole.path(), 3);
    let parts = [run(parts.path(), 1), run(parts.path(), 3)].concat();
    assert_eq!(expected, parts);
    for epoch in parts.chunks(26) {
        let mut items = epoch.to_vec();
        items.sort_unstable();
        assert!(items.into_iter().eq(0..26));
    }
}

#[test]
fn the_best_list_continues() {
    let root = in_memory();
    let run = |epochs, scores: &[f64]| {
        let best = Best::new().with_topk(2).with_filename("{epoch}");
        let config = config(root.path(), epochs)
            .with_primary_metric("val_score")
            .with_strategies([StrategyConfig::Best(best), StrategyConfig::Last(Last::default())])
            .with_ckpt_path("auto");
        let metric = ScriptedMetric::new("Score", scores);
        train_scripted_with_strategy(config, Script::default(), multi(), |training| {
            training.metric_valid_numeric(metric)
        })
        .unwrap()
    };
    run(3, &[1.0, 3.0, 2.0]);
    assert_eq!(stems(&checkpoints(root.path()).join("best")), ["0", "2"]);
    run(5, &[5.0, 1.5]);
    assert_eq!(stems(&checkpoints(root.path()).join("best")), ["0", "4"]);
    assert_eq!(target(&checkpoints(root.path()).join("best_val_score.ckpt")), Path::new("best/0.ckpt"));

    let finished = run(5, &[0.1]);
    assert!(finished.finished_before && finished.saves == 0);
    assert_eq!(finished.best().unwrap().path.file_stem().unwrap(), "0");
}

#[test]
fn a_panic_within_burns_loop_is_an_error_and_the_epoch_before_it_stands() {
    for (strategy, step) in [(single(), 17), (multi(), 33)] {
        let root = in_memory();
        let script = Script { panic_in_step: Some(step), ..Script::default() };
        let is_single = matches!(strategy, ExecutionStrategy::SingleDevice(_));
        match error(scripted(keeping_every_epoch(root.path(), 3), script, strategy)) {
            Error::Panicked { message, saved: None } if is_single => {
                assert!(message.contains("told to panic"))
            }
            Error::Training { source, saved: None } if !is_single => {
                assert!(source.to_string().contains("told to panic"));
            }
            other => panic!("{other}"),
        }
        assert_eq!(last_epochs(root.path()), ["epoch=0-step=10"]);
        Checkpoint::open(checkpoints(root.path()).join("last.ckpt")).unwrap().verify().unwrap();
        let result = train_with_strategy(keeping_every_epoch(root.path(), 2), multi()).unwrap();
        assert_eq!((result.epochs, result.global_step), (2, 20));
    }
}

#[test]
fn a_stop_is_reported_and_the_epoch_before_it_stands() {
    let root = in_memory();
    let trainer = Trainer::new(keeping_every_epoch(root.path(), 3), &()).unwrap();
    let data = || loader(&Script::default());
    let training = trainer.training(data(), data()).metrics((LossMetric::new(),));
    let at_step = Some((25, stopper(training.interrupter(), false)));
    let script = Script { at_step, ..Script::default() };
    let result = trainer.fit_with(training, learner(script), multi()).unwrap();
    let reason = "the test called stop".to_owned();
    assert_eq!(result.outcome, RunOutcome::Stopped { reason, signal: None });
    assert_eq!(
        (result.epochs, result.last().unwrap().path.file_stem().unwrap()),
        (1, "epoch=0-step=10".as_ref())
    );
}

#[test]
fn a_checkpoint_within_an_epoch_is_skipped_and_is_an_error_where_there_is_no_other() {
    let root = in_memory();
    let script = |panic_in_step| Script { panic_in_step: Some(panic_in_step), ..Script::default() };
    assert!(train_scripted(keeping_every_epoch(root.path(), 3), script(7)).is_err());
    // Nothing but the middle of the first epoch is there.
    let nothing = error(train_with_strategy(keeping_every_epoch(root.path(), 3), multi()));
    let Error::NothingToResume { skipped, .. } = &nothing else { panic!("{nothing}") };
    assert!(!skipped.is_empty() && skipped.iter().all(|it| it.kind == ErrorKind::Mismatch), "{skipped:?}");
    let said = nothing.to_string();
    assert!(said.contains("it was saved within epoch 1 (counted from 1)"), "{said}");
    assert!(said.contains("finish the epoch with Trainer::fit") && !said.contains("overwrite"), "{said}");

    // With our loop to the end of epoch 1, and into the next one.
    let Error::Panicked { saved: Some(newest), .. } =
        error(train_scripted(keeping_every_epoch(root.path(), 3), script(7)))
    else {
        panic!("it was not saved");
    };
    let explicit = keeping_every_epoch(root.path(), 3).with_ckpt_path(newest.to_str().unwrap());
    let middle = error(train_with_strategy(explicit, multi()));
    assert!(matches!(middle, Error::MidEpoch { epoch: 1, .. }), "{middle}");

    let result = train_with_strategy(keeping_every_epoch(root.path(), 3), multi()).unwrap();
    assert_eq!(result.resumed_from.unwrap().file_stem().unwrap(), "epoch=0-step=10");
    assert_eq!(last_epochs(root.path()), ["epoch=0-step=10", "epoch=1-step=20", "epoch=2-step=30"]);
}

#[test]
fn what_does_not_fit_is_an_error_before_the_first_step() {
    let root = in_memory();
    train_with_strategy(config(root.path(), 1), multi()).unwrap();
    let again = || config(root.path(), 2).with_ckpt_path("last");
    let wide = Script { hidden: 9, ..Script::default() };
    let text = error(scripted(again(), wide, multi())).to_string();
    assert!(text.contains("input.weight is [4, 6] in the checkpoint and [4, 9] in the model"), "{text}");

    let trainer = Trainer::new(again(), &()).unwrap();
    let data = || loader(&Script::default());
    let training = trainer.training(data(), data()).metrics((LossMetric::new(),));
    let plain = Learner::new(learner(Script::default()).model(), SgdConfig::new().init(), 1e-2);
    let text = error(trainer.fit_with(training, plain, multi())).to_string();
    assert!(text.contains("does not know its optimizer."), "{text}");

    let trainer = Trainer::new(again(), &()).unwrap().devices([backend::device()]);
    let training = trainer.training(data(), data()).metrics((LossMetric::new(),));
    let text = error(trainer.fit_with(training, learner(Script::default()), multi())).to_string();
    assert!(text.contains("leave Trainer::devices out"), "{text}");
    assert_eq!(last_epochs(root.path()), ["epoch=0-step=10"]);
}

/// Has the directory, in the process that the test starts.
const WITHOUT_EFFECT: &str = "TEST_SETTINGS_WITHOUT_EFFECT_IN";

#[test]
fn settings_that_another_loop_does_not_have_are_said() {
    let Some(root) = std::env::var_os(WITHOUT_EFFECT) else {
        let root = in_memory();
        let test = "settings_that_another_loop_does_not_have_are_said";
        let said = said_alone(module_path!(), test, WITHOUT_EFFECT, root.path());
        let [plain, set, listed, _] = said.split("NEXT").collect::<Vec<_>>()[..] else { panic!("{said}") };
        let warning = "without effect in fit_with, ";
        assert_eq!(plain.matches(warning).count(), 0, "{plain}");
        for (said, names) in [
            (
                set,
                "warning: last.every_epoch, last.every_n_steps, last.save_on_time_interval and on_exception are without effect",
            ),
            (listed, "warning: strategies.1 (on_exception) is without effect"),
        ] {
            assert_eq!((said.matches(warning).count(), said.matches(names).count()), (1, 1), "{said}");
        }
        return;
    };
    let run = |id: &str, set_up: fn(TrainerConfig) -> TrainerConfig| {
        let config = config(Path::new(&root), 1).with_run_id(id).with_primary_metric("val_loss");
        train_with_strategy(set_up(config), single()).unwrap();
        eprintln!("NEXT");
    };
    run("plain", |config| config);
    run("set", |config| {
        let last = Last::new().with_every_epoch(false).with_every_n_steps(3);
        let last = last.with_save_on_time_interval(Duration::from_secs(60));
        config.with_last(last).with_on_exception(OnException::new())
    });
    run("listed", |config| {
        let on_exception = StrategyConfig::OnException(OnException::new());
        config.with_strategies([StrategyConfig::Last(Last::new()), on_exception])
    });
}

#[test]
fn the_newest_state_is_that_of_each_epoch_also_where_it_was_to_be_saved_by_steps() {
    let last = || Last::new().with_every_epoch(false).with_every_n_steps(1000).with_topk(TopK::All);
    let of_each = ["epoch=0-step=10", "epoch=1-step=20", "epoch=2-step=30"];
    let root = in_memory();
    train_with_strategy(config(root.path(), 3).with_last(last()), single()).unwrap();
    assert_eq!(last_epochs(root.path()), of_each);
    // burn's early stopping decides after the saves of an epoch.
    let root = in_memory();
    let stopping = config(root.path(), 9).with_strategies([StrategyConfig::Last(last())]);
    let result = train_scripted_with_strategy(stopping, Script::default(), single(), |training| {
        let score = ScriptedMetric::new("Score", &[1.0, 2.0, 3.0, 4.0]);
        let stopping = stopping_after(2, &score);
        training.metrics((LossMetric::new(),)).metric_valid_numeric(score).early_stopping(stopping)
    });
    assert_eq!(result.unwrap().epochs, 3);
    assert_eq!(last_epochs(root.path()), of_each);
}

#[test]
fn where_an_optimizer_is_placed_is_an_error_in_another_loop() {
    let root = in_memory();
    let trainer = Trainer::new(config(root.path(), 1), &()).unwrap();
    let trainer = trainer.optimizer_placement(MultiDeviceOptim::OptimSharded);
    let data = || loader(&Script::default());
    let training = trainer.training(data(), data()).metrics((LossMetric::new(),));
    match error(trainer.fit_with(training, learner(Script::default()), multi())) {
        Error::Config { setting, reason } => {
            assert!(setting == "Trainer::optimizer_placement" && reason.contains("strategy"), "{reason}");
        }
        other => panic!("{other}"),
    }
    assert!(!checkpoints(root.path()).join("last").exists());
}

#[test]
fn a_name_that_no_metric_has_ends_training_at_its_first_batches() {
    let root = in_memory();
    let named = |name: &str| config(root.path(), 2).with_primary_metric(name.to_owned());
    let unknown = error(train_with_strategy(named("val_accuracy"), multi()));
    assert!(matches!(unknown, Error::UnknownMetric { .. }), "{unknown}");
    let metric = LossMetric::new();
    let unlogged =
        error(train_scripted_with_strategy(named("val_loss"), Script::default(), multi(), |training| {
            training.metric_train_numeric(metric)
        }));
    assert!(matches!(unlogged, Error::MetricNotLogged { .. }), "{unlogged}");
    assert!(!checkpoints(root.path()).join("last").exists());
}

#[test]
fn devices_without_collectives_are_an_error_before_training() {
    let config = || DistributedConfig { all_reduce_op: ReduceOperation::Mean };
    // Of wgpu burn finds out later.
    for devices in [vec![Device::flex(), Device::flex()], vec![Device::flex().autodiff()], vec![]] {
        let error = ddp(devices, config()).map(|_| ()).unwrap_err();
        assert!(matches!(&error, Error::Config { setting, .. } if setting == "devices"), "{error}");
    }
}
