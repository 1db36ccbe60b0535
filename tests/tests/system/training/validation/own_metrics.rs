//! A save has the metrics that were measured on its state, and no others.

use burn_trainer::config::Validation;
use burn_trainer::strategy::{
    CheckpointOutput, KeepRule, RunProgress, SaveDecision, Strategy, TopK, TrainingEvent,
};
use system_tests::models::small::{Script, config, train, train_by, train_scripted};
use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::run_files::{checkpoints, metadata, run_dir, stems};

use super::{keeping_steps, metrics_by_step, root};

const TRAINED: [&str; 1] = ["train_loss"];
const VALIDATED: [&str; 2] = ["train_loss", "val_loss"];

/// Asserts that the states of these steps, and no others, have the metrics of a validation.
fn assert_validated(found: &[(u64, Vec<String>)], validated: &[u64]) {
    for (step, names) in found {
        let expected = if validated.contains(step) { &VALIDATED[..] } else { &TRAINED[..] };
        assert_eq!(names, expected, "step {step}");
    }
    assert!(validated.iter().all(|step| found.iter().any(|(found, _)| found == step)), "{found:?}");
}

#[test]
fn a_save_within_an_epoch_has_no_metrics_of_an_earlier_validation() {
    let root = root();
    train(config(root.path(), 2).with_strategies(keeping_steps(3))).unwrap();
    assert_validated(&metrics_by_step(root.path(), "last"), &[10, 20]);
}

#[test]
fn a_save_of_a_validated_step_has_its_metrics() {
    let root = root();
    let config = config(root.path(), 2).with_validation(Validation::every_n_steps(6));
    train(config.with_strategies(keeping_steps(3))).unwrap();
    let found = metrics_by_step(root.path(), "last");
    assert_eq!(found.len(), 8, "3, 6, 9, 12, 15, 18, and the ends of the epochs: {found:?}");
    assert_validated(&found, &[6, 12, 18]);
}

#[test]
fn a_state_whose_validation_has_failed_has_none_of_it() {
    // The second batch of the validation after the second epoch, or after the second of the steps.
    for (validation, fails_at, step) in
        [(Validation::default(), 12, 20), (Validation::every_n_steps(6), 12, 12)]
    {
        let root = root();
        let script = Script { panic_in_validation: Some(fails_at), ..Script::default() };
        train_scripted(config(root.path(), 3).with_validation(validation), script).unwrap_err();
        let found = metrics_by_step(root.path(), "on_exception");
        assert_eq!(found, [(step, vec!["train_loss".to_owned()])]);
        let [stem] = &stems(&checkpoints(root.path()).join("on_exception"))[..] else { panic!() };
        let saved = checkpoints(root.path()).join(format!("on_exception/{stem}.ckpt"));
        let state: serde_json::Value = burn_ckpt::Checkpoint::open(saved).unwrap().trainer_state().unwrap();
        assert_eq!((&state["validation_due"], &state["global_step"]), (&true.into(), &step.into()));
        // What is stored besides is of the validation before, and not of a part of this one.
        let best = metadata(&checkpoints(root.path()).join("best_val_loss.ckpt"));
        assert_eq!(state["metrics"]["val_loss"], best["metrics"]["val_loss"]);
    }
}

#[test]
fn prune_and_ls_go_by_the_states_own_metrics() {
    let root = root();
    let config = config(root.path(), 2).with_validation(Validation::every_n_steps(6));
    train(config.with_strategies(keeping_steps(1))).unwrap();
    let listed = stdout(&burn_ckpt(&[&"ls", &run_dir(root.path()), &"--json"]));
    let rows: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let with_value = listed.matches("\"val_loss\":").count();
    // `best` is a second name of one of them.
    assert!((3..=4).contains(&with_value), "{rows}");
    stdout(&burn_ckpt(&[&"prune", &run_dir(root.path()), &"--keep", &"best=val_loss:2"]));
    let left = metrics_by_step(root.path(), "last");
    assert!(
        left.iter().filter(|(step, _)| *step != 20).all(|(step, _)| [6, 12, 18].contains(step)),
        "{left:?}"
    );
}

/// Saves each step whose progress has a loss of a validation.
struct WhereValidated;

impl Strategy for WhereValidated {
    fn name(&self) -> String {
        "where_validated".to_owned()
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(TopK::All)
    }

    fn output(&self) -> CheckpointOutput {
        CheckpointOutput::new("where_validated").with_filename("{step}-{val_loss:.3}")
    }

    fn decide(&mut self, _: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
        match progress.metrics().get("val_loss") {
            Some(loss) => SaveDecision::Save { score: *loss, reason: "validated".to_owned() },
            None => SaveDecision::Skip,
        }
    }
}

#[test]
fn a_users_strategy_sees_the_metrics_of_its_state() {
    let root = root();
    let config = config(root.path(), 2).with_validation(Validation::every_n_steps(6));
    train_by(config, Script::default(), |trainer| trainer.strategy(WhereValidated)).unwrap();
    let found = metrics_by_step(root.path(), "where_validated");
    assert_eq!(found.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [6, 12, 18]);
    assert!(
        stems(&checkpoints(root.path()).join("where_validated")).iter().all(|stem| !stem.contains("none"))
    );
}
