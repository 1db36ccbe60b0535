//! How numbers and times are written in lines of progress.

pub(crate) use burn_ckpt::plumbing::span;

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
}
