//! Wrong settings and empty data are errors before the first step, and leave nothing behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::train::metric::LossMetric;
use burn::train::{ExecutionStrategy, MultiDeviceOptim, SupervisedTraining};
use burn_trainer::process::PlainRenderer;
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::{Error, FitResult, Result, ResumableDataLoader, Trainer, TrainerConfig};
use system_tests::backend;
use system_tests::models::small::{
    Batch, ItemBatcher, Model, Script, ScriptedMetric, items, learner, loader, train_scripted,
};
use system_tests::programs::commands::{stderr, train_example};
use system_tests::run_files::{checkpoints, files, in_memory, run_dir, stems};
use system_tests::{config, train, train_with};

type Loader = Arc<dyn DataLoader<Batch>>;

/// Loaders that give no batch, each with what an error says of it.
fn without_batches() -> [(Loader, &'static [&'static str]); 4] {
    let ours = || ResumableDataLoader::builder(ItemBatcher);
    let burns = DataLoaderBuilder::new(ItemBatcher).batch_size(8).build(InMemDataset::new(Vec::new()));
    [
        (ours().batch_size(1000).drop_last(true).build(items()), &["80 items", "1000", "drop_last"]),
        (ours().build(InMemDataset::new(Vec::new())), &["no items"]),
        (burns, &["ended at once in epoch 1", "num_items() is 0"]),
        (loader(&Script { batches: Some(0), ..Script::default() }), &["ended at once in epoch 1"]),
    ]
}

fn fit(config: TrainerConfig, train: Loader, valid: Loader, in_burns_loop: bool) -> Result<FitResult<Model>> {
    let trainer = Trainer::new(config, &())?;
    let training = trainer.training(train, valid).metrics((LossMetric::new(),));
    let learner = learner(Script::default());
    if in_burns_loop {
        let devices = vec![backend::device(), backend::device()];
        trainer.fit_with(
            training,
            learner,
            ExecutionStrategy::multi(devices, MultiDeviceOptim::OptimMainDevice),
        )
    } else {
        trainer.fit(training, learner)
    }
}

fn no_batch(result: Result<FitResult<Model>>, split: &str, words: &[&str]) {
    let error = result.map(|_| ()).unwrap_err();
    let Error::NoBatch { split: of, reason } = &error else { panic!("{error}") };
    assert_eq!(of, split);
    assert!(words.iter().all(|word| reason.contains(word)), "{error}");
}

#[test]
fn data_without_a_batch_is_an_error_and_leaves_nothing() {
    let some = || loader(&Script::default());
    for in_burns_loop in [false, true] {
        for (nothing, words) in without_batches() {
            let root = in_memory();
            let words =
                if in_burns_loop && words[0].starts_with("ended") { &["ended at once"][..] } else { words };
            no_batch(fit(config(root.path(), 3), nothing, some(), in_burns_loop), "training", words);
            assert!(!run_dir(root.path()).exists() || in_burns_loop);
            // Never an untrained best.
            assert!(files(root.path()).iter().all(|name| !name.contains(".ckpt")));
        }
    }
}

#[test]
fn a_validation_without_a_batch_is_an_error_where_a_strategy_needs_it() {
    let some = || loader(&Script::default());
    let named = |root: &Path| {
        let last = Last::new().with_filename("{step}-{val_loss:.3}");
        config(root, 2).with_primary_metric("train_loss").with_strategies([StrategyConfig::Last(last)])
    };
    for in_burns_loop in [false, true] {
        for (nothing, words) in without_batches() {
            let words =
                if words[0].starts_with("ended") { &["ended at once", "val_loss"][..] } else { words };
            for ranked in [false, true] {
                let root = in_memory();
                let config = if ranked { config(root.path(), 2) } else { named(root.path()) };
                no_batch(fit(config, some(), Arc::clone(&nothing), in_burns_loop), "validation", words);
                let found = files(root.path());
                assert!(
                    found.iter().all(|name| !name.contains("best") && !name.contains("last")),
                    "{found:?}"
                );
            }
            let root = in_memory();
            let config = config(root.path(), 1).with_primary_metric("train_loss");
            assert_eq!(fit(config, some(), nothing, in_burns_loop).unwrap().epochs, 1, "nothing needs it");
        }
    }
}

#[test]
fn a_training_that_is_made_by_hand_is_checked_before_the_first_step_too() {
    let some = || loader(&Script::default());
    for (nothing, words) in without_batches().into_iter().take(2) {
        for (train, valid, split) in
            [(Arc::clone(&nothing), some(), "training"), (some(), Arc::clone(&nothing), "validation")]
        {
            let root = in_memory();
            let trainer = Trainer::new(config(root.path(), 1), &()).unwrap();
            let training =
                SupervisedTraining::new(trainer.run_dir(), train, valid).metrics((LossMetric::new(),));
            // Were a step to be taken, it would panic.
            let script = Script { panic_in_step: Some(1), ..Script::default() };
            let training = training.renderer(Box::new(PlainRenderer::hidden()));
            no_batch(trainer.fit(training, learner(script)), split, words);
        }
    }
}

