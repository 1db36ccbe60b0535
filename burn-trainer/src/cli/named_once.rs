//! A field that both a flag and `--set` name is an error: which of the two counts would be a guess.

use burn_ckpt::plumbing::STRATEGY_KINDS;
use serde_json::Value;

use super::set::shown_assignment;
use crate::error::{Error, Result};
use crate::strategy::StrategyConfig;

/// The key of the list of strategies.
const LIST: &str = "strategies";

/// Fails if an assignment of `--set` names a field that a flag is given for too, or what holds that field.
///
/// Of each flag its name, its field, and whether it is given. `strategies` are those of the configuration,
/// for keys that lead into their list.
pub(super) fn check(
    assignments: &[String],
    flags: &[(&str, &str, bool)],
    strategies: &[StrategyConfig],
) -> Result<()> {
    for assignment in assignments {
        let (key, value) = assignment.split_once('=').unwrap_or((assignment, ""));
        let is_named = |field: &str| names(key, value, field, strategies);
        if let Some((flag, ..)) = flags.iter().find(|(_, field, is_given)| *is_given && is_named(field)) {
            let reason = format!("{flag} says it too: give one of the two");
            return Err(Error::config(format!("--set {}", shown_assignment(assignment)), reason));
        }
    }
    Ok(())
}

/// Whether a key is that of a field, or of what holds it. A strategy in the list has the fields of its kind.
fn names(key: &str, value: &str, field: &str, strategies: &[StrategyConfig]) -> bool {
    let holds = |key: &str| field == key || field.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
    let Some(place) = key.strip_prefix(LIST).filter(|rest| rest.is_empty() || rest.starts_with('.')) else {
        return holds(key);
    };
    let kind = field.split_once('.').map(|(kind, _)| kind).filter(|kind| STRATEGY_KINDS.contains(kind));
    let Some(kind) = kind else { return false };
    let Some(place) = place.strip_prefix('.') else { return true };
    let (place, rest) = place.split_once('.').map_or((place, None), |(place, rest)| (place, Some(rest)));
    // A place that is not in the list is an error of its own.
    let Some(strategy) = place.parse().ok().and_then(|place: usize| strategies.get(place)) else {
        return false;
    };
    match rest {
        // The strategy that the flag is for would be another one, or there would be one more.
        None => strategy.kind() == kind || value_of(value)["kind"] == kind,
        Some("kind") => strategy.kind() == kind || value_of(value) == kind,
        Some(rest) => holds(&format!("{}.{rest}", strategy.kind())),
    }
}

