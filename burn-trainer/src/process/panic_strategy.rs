//! Programs that abort on a panic, which nothing can catch then.

use std::sync::Once;

use super::console::warn;

static SAID: Once = Once::new();

/// Warns once, in a program that is built with `panic = "abort"`. This crate is compiled with the program's
/// profile.
pub(crate) fn warn_if_aborting() {
    if let Some(warning) = warning(cfg!(panic = "abort")) {
        SAID.call_once(|| warn(warning));
    }
}

fn warning(aborts: bool) -> Option<&'static str> {
    aborts.then_some(
        "the program is built with panic = \"abort\": a panic ends it at once, and the state before it is not saved; for that, \
         remove panic = \"abort\" from the profile in Cargo.toml. Until then, save every few steps \
         (every_n_steps)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_aborts_is_told_what_it_loses_and_what_to_do() {
        // Tests are built so that they unwind.
        assert_eq!(warning(cfg!(panic = "abort")), None);
        let warning = warning(true).unwrap();
        assert!(
            warning.contains("is not saved") && warning.contains("remove panic = \"abort\""),
            "{warning}"
        );
    }
}
