//! Taking times, and the middle of several.

/// Runs it, and says for how many seconds.
pub fn seconds<T>(run: impl FnOnce() -> T) -> (f64, T) {
    let start = std::time::Instant::now();
    let result = run();
    (start.elapsed().as_secs_f64(), result)
}

/// The middle one; of an even number the upper one of the two.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The smallest.
#[must_use]
pub fn best(values: &[f64]) -> Option<f64> {
    values.iter().copied().min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_one_of_the_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[1.0, 4.0]), Some(4.0));
        assert_eq!(median(&[]), None);
        assert_eq!(best(&[3.0, 1.0, 2.0]), Some(1.0));
    }
}
