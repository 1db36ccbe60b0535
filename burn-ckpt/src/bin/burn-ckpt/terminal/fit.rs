//! Which columns of a table a terminal has room for, and how wide each of them is.

/// Blanks between two columns.
pub const GAP: usize = 2;
/// A text is not shortened below this width while another column can be dropped.
const READABLE: usize = 16;
/// The same of the first column, which says what a row is about.
const READABLE_NAME: usize = 40;
/// A text is not shortened below this width while a column is left to the right of the first.
const LEAST: usize = 4;

/// What is known of a column.
#[derive(Debug, Clone, Copy)]
pub struct ColumnSize {
    /// The width of its widest cell.
    pub natural: usize,
    /// Whether its cells can be shortened: texts, not numbers.
    pub can_shrink: bool,
    /// Columns of a higher rank are dropped earlier; those of rank 0 only if nothing else helps.
    pub rank: usize,
}

/// The width of each column; `None` for a column that is dropped. The first one always stays.
pub fn fit(columns: &[ColumnSize], room: Option<usize>) -> Vec<Option<usize>> {
    let mut shown: Vec<Option<usize>> = columns.iter().map(|column| Some(column.natural)).collect();
    let Some(room) = room else { return shown };
    let mut to_drop: Vec<usize> = (1..columns.len()).collect();
    to_drop.sort_by_key(|place| (columns[*place].rank, *place));
    loop {
        let next = to_drop.pop();
        let can_drop = next.is_some_and(|place| columns[place].rank > 0);
        let (name, text) = if can_drop { (READABLE_NAME, READABLE) } else { (LEAST, LEAST) };
        let least = |place: usize| if place == 0 { name } else { text };
        if let Some(widths) = shrink(columns, &shown, room, least) {
            return widths;
        }
        match next {
            Some(place) => shown[place] = None,
            None => {
                shown.iter_mut().flatten().for_each(|width| *width = room.min(*width));
                return shown;
            }
        }
    }
}

/// Shortens the widest texts until all columns fit. `None` if that takes a text below its least width.
fn shrink(
    columns: &[ColumnSize],
    shown: &[Option<usize>],
    room: usize,
    least: impl Fn(usize) -> usize,
) -> Option<Vec<Option<usize>>> {
    // None is wider than the terminal, so that the number of turns below is small.
    let width_of = |place: usize| {
        shown[place].map(|width| match columns[place].can_shrink {
            true => width.min(room.max(least(place))),
            false => width,
        })
    };
    let mut widths: Vec<Option<usize>> = (0..columns.len()).map(width_of).collect();
    loop {
        let number = widths.iter().flatten().count();
        let total = widths.iter().flatten().sum::<usize>() + GAP * number.saturating_sub(1);
        if total <= room {
            return Some(widths);
        }
        let texts = (0..columns.len()).filter(|place| columns[*place].can_shrink);
        let can_shrink = |place: &usize| widths[*place].is_some_and(|width| width > least(*place));
        let widest = texts.filter(can_shrink).max_by_key(|place| widths[*place])?;
        widths[widest] = widths[widest].map(|width| width - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(natural: usize, rank: usize) -> ColumnSize {
        ColumnSize { natural, can_shrink: true, rank }
    }

    fn number(natural: usize, rank: usize) -> ColumnSize {
        ColumnSize { natural, can_shrink: false, rank }
    }

    #[test]
    fn what_fits_is_as_wide_as_its_cells_and_a_file_takes_everything() {
        let columns = [text(10, 0), number(5, 1), text(500, 2)];
        assert_eq!(fit(&columns, None), [Some(10), Some(5), Some(500)]);
        assert_eq!(fit(&columns[..2], Some(17)), [Some(10), Some(5)]);
        assert_eq!(fit(&[], Some(80)), []);
    }

    #[test]
    fn texts_are_shortened_first_and_then_columns_of_the_highest_rank_are_dropped() {
        let columns = [text(30, 0), number(5, 2), number(5, 1), text(40, 0)];
        assert_eq!(fit(&columns, Some(80)), [Some(30), Some(5), Some(5), Some(34)]);
        assert_eq!(fit(&columns, Some(66)), [Some(30), Some(5), Some(5), Some(20)]);
        assert_eq!(fit(&columns, Some(58)), [Some(30), None, Some(5), Some(19)]);
        assert_eq!(fit(&columns, Some(50)), [Some(24), None, None, Some(24)]);
        assert_eq!(fit(&columns, Some(40)), [Some(19), None, None, Some(19)]);
    }

    #[test]
    fn nothing_is_wider_than_the_narrowest_terminal() {
        let columns = [text(30, 0), number(12, 0), text(40, 0)];
        for room in 0..120 {
            let widths: Vec<usize> = fit(&columns, Some(room)).into_iter().flatten().collect();
            assert!(widths.iter().sum::<usize>() + GAP * (widths.len() - 1) <= room, "{room}: {widths:?}");
        }
        assert_eq!(fit(&columns, Some(7)), [Some(7), None, None]);
        assert_eq!(fit(&columns, Some(0)), [Some(0), None, None]);
    }
}
