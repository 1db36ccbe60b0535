//! Variables of the process: read one at a time, by name, and never listed.
//!
//! This is the only file that reads them. A variable that neither `slurm.rs` nor `lsf.rs` names cannot reach
//! a checkpoint, which includes a token in the user's shell.

use std::str::FromStr;

/// Most bytes of a value that is recorded as it is. LSF's names have 4094 at most, Slurm's fewer.
const MAX_TEXT_BYTES: usize = 4096;

/// The value of a variable of this process, where it is set and is Unicode.
pub(crate) fn variable_of_process(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok())
}

/// A function that returns the value of a variable; tests replace it.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables of one scheduler.
#[derive(Clone, Copy)]
pub(super) struct Variables<'a> {
    lookup: Lookup<'a>,
}

impl<'a> Variables<'a> {
    /// Reads variables through `lookup`.
    pub(super) fn new(lookup: Lookup<'a>) -> Self {
        Self { lookup }
    }

    /// The value without surrounding blanks, if it is not too long to be a name; `None` where nothing is
    /// left. Schedulers set variables to nothing too.
    pub(super) fn text(self, name: &str) -> Option<String> {
        self.list(name).filter(|text| text.len() <= MAX_TEXT_BYTES)
    }

    /// The same of any length, for lists that have limits of their own.
    pub(super) fn list(self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The value as a number, or `None` where it is not one.
    pub(super) fn number<N: FromStr>(self, name: &str) -> Option<N> {
        self.text(name)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_asked_for_the_variable_of_that_name() {
        // Cargo sets this one for every test.
        assert_eq!(variable_of_process("CARGO_PKG_NAME").as_deref(), Some(env!("CARGO_PKG_NAME")));
        assert_eq!(variable_of_process("BURN_ENVIRONMENT_NO_SUCH_VARIABLE"), None);
    }

    #[test]
    fn a_variable_that_is_empty_or_blank_is_absent() {
        let lookup = |name: &str| Some(if name == "EMPTY" { "" } else { "  " }.to_owned());
        assert_eq!(Variables::new(&lookup).text("EMPTY"), None);
        assert_eq!(Variables::new(&lookup).text("BLANK"), None);
    }

    #[test]
    fn a_value_that_is_longer_than_any_name_is_absent_unless_it_is_a_list() {
        let lookup = |name: &str| Some("x".repeat(MAX_TEXT_BYTES + usize::from(name == "LONGER")));
        let variables = Variables::new(&lookup);
        assert_eq!(variables.text("LONGEST").map(|text| text.len()), Some(MAX_TEXT_BYTES));
        assert_eq!(variables.text("LONGER"), None);
        assert_eq!(variables.list("LONGER").map(|text| text.len()), Some(MAX_TEXT_BYTES + 1));
    }

    #[test]
    fn an_invalid_or_too_large_number_is_absent() {
        let lookup = |name: &str| Some(name.to_owned());
        let variables = Variables::new(&lookup);
        assert_eq!(variables.number(" 12 "), Some(12_u64));
        assert_eq!(variables.number::<u64>("12x"), None);
        assert_eq!(variables.number::<u64>("-1"), None);
        assert_eq!(variables.number::<u64>("18446744073709551616"), None);
    }
}
