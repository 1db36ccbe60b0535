//! Tables without borders: columns are two blanks apart, numbers are aligned to the right. On a terminal a
//! table is not wider than that: long texts are shortened or wrapped, and columns of less importance are
//! dropped.

use console::{measure_text_width, truncate_str};

use crate::terminal::fit::{ColumnSize, GAP, fit};
use crate::terminal::printable::in_one_line;
use crate::terminal::screen::Screen;

/// Stands at the end of a text that is shortened.
const CUT: &str = "..";

/// The alignment of a column's cells. Texts are aligned to the left, and can be shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// How a cell looks on a terminal with colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    Heading,
    Good,
    Bad,
    Faint,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "1",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Faint => "2",
        }
    }
}

/// A cell: one line of text.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: in_one_line(text.as_ref()), tone }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// A table to which rows are added.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    has_heading: bool,
    wraps: bool,
}

struct Column {
    heading: String,
    align: Align,
    /// See [`Table::with_ranks`].
    rank: usize,
}

/// A cell of a column for which there is room.
struct ShownCell<'a> {
    cell: &'a Cell,
    align: Align,
    width: usize,
}

/// A table as lines.
pub struct Fitted {
    pub lines: Vec<String>,
    /// The headings of the columns for which there was no room.
    pub dropped: Vec<String>,
}

impl Table {
    /// A table with a heading for each column.
    pub fn new<H: AsRef<str>>(columns: &[(H, Align)]) -> Self {
        let column = |(heading, align): &(H, Align)| Column {
            heading: in_one_line(heading.as_ref()),
            align: *align,
            rank: 0,
        };
        Self {
            columns: columns.iter().map(column).collect(),
            rows: Vec::new(),
            has_heading: true,
            wraps: false,
        }
    }

    pub fn without_heading(columns: impl IntoIterator<Item = Align>) -> Self {
        let column = |align| Column { heading: String::new(), align, rank: 0 };
        Self {
            columns: columns.into_iter().map(column).collect(),
            rows: Vec::new(),
            has_heading: false,
            wraps: false,
        }
    }

    /// Says in which order columns are dropped where there is no room for all: those of the highest rank
    /// first, those of rank 0 last.
    pub fn with_ranks(mut self, ranks: impl IntoIterator<Item = usize>) -> Self {
        for (column, rank) in self.columns.iter_mut().zip(ranks) {
            column.rank = rank;
        }
        self
    }

    /// How many columns it has.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Continues long texts of the last column on further lines, and does not shorten them.
    pub fn wrapped(self) -> Self {
        Self { wraps: true, ..self }
    }

    pub fn row<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// How many rows it has, without the heading.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The lines, each indented by `indent` blanks.
    pub fn fitted(mut self, indent: usize, screen: Screen) -> Fitted {
        if self.has_heading {
            let heading = |column: &Column| Cell { text: column.heading.clone(), tone: Tone::Heading };
            self.rows.insert(0, self.columns.iter().map(heading).collect());
        }
        let indent = screen.width.map_or(indent, |width| indent.min(width / 4));
        let widths = fit(&self.sizes(), screen.width.map(|width| width - indent));
        let dropped = self.columns.iter().zip(&widths).filter(|(_, width)| width.is_none());
        let dropped = dropped.map(|(column, _)| column.heading.clone()).collect();
        let mut lines = Vec::new();
        for row in &self.rows {
            let mut shown = Vec::new();
            for ((cell, column), width) in row.iter().zip(&self.columns).zip(&widths) {
                shown.extend(width.map(|width| ShownCell { cell, align: column.align, width }));
            }
            lines.extend(self.lines_of(&shown, indent, screen.has_colors));
        }
        Fitted { lines, dropped }
    }

    fn sizes(&self) -> Vec<ColumnSize> {
        let widest = |place: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(place));
            cells.map(|cell| measure_text_width(&cell.text)).max().unwrap_or(0)
        };
        let columns = self.columns.iter().enumerate();
        columns
            .map(|(place, column)| ColumnSize {
                natural: widest(place),
                can_shrink: column.align == Align::Left,
                rank: column.rank,
            })
            .collect()
    }

    /// A row: one line, or several if its last text is wrapped.
    fn lines_of(&self, cells: &[ShownCell<'_>], indent: usize, has_colors: bool) -> Vec<String> {
        let Some((last, others)) = cells.split_last() else { return Vec::new() };
        let mut line = " ".repeat(indent);
        for ShownCell { cell, align, width } in others {
            // Of the first column, which is a name, the end says as much as the beginning.
            let text = if line.len() == indent {
                shortened_inside(&cell.text, *width)
            } else {
                shortened(&cell.text, *width)
            };
            line.push_str(&padded(&text, *align, *width, cell.tone, has_colors));
            line.push_str(&" ".repeat(GAP));
        }
        let ShownCell { cell, align, width } = last;
        let texts = if self.wraps { wrap(&cell.text, *width) } else { vec![shortened(&cell.text, *width)] };
        let blank = " ".repeat(indent + others.iter().map(|other| other.width + GAP).sum::<usize>());
        let mut lines = Vec::new();
        for text in texts {
            let start = if lines.is_empty() { line.as_str() } else { blank.as_str() };
            let text = padded(&text, *align, *width, cell.tone, has_colors);
            lines.push(format!("{start}{text}").trim_end().to_owned());
        }
        lines
    }
}

