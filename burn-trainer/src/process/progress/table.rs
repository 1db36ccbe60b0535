//! A table in plain lines, which leaves out columns and cuts names where a terminal has no room for them.

/// Between two columns, and before the first.
const GAP: &str = "  ";
/// Stands for the end of a name that was cut off.
const CUT: &str = "..";
/// A name is cut no further: rather a column is left out.
const SHORTEST_NAME: usize = 12;

/// A column: its heading, its side, and how soon it is left out.
pub(crate) struct Column {
    heading: String,
    is_number: bool,
    /// The column with the highest is left out first; 0 stays.
    left_out: usize,
}

impl Column {
    pub(crate) fn text(heading: impl Into<String>, left_out: usize) -> Self {
        Self { heading: heading.into(), is_number: false, left_out }
    }

    pub(crate) fn number(heading: impl Into<String>, left_out: usize) -> Self {
        Self { heading: heading.into(), is_number: true, left_out }
    }
}

/// The lines of a table, heading first; none without rows. The first column has the names.
pub(crate) fn table(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let widths = widths(columns, rows);
    let (kept, name) = fitting(columns, &widths, width.unwrap_or(usize::MAX));
    let headings: Vec<String> = columns.iter().map(|column| column.heading.clone()).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for place in &kept {
            let room = if *place == 0 { name } else { widths[*place] };
            let cell = shortened(&row[*place], room);
            let space = " ".repeat(room.saturating_sub(width_of(&cell)));
            line.push_str(GAP);
            match columns[*place].is_number {
                true => line.extend([space, cell]),
                false => line.extend([cell, space]),
            }
        }
        line.truncate(line.trim_end().len());
        shortened(&line, width.unwrap_or(usize::MAX))
    };
    [&headings].into_iter().chain(rows).map(line).collect()
}

/// The headings of the columns for which there is no room.
pub(crate) fn left_out(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let (kept, _) = fitting(columns, &widths(columns, rows), width.unwrap_or(usize::MAX));
    let left_out = columns.iter().enumerate().filter(|(place, _)| !kept.contains(place));
    left_out.map(|(_, column)| column.heading.clone()).collect()
}

fn widths(columns: &[Column], rows: &[Vec<String>]) -> Vec<usize> {
    let width = |(place, column): (usize, &Column)| {
        let cells = rows.iter().map(|row| width_of(&row[place]));
        cells.chain([width_of(&column.heading)]).max().unwrap_or(0)
    };
    columns.iter().enumerate().map(width).collect()
}

/// The columns for which there is room, and the width of the first.
fn fitting(columns: &[Column], widths: &[usize], width: usize) -> (Vec<usize>, usize) {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    loop {
        let others: usize = kept.iter().skip(1).map(|place| widths[*place] + GAP.len()).sum();
        let room = width.saturating_sub(others + GAP.len());
        if room >= widths[0].min(SHORTEST_NAME) {
            return (kept, widths[0].min(room));
        }
        let left_out = (kept.iter().enumerate())
            .filter(|(_, place)| columns[**place].left_out > 0)
            .max_by_key(|(_, place)| columns[**place].left_out);
        match left_out {
            Some((index, _)) => drop(kept.remove(index)),
            None => return (kept, widths[0].min(room)),
        }
    }
}

/// A text of at most this width.
fn shortened(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let room = width.saturating_sub(CUT.len());
    for letter in text.chars() {
        if width_of(&kept) + width_of_char(letter) > room {
            break;
        }
        kept.push(letter);
    }
    kept + &CUT[..CUT.len().min(width)]
}

/// The width on a terminal. A letter that is not ASCII may be a wide one.
fn width_of(text: &str) -> usize {
    text.chars().map(width_of_char).sum()
}

fn width_of_char(letter: char) -> usize {
    if letter.is_ascii() { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        vec![row(["encoder.layers.0.attention", "Linear", "1,234,567"]), row(["出力", "Linear", "8"])]
    }

    fn lines(width: Option<usize>) -> Vec<String> {
        let columns = [Column::text("module", 0), Column::text("type", 2), Column::number("parameters", 1)];
        table(&columns, &rows(), width)
    }

    #[test]
    fn a_table_has_aligned_columns() {
        let expected = [
            "  module                      type    parameters",
            "  encoder.layers.0.attention  Linear   1,234,567",
            "  出力                        Linear           8",
        ];
        assert_eq!(lines(None), expected);
        assert_eq!(lines(Some(48)), expected);
    }

    #[test]
    fn it_keeps_to_the_width_of_the_terminal() {
        assert_eq!(lines(Some(40))[1], "  encoder.layers.0..  Linear   1,234,567");
        assert_eq!(lines(Some(30))[1], "  encoder.layers..   1,234,567");
        assert_eq!(lines(Some(12))[1], "  encoder...");
        for width in 0..60 {
            assert!(lines(Some(width)).iter().all(|line| width_of(line) <= width), "{width}");
        }
    }

    #[test]
    fn a_table_without_rows_has_no_heading() {
        assert!(table(&[Column::text("module", 0)], &[], None).is_empty());
    }
}
