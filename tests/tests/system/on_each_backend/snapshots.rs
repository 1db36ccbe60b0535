//! A checkpoint holds what the model was when it was taken, running statistics included, whatever training
//! does while it is written.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Tensor;
use burn_ckpt::{Checkpoint, Metadata};
use burn_trainer::burn_ckpt::retention::TopK;
use burn_trainer::strategy::{Last, StrategyConfig};
use system_tests::backend;
use system_tests::config;
use system_tests::models::small::{Model, Script};
use system_tests::run_files::checkpoints;

fn digests(checkpoint: &Path) -> BTreeMap<String, String> {
    let metadata: Metadata = Checkpoint::open(checkpoint).unwrap().verify().unwrap();
    metadata.tensors.into_iter().map(|(name, info)| (name, info.blake3)).collect()
}

/// A run that saves at every step, and so hands over states faster than they are written, against runs that
/// stop at one step and have nothing to do while their last state is written.
#[test]
fn states_saved_while_training_continues_are_those_of_runs_that_stopped_there() {
    let busy = tempfile::tempdir().unwrap();
    let every_step = Last::new().with_topk(TopK::All).with_every_n_steps(1).with_filename("{step}");
    system_tests::train(config(busy.path(), 2).with_strategies([StrategyConfig::Last(every_step)])).unwrap();

    for stop_at in [1, 7, 13] {
        let quiet = tempfile::tempdir().unwrap();
        let trainer =
            burn_trainer::Trainer::new(config(quiet.path(), 2), &Script::default().hparams()).unwrap();
        let loader = || system_tests::models::small::loader(&Script::default());
        let training = trainer.training(loader(), loader());
        let at_step = Some((stop_at, system_tests::models::small::stopper(training.interrupter(), false)));
        let learner = system_tests::models::small::learner(Script { at_step, ..Script::default() });
        trainer.fit(training.metrics((burn::train::metric::LossMetric::new(),)), learner).unwrap();

        let expected = digests(&checkpoints(quiet.path()).join("last.ckpt"));
        let found = digests(&checkpoints(busy.path()).join(format!("last/{stop_at}.ckpt")));
        assert_eq!(expected, found, "step {stop_at}");
        assert!(expected.contains_key("model.norm.running_var"));
    }
}

#[test]
fn a_loaded_model_predicts_what_the_trained_one_does() {
    let root = tempfile::tempdir().unwrap();
    let result = system_tests::train(config(root.path(), 2)).unwrap();
    let checkpoint = Checkpoint::open(checkpoints(root.path()).join("last.ckpt")).unwrap();
    let device = backend::device();
    let loaded = checkpoint.load_into(Model::new(Script::default(), &device)).unwrap();
    let input = || Tensor::<2>::from_data([[0.1, 0.2, 0.3, 0.4], [0.9, 0.1, 0.5, 0.0]], &device);
    let (trained, loaded) = (result.model.predict(input()), loaded.valid().predict(input()));
    assert_eq!(trained.into_data(), loaded.into_data());
}
