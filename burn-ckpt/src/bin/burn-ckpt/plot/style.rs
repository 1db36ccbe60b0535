//! What a terminal can show: dots of Braille or plain symbols, in colours or not.

use std::env;

use crate::terminal::screen::Screen;

/// The colours of curves, in their order: those of the 16 that are read on light and on dark.
const COLORS: [&str; 6] = ["36", "33", "35", "32", "31", "34"];
/// What curves are drawn with where neither dots nor colours tell them apart.
const SYMBOLS: [char; 12] = ['*', '+', 'o', 'x', '#', '@', '%', '=', '&', '$', '~', ':'];

/// How charts are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether a cell has 2 times 4 dots, or one symbol.
    pub has_dots: bool,
    /// Whether lines and arrows are characters beyond ASCII.
    pub is_unicode: bool,
    has_colors: bool,
}

impl Style {
    /// For so many curves in a chart.
    pub fn of(screen: Screen, curves: usize) -> Self {
        Self::new(is_utf8(), screen.has_colors, curves)
    }

    pub fn new(is_unicode: bool, has_colors: bool, curves: usize) -> Self {
        let are_told_apart = curves <= 1 || (has_colors && curves <= COLORS.len());
        Self { has_dots: is_unicode && are_told_apart, is_unicode, has_colors }
    }

    pub fn symbol(self, curve: usize) -> char {
        SYMBOLS[curve % SYMBOLS.len()]
    }

    /// What stands for a curve in a list.
    pub fn sample(self, curve: usize) -> String {
        if self.has_dots { "\u{2812}\u{2812}".to_owned() } else { self.symbol(curve).to_string() }
    }

    /// A text in the colour of a curve.
    pub fn colored(self, text: &str, curve: usize) -> String {
        match self.has_colors {
            true => format!("\u{1b}[{}m{text}\u{1b}[0m", COLORS[curve % COLORS.len()]),
            false => text.to_owned(),
        }
    }
}

/// Whether the terminal shows UTF-8, as the first of the variables says that is set.
fn is_utf8() -> bool {
    let values = ["LC_ALL", "LC_CTYPE", "LANG"].map(|name| env::var(name).unwrap_or_default());
    let value = values.into_iter().find(|value| !value.is_empty()).unwrap_or_default().to_lowercase();
    value.contains("utf-8") || value.contains("utf8")
}
