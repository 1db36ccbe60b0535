//! What `ls` shows by default where there is much: a line for each of many runs, and of a run with many
//! checkpoints the newest and those that stand out.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::ls::listing::{Listing, Row};
use crate::parallel_verify::identity;
use crate::terminal::figures::{age, count, grouped, size};
use crate::terminal::table::{Align, Cell, Table, Tone};

/// `ls` prints no more lines than these by default: about a screen.
const MOST_LINES: usize = 50;

/// Whether the checkpoints of several runs are too many for a line each.
pub fn are_many(listings: &[Listing]) -> bool {
    // A heading, the columns' names and a blank line.
    let lines = |listing: &Listing| listing.rows.len() + listing.dangling.len() + 3;
    listings.len() > 1 && listings.iter().map(lines).sum::<usize>() > MOST_LINES
}

/// A line for each run.
pub fn table_of_runs(listings: &[Listing], now: Timestamp) -> Table {
    let columns = [
        ("run", Align::Left),
        ("checkpoints", Align::Right),
        ("epoch", Align::Right),
        ("step", Align::Right),
        ("size", Align::Right),
        ("age", Align::Right),
        ("state", Align::Left),
    ];
    let mut table = Table::new(&columns).with_ranks([0, 1, 4, 2, 3, 5, 0]);
    for listing in listings.iter().filter(|listing| !listing.is_empty()) {
        let newest = listing.rows.last();
        let metadata = newest.and_then(|row| row.metadata.as_ref());
        let broken = listing.rows.iter().filter(|row| row.problem.is_some()).count();
        let mut state = Vec::new();
        state.extend((broken > 0).then(|| format!("{} not whole", grouped(broken))));
        let dangling = listing.dangling.len();
        state.extend((dangling > 0).then(|| format!("{} to missing files", count(dangling, "link"))));
        let state = match state.is_empty() {
            true => Cell::from("whole".to_owned()),
            false => Cell::new(state.join(", "), Tone::Bad),
        };
        // A file that has two names is on the disk once.
        let mut files = HashSet::new();
        let once = listing.rows.iter().filter(|row| files.insert(identity(&row.path)));
        let bytes = once.map(|row| row.bytes).fold(0, u64::saturating_add);
        let cells = [
            listing.name.clone(),
            grouped(listing.rows.len()),
            metadata.map(|metadata| metadata.epoch.to_string()).unwrap_or_default(),
            metadata.map(|metadata| metadata.global_step.to_string()).unwrap_or_default(),
            size(bytes),
            newest.map(|row| age(row.saved(), now)).unwrap_or_default(),
        ];
        table.row(cells.map(Cell::from).into_iter().chain([state]));
    }
    table
}

/// The checkpoints of a run that are shown: the newest, those that a link points to, and those that are not
/// whole.
pub fn shown_rows(listing: &Listing, all: bool) -> Vec<&Row> {
    let older = if all { 0 } else { listing.rows.len().saturating_sub(MOST_LINES) };
    let stands_out = |row: &Row| !row.links.is_empty() || row.problem.is_some();
    let rows = listing.rows.iter().enumerate();
    rows.filter(|(place, row)| *place >= older || stands_out(row)).map(|(_, row)| row).collect()
}
