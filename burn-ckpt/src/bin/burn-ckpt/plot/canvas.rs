//! A grid of character cells in which lines are drawn.

use crate::plot::style::Style;

/// The bits of a cell's dots in Braille, by row and column, and the character without dots.
const DOTS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
const BRAILLE: u32 = 0x2800;

/// A cell.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    dots: u32,
    /// The curve that was drawn last.
    curve: usize,
    /// All curves that were drawn here, a bit for each.
    curves: u64,
}

impl Cell {
    /// Of several curves in a cell with one symbol each has its columns, so that none hides the others.
    fn curve_in(self, column: usize) -> usize {
        let place = column % self.curves.count_ones().max(1) as usize;
        (0..u64::BITS as usize).filter(|curve| self.curves >> curve & 1 == 1).nth(place).unwrap_or(self.curve)
    }
}

/// A grid. Points are given from (0, 0), left below, to (1, 1).
#[derive(Debug)]
pub struct Canvas {
    columns: usize,
    cells: Vec<Cell>,
    style: Style,
}

impl Canvas {
    pub fn new(columns: usize, rows: usize, style: Style) -> Self {
        Self { columns, cells: vec![Cell::default(); columns * rows], style }
    }

    fn rows(&self) -> usize {
        self.cells.len() / self.columns.max(1)
    }

    /// Columns and rows of a cell.
    fn resolution(&self) -> (usize, usize) {
        if self.style.has_dots { (2, 4) } else { (1, 1) }
    }

    /// The dot of a point, counted from left above.
    fn dot(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (wide, high) = self.resolution();
        let (last_x, last_y) = (self.columns * wide - 1, self.rows() * high - 1);
        ((x * last_x as f64).round(), ((1.0 - y) * last_y as f64).round())
    }

    /// Draws a line of a curve: a point where both ends are one.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), curve: usize) {
        let ((x, y), (to_x, to_y)) = (self.dot(from), self.dot(to));
        let steps = (to_x - x).abs().max((to_y - y).abs()).max(1.0);
        for step in 0..=steps as usize {
            let part = step as f64 / steps;
            self.set(
                (x + part * (to_x - x)).round() as usize,
                (y + part * (to_y - y)).round() as usize,
                curve,
            );
        }
    }

    fn set(&mut self, x: usize, y: usize, curve: usize) {
        let (wide, high) = self.resolution();
        let place = (y / high) * self.columns + x / wide;
        if let Some(cell) = self.cells.get_mut(place) {
            cell.dots |= DOTS[y % high][x % wide];
            cell.curve = curve;
            cell.curves |= 1_u64.checked_shl(curve as u32).unwrap_or(0);
        }
    }

    /// The rows from above, with colours.
    pub fn lines(&self) -> Vec<String> {
        self.cells.chunks(self.columns.max(1)).map(|row| self.row(row)).collect()
    }

    fn row(&self, row: &[Cell]) -> String {
        let mut row = row.to_vec();
        if !self.style.has_dots {
            row.iter_mut().enumerate().for_each(|(column, cell)| cell.curve = cell.curve_in(column));
        }
        let is_drawn = |cell: &Cell| cell.dots != 0;
        let end = row.iter().rposition(is_drawn).map_or(0, |last| last + 1);
        let of_one_curve = |a: &Cell, b: &Cell| is_drawn(a) == is_drawn(b) && a.curve == b.curve;
        let shown = |part: &[Cell]| {
            let text: String = part.iter().map(|cell| self.letter(*cell)).collect();
            if is_drawn(&part[0]) { self.style.colored(&text, part[0].curve) } else { text }
        };
        row[..end].chunk_by(of_one_curve).map(shown).collect()
    }

    fn letter(&self, cell: Cell) -> char {
        match (cell.dots, self.style.has_dots) {
            (0, _) => ' ',
            (dots, true) => char::from_u32(BRAILLE + dots).unwrap_or(' '),
            (_, false) => self.style.symbol(cell.curve),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_from_corner_to_corner() {
        let mut dots = Canvas::new(2, 1, Style::new(true, false, 1));
        dots.line((0.0, 0.0), (1.0, 1.0), 0);
        assert_eq!(dots.lines(), ["⡠⠊"]);
        let mut symbols = Canvas::new(3, 3, Style::new(false, false, 2));
        symbols.line((0.0, 1.0), (1.0, 0.0), 0);
        symbols.line((0.0, 0.0), (0.0, 0.0), 1);
        assert_eq!(symbols.lines(), ["*", " *", "+ *"]);
        // Two curves in the same places.
        let mut both = Canvas::new(5, 1, Style::new(false, false, 2));
        both.line((0.0, 0.0), (1.0, 0.0), 1);
        both.line((0.0, 0.0), (0.8, 0.0), 0);
        assert_eq!(both.lines(), ["*+*++"]);
    }

    #[test]
    fn a_curve_has_its_colour_where_there_are_colours() {
        let mut canvas = Canvas::new(2, 1, Style::new(true, true, 2));
        canvas.line((0.0, 0.0), (1.0, 0.0), 1);
        assert_eq!(canvas.lines(), ["\u{1b}[33m⣀⣀\u{1b}[0m"]);
    }
}
