//! A model whose checkpoints nothing could read is an error before it is trained.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::ParamGroup;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdafactorConfig, AdamConfig, AdamWConfig, LionConfig, ModuleOptimizer, MuonConfig, SgdConfig,
};
use burn::train::Learner;
use burn::train::metric::LossMetric;
use burn_ckpt::plumbing::Limits;
use burn_ckpt::{Checkpoint, Contents, ErrorKind, Metadata};
use burn_trainer::optimizer::{InitStreamed, Streamed};
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use burn_trainer::{Error, FitResult, Result, Trainer, TrainerConfig};
use jiff::Timestamp;
use system_tests::backend;
use system_tests::models::small::{Model, OnStep, Script, loader, train_within};
use system_tests::run_files::{checkpoints, described_state, run_dir};
use system_tests::{config, train};

/// The tensors of the small model, six of which are trained, with those of the checkpoint's own.
const WEIGHTS: u64 = 8 + 2;
const TRAINED: u64 = 6;
/// The tensors of the history, after an epoch.
const HISTORY: u64 = 2;

#[test]
fn weights_that_exceed_a_limit_are_an_error_before_the_first_step_and_leave_nothing() {
    for limits in [
        Limits { section_tensors: 3, ..Limits::READER },
        Limits { state_tensors: 3, ..Limits::READER },
        Limits { tensor_bytes: 20, ..Limits::READER },
    ] {
        let root = tempfile::tempdir().unwrap();
        let error = train_within(config(root.path(), 1), limits).err().unwrap();
        assert!(
            matches!(&error, Error::Checkpoint(source) if source.kind() == ErrorKind::TooLarge),
            "{error:?}"
        );
        assert!(error.to_string().contains("a reader accepts"), "{error}");
        assert!(!std::fs::exists(run_dir(root.path())).unwrap());
        // Without checkpoints there is nothing to read.
        train_within(config(root.path(), 1).with_checkpoint_saving(false), limits).unwrap();
    }
}

