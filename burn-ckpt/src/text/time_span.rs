//! How a length of time is written for people. In a file's name it is `{duration}` of the name's template.

/// A length of time with its two largest units: `0.012 s`, `3.2 s`, `45 s`, `4 min 49 s`, `2 h 5 min`, `12
/// h`.
#[must_use]
pub fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    // A value that would be rounded to 60.0 is written in minutes.
    if seconds < 59.95 {
        let digits = if seconds < 0.9995 { 3 } else { 1 };
        let text = format!("{seconds:.digits$}");
        return format!("{} s", text.trim_end_matches('0').trim_end_matches('.'));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = seconds.round() as u64;
    let parts = match whole {
        0..3600 => [(whole / 60, "min"), (whole % 60, "s")],
        _ => [(whole / 3600, "h"), (whole % 3600 / 60, "min")],
    };
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, unit)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_the_units_that_keep_it_short() {
        for (seconds, shown) in [
            (0.0, "0 s"),
            (0.0124, "0.012 s"),
            (0.5, "0.5 s"),
            (0.9996, "1 s"),
            (3.21, "3.2 s"),
            (45.0, "45 s"),
            (59.96, "1 min"),
            (90.0, "1 min 30 s"),
            (289.4, "4 min 49 s"),
            (3599.6, "1 h"),
            (5400.0, "1 h 30 min"),
            (43_200.0, "12 h"),
            (f64::NAN, "0 s"),
            (-1.0, "0 s"),
        ] {
            assert_eq!(span(seconds), shown, "{seconds}");
        }
    }
}