/// A value of JSON, or a text as it stands.
fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::TrainArgs;
    use crate::config::TrainerConfig;

    /// What a command line says of a configuration whose strategies are best, last and on_exception, which
    /// the program can have in a list.
    fn said(flags: &str, sets: &[&str], has_list: bool) -> Result<()> {
        let mut trainer = TrainerConfig::new().with_primary_metric("val_loss");
        if has_list {
            trainer.strategies = Some(trainer.effective_strategies());
        }
        let mut args =
            TrainArgs { set: sets.iter().map(|set| (*set).to_owned()).collect(), ..TrainArgs::default() };
        for flag in flags.split_whitespace() {
            match flag {
                "--topk" => args.topk = Some(2.into()),
                "--save-every-steps" => args.save_every_steps = Some(5),
                "--save-every-seconds" => args.save_every_seconds = Some(9.0),
                "--mirror" => args.mirror = Some("file:///mirror".to_owned()),
                "--seed" => args.seed = Some(7),
                other => panic!("{other}"),
            }
        }
        args.apply(&mut trainer, &mut serde_json::json!({}))
    }

    #[test]
    fn what_a_flag_says_cannot_be_set_too() {
        for (flag, set) in [
            ("--seed", "seed=1"),
            ("--mirror", "mirror=null"),
            ("--topk", "best={}"),
            ("--topk", "best.topk=3"),
            ("--topk", "strategies.0.topk=3"),
            ("--topk", r#"strategies.0={"kind": "best", "topk": 3}"#),
            ("--topk", "strategies.0.kind=last"),
            ("--topk", r#"strategies.1={"kind": "best"}"#),
            ("--topk", r#"strategies=[{"kind": "best"}]"#),
            ("--topk", "strategies=[]"),
            ("--save-every-steps", "last=null"),
            ("--save-every-steps", "last.every_n_steps=3"),
            ("--save-every-steps", "strategies.1.every_n_steps=3"),
            ("--save-every-steps", "strategies=null"),
            ("--save-every-seconds", "strategies.1.save_on_time_interval=3.0"),
            ("--save-every-seconds", "strategies=[]"),
        ] {
            for has_list in [false, true] {
                let error = said(flag, &[set], has_list).expect_err(set).to_string();
                let names_both = error.contains(set) && error.contains(flag);
                assert!(names_both && error.contains("says it too"), "{flag} --set {set}: {error}");
            }
        }
    }

    #[test]
    fn an_address_that_is_set_is_not_repeated_in_an_error_as_it_can_have_a_credential() {
        let address = "s3://key:hunter2@bucket/p";
        for (flag, set, key) in [
            ("--mirror", format!("mirror={address}"), "mirror"),
            ("--mirror", format!("mirror.address={address}"), "mirror.address"),
            ("", format!("miror={address}"), "miror"),
            ("", format!("mirror.adress={address}"), "mirror.adress"),
            ("", format!("seed={address}"), "seed"),
            ("", format!("mirror=[{address}"), "mirror"),
            ("", format!(r#"strategies=[{{"kind": "{address}"}}]"#), "strategies"),
            ("", address.to_owned(), ".."),
        ] {
            let error = said(flag, &[&set], false).expect_err(&set).to_string();
            assert!(error.starts_with(&format!("--set {key} ")), "{set}: {error}");
            assert!(!error.contains("hunter2"), "{set}: {error}");
        }
    }

    #[test]
    fn what_a_flag_does_not_say_can_be_set_beside_it() {
        let whole = |kind: &str| format!(r#"strategies.1={{"kind": "{kind}"}}"#);
        for has_list in [false, true] {
            said("--topk", &["strategies.1.topk=3", "last.topk=4", "best.filename=a"], has_list).unwrap();
            said("--topk", &[&whole("last")], has_list).unwrap();
            said("--save-every-steps", &["strategies.0.topk=3", "best.topk=4"], has_list).unwrap();
            said("", &["best.topk=4", "strategies.1.every_n_steps=3", "seed=1"], has_list).unwrap();
            let error = said("--topk", &["strategies.7.topk=3"], has_list).unwrap_err().to_string();
            assert!(error.contains("strategies has the numbers below 3"), "{error}");
        }
    }

    #[test]
    fn a_flag_for_a_strategy_that_the_run_does_not_have_is_an_error() {
        let mut trainer: TrainerConfig =
            serde_json::from_str(r#"{"strategies": [{"kind": "on_exception"}]}"#).unwrap();
        let mut apply = |args: TrainArgs| args.apply(&mut trainer, &mut serde_json::json!({}));
        let topk = TrainArgs { topk: Some(2.into()), ..TrainArgs::default() };
        let steps = TrainArgs { save_every_steps: Some(2), ..TrainArgs::default() };
        for (args, flag, kind) in [(topk, "--topk", "best"), (steps, "--save-every-steps", "last")] {
            let error = apply(args).expect_err(flag).to_string();
            assert!(
                error.contains(flag) && error.contains(kind) && error.contains("on_exception"),
                "{error}"
            );
        }
    }

    #[test]
    fn resume_names_the_run_and_what_it_resumes() {
        for set in ["run_id=b", "ckpt_path=none", "root=elsewhere", "logs=other", "overwrite=true"] {
            let args = TrainArgs {
                resume: Some("no-such-run".into()),
                set: vec![set.to_owned()],
                ..TrainArgs::default()
            };
            let applied = args.apply(&mut TrainerConfig::new(), &mut serde_json::json!({}));
            let error = applied.expect_err(set).to_string();
            assert!(error.contains(set) && error.contains("--resume says it too"), "{error}");
        }
    }

    #[test]
    fn a_flag_of_the_programs_own_cannot_be_set_too() {
        let args = TrainArgs { set: vec!["data=mnist".to_owned()], ..TrainArgs::default() };
        let error = args.check_own_flag("--data", "data", true).unwrap_err().to_string();
        assert!(error.contains("--set data=mnist") && error.contains("--data says it too"), "{error}");
        args.check_own_flag("--data", "data", false).unwrap();
        args.check_own_flag("--size", "size", true).unwrap();
    }
}
