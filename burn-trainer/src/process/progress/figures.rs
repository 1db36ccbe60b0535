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

/// `45 s`, `12 min`, `3 h 5 min`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        0..100 => format!("{seconds} s"),
        100..3600 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
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
    fn a_time_has_the_unit_that_keeps_it_short() {
        let shown = [0.2, 45.0, 99.0, 119.0, 3599.0, 7260.0].map(|it| span(Duration::from_secs_f64(it)));
        assert_eq!(shown, ["0 s", "45 s", "99 s", "2 min", "60 min", "2 h 1 min"]);
    }
}
