//! How a figure is written in a table.

/// A cell without a figure.
const MISSING: &str = "-";

/// The cell for a figure that was not measured.
pub(crate) fn missing() -> String {
    MISSING.to_owned()
}

/// A number with so many decimals.
pub(crate) fn figure(value: Option<f64>, decimals: usize) -> String {
    value.filter(|value| value.is_finite()).map_or_else(missing, |value| format!("{value:.decimals$}"))
}

/// Seconds as milliseconds, with so many decimals.
pub(crate) fn milliseconds(seconds: Option<f64>, decimals: usize) -> String {
    figure(seconds.map(|seconds| seconds * 1e3), decimals)
}
