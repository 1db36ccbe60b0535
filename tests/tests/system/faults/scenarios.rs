//! The runs that are disturbed.

use std::path::Path;

use burn_ckpt::plumbing::Limits;
use burn_trainer::strategy::{Best, Last, OnException, StrategyConfig};
use burn_trainer::{FitResult, Result, TrainerConfig};
use system_tests::models::small::{Model, Script, train_within};
use system_tests::{config, train_scripted};

/// A run that is disturbed in its last start. Every start but the disturbed one must be without a fault.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// Whether `best` has weights alone.
    pub saves_weights: bool,
    /// What is on disk before.
    before: fn(&Path),
    /// The start that is disturbed.
    disturbed: fn(&Path) -> Result<FitResult<Model>>,
    /// The start after that, which completes the run.
    after: fn(&Path) -> Result<FitResult<Model>>,
}

impl Scenario {
    pub fn prepare(&self, root: &Path) {
        (self.before)(root);
    }

    pub fn disturbed(&self, root: &Path) -> Result<FitResult<Model>> {
        (self.disturbed)(root)
    }

    pub fn complete(&self, root: &Path) -> Result<FitResult<Model>> {
        (self.after)(root)
    }
}

/// Every scenario.
pub const ALL: [Scenario; 8] = [
    Scenario {
        name: "first save",
        saves_weights: false,
        before: nothing,
        disturbed: |root| epochs(root, 1),
        after: |root| epochs(root, 1),
    },
    Scenario {
        name: "replacing best, evicting top-k",
        saves_weights: false,
        before: |root| done(epochs(root, 1)),
        disturbed: |root| epochs(root, 2),
        after: |root| epochs(root, 2),
    },
    Scenario {
        name: "weights only",
        saves_weights: true,
        before: nothing,
        disturbed: |root| train_scripted(weights_only(root), Script::default()),
        after: |root| train_scripted(weights_only(root), Script::default()),
    },
    Scenario {
        name: "on exception",
        saves_weights: false,
        before: nothing,
        disturbed: |root| {
            let script = Script { panic_in_step: Some(14), ..Script::default() };
            train_scripted(auto(root, 2), script)
        },
        after: |root| epochs(root, 2),
    },
    Scenario {
        name: "recovery",
        saves_weights: false,
        before: killed,
        disturbed: |root| epochs(root, 2),
        after: |root| epochs(root, 2),
    },
    Scenario {
        name: "overwrite",
        saves_weights: false,
        before: |root| {
            done(train_scripted(with_other_names(root), Script::default()));
        },
        disturbed: |root| {
            train_scripted(auto(root, 1).with_ckpt_path("none").with_overwrite(true), Script::default())
        },
        after: |root| {
            train_scripted(auto(root, 1).with_ckpt_path("none").with_overwrite(true), Script::default())
        },
    },
    Scenario {
        name: "a directory outside of the run",
        saves_weights: false,
        before: |root| done(train_scripted(outside(root, 1), Script::default())),
        disturbed: |root| train_scripted(outside(root, 2), Script::default()),
        after: |root| train_scripted(outside(root, 2), Script::default()),
    },
    Scenario {
        // The first save, one that replaces the best, and two names of each state.
        name: "a state in several files",
        saves_weights: false,
        before: nothing,
        disturbed: in_several_files,
        after: in_several_files,
    },
];

fn nothing(_root: &Path) {}

fn done(result: Result<FitResult<Model>>) {
    result.unwrap();
}

fn auto(root: &Path, epochs: usize) -> TrainerConfig {
    config(root, epochs).with_ckpt_path("auto")
}

fn epochs(root: &Path, epochs: usize) -> Result<FitResult<Model>> {
    train_scripted(auto(root, epochs), Script::default())
}

fn in_several_files(root: &Path) -> Result<FitResult<Model>> {
    train_within(auto(root, 2), Limits { tensors: 8, ..Limits::READER })
}

fn weights_only(root: &Path) -> TrainerConfig {
    auto(root, 1).with_best(Best::new().with_save_weights_only(true))
}

/// A run of more files, under other names.
fn with_other_names(root: &Path) -> TrainerConfig {
    auto(root, 2).with_strategies([
        StrategyConfig::Best(Best::new().with_filename("other-{epoch}").with_topk(2)),
        StrategyConfig::Last(Last::new()),
        StrategyConfig::OnException(OnException::new()),
    ])
}

fn outside(root: &Path, epochs: usize) -> TrainerConfig {
    auto(root, epochs).with_best(Best::new().with_dirpath(root.join("shared")))
}

/// A run that was killed between the two names of its second state, with a staging file and metadata left
/// behind.
fn killed(root: &Path) {
    use std::sync::Arc;

    use burn_ckpt::plumbing::storage::observer::observe;
    use system_tests::storage_faults::{FailingOperation, Fault, Place};

    done(epochs(root, 1));
    let place = Place {
        operation: "hard link",
        path: "burn_trainer_logs/r1/checkpoint/last/epoch=1-step=20.ckpt".to_owned(),
        number: 0,
    };
    let disturbed = Arc::new(FailingOperation::at(root, place, Fault::EndsBefore));
    let observation = observe(root, disturbed.clone());
    let _ = epochs(root, 2);
    drop(observation);
    assert!(disturbed.has_ended(), "{:#?}", disturbed.places());
}
