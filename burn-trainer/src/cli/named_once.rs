//! A field that both a flag and `--set` name is an error: which of the two counts would be a guess.

use crate::error::{Error, Result};

/// Fails if an assignment of `--set` names a field that a flag is given for too, or what holds that field.
///
/// Of each flag its name, its field, and whether it is given.
pub(super) fn check(assignments: &[String], flags: &[(&str, &str, bool)]) -> Result<()> {
    for assignment in assignments {
        let key = assignment.split('=').next().unwrap_or_default();
        let names = |field: &str| field == key || field.starts_with(&format!("{key}."));
        if let Some((flag, ..)) = flags.iter().find(|(_, field, is_given)| *is_given && names(field)) {
            let reason = format!("{flag} says it too: give one of the two");
            return Err(Error::config(format!("--set {assignment}"), reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_flag_says_cannot_be_set_too() {
        let flags =
            [("--epochs", "max_epochs", true), ("--topk", "best.topk", true), ("--seed", "seed", false)];
        for assignment in ["max_epochs=2", "best={}", "best.topk=3"] {
            let error = check(&[assignment.to_owned()], &flags).unwrap_err().to_string();
            assert!(error.contains(assignment) && error.contains("says it too"), "{error}");
        }
        check(&["min_epochs=1", "best.filename=a", "seed=1"].map(str::to_owned), &flags).unwrap();
    }
}
