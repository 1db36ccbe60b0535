//! How numbers and times are written in lines of progress.

use std::time::Duration;

/// Four significant digits: 0.01234, 98.89, 1.235e-5.
pub(crate) fn significant(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() || magnitude == 0.0 {
        value.to_string()
    } else if (1e-3..1e6).contains(&magnitude) {
        let digits = 3 - magnitude.log10().floor() as i32;
        format!("{value:.*}", usize::try_from(digits).unwrap_or(0))
    } else {
        format!("{value:.3e}")
    }
}

/// `1 epoch`, `2 epochs`.
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `45 s`, `12 min`, `3 h 5 min`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        0..100 => format!("{seconds} s"),
        100..3600 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A limit or a wait with nothing rounded off but less than a millisecond: `0.5 s`, `45 s`, `1 h 30 min`,
/// `12 h`.
pub(crate) fn exact_time(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    if millis > 0 || seconds < 60 {
        let fraction = if millis > 0 { format!(".{millis:03}") } else { String::new() };
        return format!("{seconds}{} s", fraction.trim_end_matches('0'));
    }
    let parts = [(seconds / 3600, "h"), (seconds % 3600 / 60, "min"), (seconds % 60, "s")];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, unit)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_four_digits() {
        for (value, shown) in [
            (98.8877, "98.89"),
            (0.0123456, "0.01235"),
            (1.2345e-5, "1.234e-5"),
            (123456.7, "123457"),
            (0.0, "0"),
        ] {
            assert_eq!(significant(value), shown);
        }
        assert_eq!(significant(f64::NAN), "NaN");
    }

    #[test]
    fn a_limit_is_written_as_it_was_set() {
        for (millis, shown) in [
            (0, "0 s"),
            (500, "0.5 s"),
            (1_250, "1.25 s"),
            (45_000, "45 s"),
            (60_000, "1 min"),
            (90_000, "1 min 30 s"),
            (90_005, "90.005 s"),
            (5_400_000, "1 h 30 min"),
            (43_200_000, "12 h"),
        ] {
            assert_eq!(exact_time(Duration::from_millis(millis)), shown);
        }
    }

    #[test]
    fn a_time_has_the_unit_that_keeps_it_short() {
        let shown = [0.2, 45.0, 99.0, 119.0, 3599.0, 7260.0].map(|it| span(Duration::from_secs_f64(it)));
        assert_eq!(shown, ["0 s", "45 s", "99 s", "2 min", "60 min", "2 h 1 min"]);
    }
}
