//! The table that a measuring program prints: Markdown, as it can stand in `BENCHMARKS.md`.

use std::fmt;

use comfy_table::presets::ASCII_MARKDOWN;

/// A Markdown table that is also read well on a terminal.
pub struct Table(comfy_table::Table);

impl Table {
    /// With these columns.
    #[must_use]
    pub fn new(columns: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_preset(ASCII_MARKDOWN).set_header(columns);
        Self(table)
    }

    /// One row more.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