#[test]
fn a_loader_that_gives_nothing_a_second_time_is_an_error() {
    /// A stream that is read once.
    struct Once(Loader, std::sync::atomic::AtomicBool);

    impl DataLoader<Batch> for Once {
        fn iter<'a>(&'a self) -> Box<dyn burn::data::dataloader::DataLoaderIterator<Batch> + 'a> {
            if self.1.swap(true, std::sync::atomic::Ordering::SeqCst) {
                return loader(&Script { batches: Some(0), ..Script::default() }).iter_of_a_leaked();
            }
            self.0.iter()
        }

        fn num_items(&self) -> usize {
            0
        }

        fn to_device(&self, device: &burn::tensor::Device) -> Loader {
            Arc::new(Self(self.0.to_device(device), false.into()))
        }

        fn slice(&self, _: usize, _: usize) -> Loader {
            unreachable!("for one device")
        }
    }

    /// An iterator over a loader that nothing else has.
    trait OfALeaked {
        fn iter_of_a_leaked(self) -> Box<dyn burn::data::dataloader::DataLoaderIterator<Batch>>;
    }

    impl OfALeaked for Loader {
        fn iter_of_a_leaked(self) -> Box<dyn burn::data::dataloader::DataLoaderIterator<Batch>> {
            Box::leak(Box::new(self)).iter()
        }
    }

    let once = || -> Loader { Arc::new(Once(loader(&Script::default()), false.into())) };
    let root = in_memory();
    let result = fit(config(root.path(), 3), once(), loader(&Script::default()), false);
    no_batch(result, "training", &["in epoch 2"]);
    assert_eq!(stems(&checkpoints(root.path()).join("last")), ["epoch=0-step=10"], "what was trained stays");
    let root = in_memory();
    let result = fit(config(root.path(), 3), loader(&Script::default()), once(), false);
    no_batch(result, "validation", &["in epoch 2", "val_loss"]);
    assert_eq!(stems(&checkpoints(root.path()).join("best")), ["epoch=0-step=10"]);
}

fn not_logged(result: Result<FitResult<Model>>, name: &str, logged: &[&str]) {
    let error = result.map(|_| ()).unwrap_err();
    let Error::MetricNotLogged { name: of, logged: offered, .. } = &error else { panic!("{error}") };
    assert!(of == name && offered == logged, "{error}");
}

#[test]
fn a_metric_of_the_other_split_is_an_error_that_offers_what_is_logged() {
    let score = || ScriptedMetric::new("Score", &[1.0]);
    let root = in_memory();
    let primary = |name: &str| config(root.path(), 3).with_primary_metric(name);
    let result = train_with(primary("train_score"), Script::default(), |training| {
        training.metrics((LossMetric::new(),)).metric_valid_numeric(score())
    });
    not_logged(result, "train_score", &["train_loss"]);
    let named = Last::new().with_filename("{step}-{val_score}");
    let named = primary("train_loss").with_overwrite(true).with_strategies([StrategyConfig::Last(named)]);
    let result = train_with(named, Script::default(), |training| {
        training.metrics((LossMetric::new(),)).metric_train_numeric(score())
    });
    not_logged(result, "val_score", &["train_loss", "train_score", "val_loss"]);
    // As text it has no values.
    let result = train_with(primary("val_score").with_overwrite(true), Script::default(), |training| {
        training.metrics((LossMetric::new(),)).metrics_text((score(),))
    });
    not_logged(result, "val_score", &["train_loss", "val_loss"]);
}

#[test]
fn a_value_from_before_a_resume_is_not_taken_for_a_new_one() {
    let root = in_memory();
    train(config(root.path(), 1)).unwrap();
    let again = config(root.path(), 3).with_ckpt_path("auto");
    let result =
        train_with(again, Script::default(), |training| training.metric_train_numeric(LossMetric::new()));
    not_logged(result, "val_loss", &["train_loss"]);
    assert_eq!(stems(&checkpoints(root.path()).join("best")), ["epoch=0-step=10"]);
}

#[test]
fn a_metric_that_has_a_value_at_the_end_of_an_epoch_only_ranks() {
    let root = in_memory();
    let score = ScriptedMetric::new("Score", &[3.0, 1.0, 2.0]).at_the_end_only();
    let config = config(root.path(), 3).with_primary_metric("val_score");
    train_with(config, Script::default(), |training| training.metric_valid_numeric(score)).unwrap();
    assert_eq!(stems(&checkpoints(root.path()).join("best")), ["epoch=1-step=20"]);
}

