//! The columns of a table of checkpoints, on disk and in a mirror.

use crate::terminal::table::{Align, Table};

/// A table with a column for each of the metrics, and no rows yet.
pub fn checkpoint_table(metrics: &[String]) -> Table {
    let mut columns = vec![("file", Align::Left), ("epoch", Align::Right), ("step", Align::Right)];
    columns.extend(metrics.iter().map(|metric| (metric.as_str(), Align::Right)));
    columns.extend([("size", Align::Right), ("age", Align::Right)]);
    columns.extend([("links", Align::Left), ("state", Align::Left)]);
    // From the least important: age, size, links, all metrics but the first from the right, epoch, step, the
    // first metric.
    let ranks = [0, 3, 2].into_iter().chain([1]).chain((1..metrics.len()).map(|_| 4));
    let ranks = ranks.take(3 + metrics.len()).chain([6, 7, 5, 0]);
    Table::new(&columns).with_ranks(ranks)
}
