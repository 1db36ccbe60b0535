//! What standard output is: how wide a terminal, or a file or a pipe.

use std::env;
use std::io::{self, IsTerminal};

use console::Term;

/// What is taken where a terminal does not say its width.
const USUAL_WIDTH: usize = 80;

/// What is known of standard output.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// The columns of the terminal. `None` for a file or a pipe, which take lines of any length.
    pub width: Option<usize>,
    /// Its rows. `None` also for a terminal that does not say them.
    pub height: Option<usize>,
    /// Whether texts may have colours.
    pub has_colors: bool,
}

impl Screen {
    pub fn of_standard_output() -> Self {
        if !io::stdout().is_terminal() {
            return Self { width: None, height: None, has_colors: false };
        }
        // A terminal of 0 rows and 0 columns does not say its size.
        let (rows, columns) = Term::stdout().size_checked().unwrap_or_default();
        let given = |size: u16| Some(usize::from(size)).filter(|size| *size > 0);
        let width = given(columns).unwrap_or(USUAL_WIDTH);
        Self { width: Some(width), height: given(rows), has_colors: !is_without_colors() }
    }
}

/// Whether the user wants no colours (<https://no-color.org>), or the terminal has none.
fn is_without_colors() -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    is_set("NO_COLOR") || env::var_os("TERM").is_some_and(|terminal| terminal == "dumb")
}