#[test]
fn a_start_that_fails_removes_what_it_has_created_and_nothing_else() {
    let wrong = |root: &Path| config(root, 1).with_primary_metric("val_los");
    let script = || Script { panic_in_step: Some(1), ..Script::default() };
    let outer = in_memory();
    let root = outer.path().join("a/b");
    // While training is prepared, when the metrics' names are known, and before there is a training.
    let no_checkpoint = config(&root, 1).with_ckpt_path("/nowhere/x.ckpt");
    assert!(Trainer::<Model>::new(no_checkpoint, &()).is_err());
    assert!(matches!(train_scripted(wrong(&root), script()), Err(Error::UnknownMetric { .. })));
    drop(Trainer::<Model>::new(config(&root, 1), &()).unwrap());
    assert!(!outer.path().join("a").exists(), "{:?}", files(outer.path()));

    std::fs::create_dir_all(root.join("burn_trainer_logs")).unwrap();
    assert!(train_scripted(wrong(&root), script()).is_err());
    assert!(root.join("burn_trainer_logs").exists() && !run_dir(&root).exists());

    std::fs::create_dir_all(run_dir(&root)).unwrap();
    std::fs::write(run_dir(&root).join("experiment.log"), "of another day\n").unwrap();
    assert!(train_scripted(wrong(&root), script()).is_err());
    assert!(run_dir(&root).join("experiment.log").exists());

    // A run that has begun stays, with its log.
    let begun = outer.path().join("c");
    let failing = config(&begun, 1).with_strategies([StrategyConfig::Last(Last::new())]);
    assert!(matches!(train_scripted(failing, script()), Err(Error::Panicked { .. })));
    assert!(run_dir(&begun).exists());
}

#[test]
fn a_failure_in_the_first_step_leaves_no_checkpoint_in_the_way_of_the_next_start() {
    let root = in_memory();
    let start = |script: Script| {
        let trained = train_scripted(config(root.path(), 1), script);
        trained.map(|result| result.global_step)
    };
    let failing = |step| Script { panic_in_step: Some(step), ..Script::default() };
    let error = start(failing(1)).unwrap_err();
    assert!(matches!(&error, Error::Panicked { saved: None, .. }), "{error}");
    // The same command, with the mistake mended.
    assert!(matches!(start(failing(2)), Err(Error::Panicked { saved: Some(_), .. })));
    assert!(matches!(start(failing(0)), Err(Error::RunExists { .. })));
}

#[test]
fn a_path_that_no_shell_has_expanded_or_that_is_not_text_makes_no_directory() {
    let mut paths = vec![PathBuf::from("~/x"), PathBuf::from("~")];
    #[cfg(target_os = "linux")]
    paths.push({
        use std::os::unix::ffi::OsStrExt;
        std::env::temp_dir().join(std::ffi::OsStr::from_bytes(b"not-text-\xff"))
    });
    for path in paths {
        let error =
            Trainer::<Model>::new(TrainerConfig::new().with_root(&path), &()).map(|_| ()).unwrap_err();
        assert!(matches!(&error, Error::Config { setting, .. } if setting == "root"), "{error}");
        assert!(!path.exists());
    }
}

#[test]
fn what_is_odd_is_said_once_before_the_first_step() {
    let root = in_memory();
    let said = |arguments: &[&str]| {
        let output = train_example(root.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let lines = stderr(&output);
        let (warnings, _) = lines.split_once("epoch 1/1 train").unwrap();
        warnings.lines().filter(|line| line.starts_with("warning")).map(str::to_owned).collect::<Vec<_>>()
    };
    let small = ["--epochs", "1", "--set", "channels=2"];
    let warnings = said(&[&small[..], &["--set", "primary_metric=null", "--run-id", "a"]].concat());
    assert!(warnings.len() == 1 && warnings[0].contains("no checkpoint will be saved"), "{warnings:?}");
    let warnings = said(&[&small[..], &["--set", "checkpoint_saving=false", "--run-id", "b"]].concat());
    assert_eq!(warnings, Vec::<String>::new());
    let warnings = said(&[&small[..], &["--set", "batch_size=1000", "--run-id", "c"]].concat());
    let [only] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(only.contains("validation data has 359 items") && only.contains("1000"), "{only}");
    let unvalidated =
        ["limit_valid_batches=0", "primary_metric=null", "last.every_epoch=true", "validate_at_start=true"];
    let unvalidated = unvalidated.map(|setting| ["--set", setting]).concat();
    let warnings = said(&[&small[..], &unvalidated[..], &["--run-id", "d"]].concat());
    let [only] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(only.contains("leaves validation out, so that validate_at_start does nothing"), "{only}");
}