#[test]
fn hyperparameters_that_could_not_be_read_back_are_an_error_before_training_and_before_a_file() {
    let root = tempfile::tempdir().unwrap();
    let values = |count: usize| serde_json::json!({ "weights": vec![0; count] });
    let text = serde_json::json!({ "text": "x".repeat(16 * 1024 * 1024) });
    for hparams in [values(120_000), text] {
        let error = Trainer::<Model>::new(config(root.path(), 1), &hparams).err().unwrap();
        assert!(matches!(&error, Error::Config { setting, .. } if setting == "hparams"), "{error:?}");
        let by_hand = Contents::new(&hparams).unwrap();
        let error = by_hand.save(root.path().join("a.ckpt"), Metadata::new(Timestamp::now())).unwrap_err();
        assert!(matches!(error, burn_ckpt::Error::Snapshot { .. }), "{error:?}");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
    let most = values(119_000);
    Trainer::<Model>::new(config(root.path(), 1), &most).unwrap();
    let path = root.path().join("a.ckpt");
    Contents::new(&most).unwrap().save(&path, Metadata::new(Timestamp::now())).unwrap();
    assert_eq!(Checkpoint::open(&path).unwrap().hparams::<serde_json::Value>().unwrap(), most);
}

/// Trains the small model for an epoch with an optimizer. Returns the result, and whether a step was begun.
fn trained(
    config: TrainerConfig,
    limits: Limits,
    optimizer: ModuleOptimizer,
) -> (Result<FitResult<Model>>, bool) {
    let begun = Arc::new(AtomicBool::new(false));
    let note = Arc::clone(&begun);
    let note = OnStep(Arc::new(move || note.store(true, Ordering::Relaxed)));
    let script = Script { at_step: Some((1, note)), ..Script::default() };
    let trainer = Trainer::new(config, &script.hparams()).unwrap().checkpoint_limits(limits);
    let training = trainer.training(loader(&script), loader(&script)).metrics((LossMetric::new(),));
    let model = Model::new(script, &backend::device().autodiff());
    let result = trainer.fit(training, Learner::new(model, optimizer, 1e-2));
    (result, begun.load(Ordering::Relaxed))
}

#[test]
fn an_optimizers_state_that_exceeds_a_limit_is_an_error_before_the_first_step() {
    let momentum = || SgdConfig::new().with_momentum(Some(MomentumConfig::new()));
    let muon = Streamed(MuonConfig::new().build());
    let optimizers: [(&str, ModuleOptimizer, u64); 9] = [
        ("Adam, streamed", AdamConfig::new().init_streamed(), 2 * TRAINED),
        ("Adam", AdamConfig::new().init(), 2 * TRAINED),
        ("AMSGrad", AdamWConfig::new().with_amsgrad(true).init_streamed(), 3 * TRAINED),
        ("Lion", LionConfig::new().init(), TRAINED),
        ("SGD", SgdConfig::new().init(), 0),
        ("SGD, streamed", SgdConfig::new().init_streamed(), 0),
        ("momentum, streamed", momentum().init_streamed(), TRAINED),
        // A second sum for each of the two matrices.
        ("Adafactor", AdafactorConfig::new().init_streamed(), TRAINED + 2),
        (
            "two groups",
            AdamConfig::new().init_streamed().with_group(
                ParamGroup::from_paths(vec!["input.weight", "output.weight"]),
                muon,
                None,
            ),
            2 * TRAINED - 2,
        ),
    ];
    for (name, optimizer, state) in optimizers {
        let enough = WEIGHTS + state + HISTORY;
        let root = tempfile::tempdir().unwrap();
        let fit = |tensors: u64| {
            // In one file, or not at all.
            let limits = Limits { tensors, state_tensors: tensors - 2, ..Limits::READER };
            trained(config(root.path(), 1).with_overwrite(true), limits, optimizer.clone())
        };
        let (result, begun) = fit(enough - 1);
        let error = result.err().unwrap_or_else(|| panic!("{name}: the limit was not seen"));
        assert!(!begun, "{name}");
        let Error::Checkpoint(burn_ckpt::Error::TooLarge { found, limit, .. }) = &error else {
            panic!("{name}: {error:?}")
        };
        // Without the two of the checkpoint's own.
        assert_eq!((*found, *limit), (enough - 2, enough - 3), "{name}");
        assert!(error.to_string().contains("save_weights_only"), "{name}: {error}");
        assert!(!run_dir(root.path()).exists(), "{name}");
        // What is planned is what is saved.
        fit(enough).0.unwrap_or_else(|error| panic!("{name}: {error}"));
        let saved = Checkpoint::open(checkpoints(root.path()).join("last.ckpt")).unwrap();
        assert_eq!(saved.metadata().unwrap().tensors.len() as u64 + 2, enough, "{name}");
    }
}

#[test]
fn the_size_of_an_optimizers_state_counts_too_and_weights_alone_need_none() {
    let root = tempfile::tempdir().unwrap();
    let adam = || AdamConfig::new().init_streamed();
    // The weights are one file beside the index, and Adam's state is two more.
    let limits = Limits { tensors: WEIGHTS - 2, shards: 2, ..Limits::READER };
    let (result, begun) = trained(config(root.path(), 1), limits, adam());
    let Error::Checkpoint(error) = result.err().unwrap() else { panic!("another error") };
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(!begun);
    let weights = config(root.path(), 1).with_strategies([
        StrategyConfig::Best(Best::new().with_save_weights_only(true)),
        StrategyConfig::Last(Last::new().with_save_weights_only(true)),
    ]);
    trained(weights, limits, adam()).0.unwrap();
}

#[test]
fn finding_out_the_size_does_not_change_the_run() {
    let (asked, not_asked) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(config(not_asked.path(), 1)).unwrap();
    let limits = Limits { tensors: WEIGHTS + 2 * TRAINED + HISTORY, ..Limits::READER };
    train_within(config(asked.path(), 1), limits).unwrap();
    let state = |root: &std::path::Path| described_state(&checkpoints(root).join("last.ckpt"));
    assert_eq!(state(asked.path()), state(not_asked.path()));
}