/// A text with blanks up to a width, and its colour.
fn padded(text: &str, align: Align, width: usize, tone: Tone, has_colors: bool) -> String {
    let blanks = " ".repeat(width.saturating_sub(measure_text_width(text)));
    let colored = match tone.code() {
        code if has_colors && !code.is_empty() && !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
        _ => text.to_owned(),
    };
    match align {
        Align::Left => colored + &blanks,
        Align::Right => blanks + &colored,
    }
}

/// The text, or its beginning if it is wider.
fn shortened(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    truncate_str(text, width, if width > 2 * CUT.len() { CUT } else { "" }).into_owned()
}

/// The text, or its beginning and its end if it is wider.
fn shortened_inside(text: &str, width: usize) -> String {
    let room = width.saturating_sub(CUT.len());
    if measure_text_width(text) <= width || room < 2 * CUT.len() {
        return shortened(text, width);
    }
    let beginning = truncate_str(text, room.div_ceil(2), "");
    let mut end = text;
    while measure_text_width(end) > room / 2 {
        end = &end[end.chars().next().map_or(end.len(), char::len_utf8)..];
    }
    format!("{beginning}{CUT}{end}")
}

/// The text in lines of a width, divided at blanks where there are any.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut rest) = (Vec::new(), text);
    while measure_text_width(rest) > width {
        let start = truncate_str(rest, width, "").len();
        // A character that is wider than the line has a line of its own.
        let start = if start > 0 { start } else { rest.chars().next().map_or(rest.len(), char::len_utf8) };
        // At the last blank in the line, or just behind it.
        let is_whole = rest[start..].starts_with(' ');
        let end =
            if is_whole { start } else { rest[..start].rfind(' ').filter(|end| *end > 0).unwrap_or(start) };
        lines.push(rest[..end].to_owned());
        rest = rest[end..].trim_start_matches(' ');
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Screen = Screen { width: None, height: None, has_colors: false };

    fn table() -> Table {
        let mut table = Table::new(&[("name", Align::Left), ("n", Align::Right), ("why", Align::Left)])
            .with_ranks([0, 1, 0]);
        for (name, number, why) in
            [("模型-a", "10", "it is whole"), ("b", "2", "a much longer text than that")]
        {
            table.row([name, number, why].map(str::to_owned));
        }
        table
    }

    #[test]
    fn wide_characters_count_twice() {
        let Fitted { lines, dropped } = table().fitted(1, PLAIN);
        let expected =
            [" name     n  why", " 模型-a  10  it is whole", " b        2  a much longer text than that"];
        assert_eq!((lines, dropped), (expected.map(str::to_owned).to_vec(), Vec::new()));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for wraps in [false, true] {
            for width in 1..60 {
                let screen = Screen { width: Some(width), height: None, has_colors: false };
                let fitted = Table { wraps, ..table() }.fitted(2, screen);
                // A wide character has no place in a terminal of one column.
                let fits = |line: &String| measure_text_width(line) <= width.max(2);
                assert!(fitted.lines.iter().all(fits), "{width}: {:?}", fitted.lines);
            }
        }
        let Fitted { lines, dropped } =
            table().fitted(0, Screen { width: Some(24), height: None, has_colors: false });
        assert_eq!((lines[2].as_str(), dropped), ("b       a much longer ..", vec!["n".to_owned()]));
    }

    #[test]
    fn of_a_name_beginning_and_end_stay() {
        assert_eq!(shortened_inside("best/epoch=10-step=450.ckpt", 20), "best/epoc..=450.ckpt");
        assert_eq!(shortened_inside("模型模型模型模型", 13), "模型模..模型");
        assert_eq!(shortened_inside("best/epoch", 10), "best/epoch");
        assert_eq!(shortened_inside("best/epoch", 5), "bes..");
    }

    #[test]
    fn a_text_is_wrapped_at_blanks_and_nothing_of_it_is_lost() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 5), ["one", "two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("模型", 1), ["模", "型"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn colours_take_no_width() {
        let mut table = Table::without_heading([Align::Right, Align::Left]);
        table.row([Cell::new("7", Tone::Bad), Cell::new("x", Tone::Plain)]);
        table.row([Cell::new("\x1b[31m", Tone::Good), Cell::new("", Tone::Bad)]);
        let lines = table.fitted(0, Screen { width: Some(80), height: None, has_colors: true }).lines;
        assert_eq!(lines, ["         \x1b[31m7\x1b[0m  x", "\x1b[32m\\u{1b}[31m\x1b[0m"]);
    }
}
