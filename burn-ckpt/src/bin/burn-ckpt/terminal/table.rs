//! Tables without borders: columns are two blanks apart, numbers are aligned to the right.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table as Cells};

use crate::terminal::output::in_one_line;

/// The alignment of a column's cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A table to which rows are added.
pub struct Table {
    cells: Cells,
    columns: Vec<Align>,
}

impl Table {
    /// A table with a heading for each column.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let mut table = Self::without_heading(columns.iter().map(|(_, align)| *align));
        table.row(columns.iter().map(|(heading, _)| (*heading).to_owned()));
        table
    }

    pub fn without_heading(columns: impl IntoIterator<Item = Align>) -> Self {
        let mut cells = Cells::new();
        cells.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        Self { cells, columns: columns.into_iter().collect() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.cells.add_row(cells.into_iter().map(|cell| in_one_line(&cell)));
    }

    /// The lines, each indented by `indent` blanks.
    pub fn lines(mut self, indent: usize) -> Vec<String> {
        for (column, align) in self.cells.column_iter_mut().zip(&self.columns) {
            column.set_padding((0, 2));
            column.set_cell_alignment(match align {
                Align::Left => CellAlignment::Left,
                Align::Right => CellAlignment::Right,
            });
        }
        self.cells.lines().map(|line| format!("{:indent$}{}", "", line.trim_end())).collect()
    }
}
