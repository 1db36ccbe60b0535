//! What is said where something looks at a metric of the validation, and no validation comes.

/// Before the first step. `why` ends the sentence.
pub(crate) fn ends_before_validation(who: &str, metric: &str, why: &str) -> String {
    format!(
        "{who} looks at {metric}, and the run ends before its first validation, {why}: validate more often (validation), or train \
         longer"
    )
}

/// At the end of the run.
pub(crate) fn ended_before_validation(who: &str, metric: &str) -> String {
    format!(
        "{who} looks at {metric}, and the run has ended before its first validation was due: validate more often (validation)"
    )
}
