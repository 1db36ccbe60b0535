//! The names of the metrics of a run. A log can be hostile, and each name is a column.

use indexmap::IndexSet;

use crate::metrics::values::Values;
use crate::verb_result::Failure;

/// The most metrics of a run: as many as its history can have.
pub const MAX_METRICS: usize = 10_000;

/// Adds the names of these values.
///
/// # Errors
///
/// For more metrics than a table has columns for.
pub fn add(names: &mut IndexSet<String>, values: &Values) -> Result<(), Failure> {
    for name in values.metrics.keys() {
        if !names.contains(name) {
            names.insert(name.clone());
        }
    }
    match names.len() > MAX_METRICS {
        true => Err(Failure::Other(format!(
            "the run has more than {MAX_METRICS} metrics, the most that a table has"
        ))),
        false => Ok(()),
    }
}
