//! How sizes, times, counts and metrics are written for humans.

pub use burn_ckpt::plumbing::{size, span};
use jiff::Timestamp;
use serde_json::Value;

/// `461.6 KiB (472634 bytes)`.
pub fn exact_size(bytes: u64) -> String {
    if bytes < 1024 { size(bytes) } else { format!("{} ({bytes} bytes)", size(bytes)) }
}

/// How long ago a moment was: `3 min`. A moment in the future counts as now.
pub fn age(when: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(when.as_second()).max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A moment in UTC to the second.
pub fn moment(when: Timestamp) -> String {
    when.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Significant digits of a number.
const DIGITS: usize = 4;
/// More do not tell two numbers of 64 bits apart.
const MAX_DIGITS: usize = 17;

/// A number with four significant digits, or more where more digits are before the point.
pub fn number(value: f64) -> String {
    number_with(value, DIGITS)
}

/// The digits that tell numbers between these two apart, also where they differ by little of their size.
pub fn digits_between(low: f64, high: f64) -> usize {
    // Halves, as the difference of the two can be more than any number.
    let differing = high / 2.0 - low / 2.0;
    if !(low.is_finite() && high.is_finite() && differing > 0.0) {
        return DIGITS;
    }
    let same = low.abs().max(high.abs()).log10() - differing.log10();
    (same.ceil().max(0.0) as usize + 2).clamp(DIGITS, MAX_DIGITS)
}

/// A number with so many significant digits, or more where more digits are before the point.
pub fn number_with(value: f64, digits: usize) -> String {
    let magnitude = value.abs();
    if !value.is_finite() {
        return value.to_string();
    }
    if magnitude == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e9).contains(&magnitude) {
        return format!("{value:.*e}", digits.saturating_sub(1));
    }
    let before_point = magnitude.log10().floor() as i64 + 1;
    let after_point = i64::try_from(digits).unwrap_or(0) - before_point;
    format!("{value:.*}", usize::try_from(after_point).unwrap_or(0))
}

/// `1 file`, `2 files`.
pub fn count(number: usize, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `12,345`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A JSON value in one line. A string has no quotes.
pub fn value(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The same, and a list of texts as these texts.
pub fn words(json: &Value) -> String {
    match json.as_array() {
        Some(list) if list.iter().all(Value::is_string) => {
            list.iter().map(value).collect::<Vec<_>>().join(", ")
        }
        _ => value(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_keeps_them_short() {
        let shown = [0, 1023, 1024, 472_634, 1024 * 1024 - 1, 5 << 30].map(size);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "461.6 KiB", "1.0 MiB", "5.0 GiB"]);
    }

    #[test]
    fn metrics_have_four_digits() {
        let shown = [0.149_320_504, 96.378_83, 12_345.6, 0.0, -0.001_234_56, 1.5e-7, f64::NAN].map(number);
        assert_eq!(shown, ["0.1493", "96.38", "12346", "0", "-0.001235", "1.500e-7", "NaN"]);
    }

    #[test]
    fn numbers_of_a_narrow_range_have_the_digits_that_tell_them_apart() {
        for (low, high, expected) in [
            (1234.0, 1234.5, ["1234.00", "1234.50"]),
            (100_000.1, 100_000.4, ["100000.10", "100000.40"]),
            (1e9, 1e9 + 1.0, ["1.00000000000e9", "1.00000000100e9"]),
            (1.0, 3.0, ["1.000", "3.000"]),
            (2.0, 2.0, ["2.000", "2.000"]),
            (-1.7e308, 1.7e308, ["-1.700e308", "1.700e308"]),
            (f64::NAN, 1.0, ["NaN", "1.000"]),
        ] {
            let digits = digits_between(low, high);
            assert_eq!([low, high].map(|value| number_with(value, digits)), expected);
        }
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((count(1, "file"), count(0, "file")), ("1 file".to_owned(), "0 files".to_owned()));
    }

    #[test]
    fn a_list_of_texts_is_shown_as_words() {
        let shown = [serde_json::json!(["a", "b"]), serde_json::json!([]), serde_json::json!([1, "a"])];
        assert_eq!(shown.map(|list| words(&list)), ["a, b", "", r#"[1,"a"]"#]);
    }
}
