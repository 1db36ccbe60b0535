//! The template of a checkpoint's file name: `{epoch:03}-{val_loss:.4}`.
//!
//! Parsed and checked before training starts, rendered at every save. Fields are `epoch`, `step`, `duration`
//! and the metrics' names. A number's format is Rust's: `[0][width][.precision]`.

use std::ops::Range;

use indexmap::IndexMap;

use crate::error::Result;
use crate::file_names::{MAX_NAME_BYTES, name_error, safe_name};

/// Upper limit of a field's width, and of its digits after the point.
const MAX_FORMAT: usize = 32;
/// Values that are written without an exponent, without their signs. Others have hundreds of digits.
const PLAIN: Range<f64> = 1e-10..1e16;
const WHAT: &str = "the filename template";
/// The fields that are not metrics.
const FIELDS: [&str; 3] = ["epoch", "step", DURATION];
/// The training time, over all parts of a resumed run.
const DURATION: &str = "duration";

/// A parsed file name template.
///
/// ```
/// use burn_ckpt::plumbing::FilenameTemplate;
/// use indexmap::IndexMap;
///
/// let template = FilenameTemplate::parse("{epoch:03}-{val_loss:.4}", &["val_loss"])?;
/// let metrics = IndexMap::from([("val_loss".to_owned(), 0.12345)]);
/// assert_eq!(template.render(7, 350, 65.0, &metrics)?, "007-0.1235");
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FilenameTemplate {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Field { name: String, format: Format },
}

impl Part {
    /// A field such as `val_loss:.4`, from the text between its braces. Or what is wrong with it.
    fn field<S: AsRef<str>>(field: &str, metrics: &[S]) -> Result<Self, String> {
        let (name, format) = field.split_once(':').unwrap_or((field, ""));
        if !is_known(name, metrics) {
            let known: Vec<&str> = FIELDS.into_iter().chain(metrics.iter().map(AsRef::as_ref)).collect();
            return Err(format!("unknown field {name:?}; the fields are {}", known.join(", ")));
        }
        if name == DURATION && !format.is_empty() {
            return Err("{duration} is a text like 01h02m03s and takes no number format".to_owned());
        }
        match Format::parse(format) {
            Some(format) => Ok(Self::Field { name: name.to_owned(), format }),
            None => Err(format!("the number format {format:?} is invalid; write it like 03, .4 or 08.4")),
        }
    }
}

/// The text of a field up to its closing brace.
fn rest_of_field(chars: &mut impl Iterator<Item = char>) -> Result<String, String> {
    let mut field = String::new();
    loop {
        match chars.next() {
            Some('}') => return Ok(field),
            Some('{') | None => return Err(format!("the field \"{{{field}\" is not closed")),
            Some(c) => field.push(c),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Format {
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

impl FilenameTemplate {
    /// The default: `epoch=3-step=150`.
    pub const DEFAULT: &'static str = "epoch={epoch}-step={step}";

    /// Parses a template whose fields may be `epoch`, `step`, `duration` and the `metrics` given. `{{` and
    /// `}}` stand for braces.
    ///
    /// # Errors
    ///
    /// [`Error::Name`](crate::Error::Name) for an unknown field (the message lists the known ones), an
    /// invalid format, an unclosed brace, a path separator, or a name that would be longer than
    /// [`MAX_NAME_BYTES`].
    pub fn parse<S: AsRef<str>>(source: &str, metrics: &[S]) -> Result<Self> {
        let invalid = |reason: String| name_error(WHAT, source, reason);
        if source.contains(['/', '\\']) {
            return Err(invalid(
                "it must not contain a path separator; set dirpath for another directory".to_owned(),
            ));
        }
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut chars = source.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.peek() == Some(&c) => {
                    chars.next();
                    text.push(c);
                }
                '{' => {
                    let field = rest_of_field(&mut chars).map_err(invalid)?;
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::field(&field, metrics).map_err(invalid)?);
                }
                '}' => {
                    return Err(invalid(
                        "a \"}\" closes no field; write \"}}\" for the brace itself".to_owned(),
                    ));
                }
                c => text.push(c),
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        let template = Self { source: source.to_owned(), parts };
        template.check_length()?;
        // Rendering once checks that the name is valid before training starts.
        let sample = metrics.iter().map(|name| (name.as_ref().to_owned(), 0.0)).collect();
        template.render(0, 0, 0.0, &sample)?;
        Ok(template)
    }

    /// The metrics among its fields.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field { name, .. } if !FIELDS.contains(&name.as_str()) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The file name for a state after so many seconds of training, without ending. A metric without a value
    /// is written `none`.
    ///
    /// # Errors
    ///
    /// [`Error::Name`](crate::Error::Name) when the result is not a valid file name.
    pub fn render(
        &self,
        epoch: u64,
        step: u64,
        seconds: f64,
        metrics: &IndexMap<String, f64>,
    ) -> Result<String> {
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Field { name: field, format } => name.push_str(&match field.as_str() {
                    "epoch" => format.integer(epoch),
                    "step" => format.integer(step),
                    DURATION => duration(seconds),
                    metric => metrics.get(metric).map_or("none".to_owned(), |value| format.float(*value)),
                }),
            }
        }
        safe_name(WHAT, &name)
    }

    fn check_length(&self) -> Result<()> {
        // A u64 has up to 20 digits. An f64 in this range has a sign, a point, 9 zeros and 17 digits; any
        // other one has an exponent.
        const LONGEST_NUMBER: usize = 30;
        let length: usize = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.len(),
                Part::Field { format, .. } => LONGEST_NUMBER
                    .max(format.width)
                    .max(format.precision.map_or(0, |precision| precision + 20)),
            })
            .sum();
        if length > MAX_NAME_BYTES {
            let reason = format!("names can have up to {length} bytes, and {MAX_NAME_BYTES} are allowed");
            return Err(name_error(WHAT, &self.source, reason));
        }
        Ok(())
    }
}

impl Format {
    fn parse(source: &str) -> Option<Self> {
        let (width, precision) = match source.split_once('.') {
            Some((width, precision)) => (width, Some(number(precision)?)),
            None => (source, None),
        };
        let zero = width.len() > 1 && width.starts_with('0');
        let width = if width.is_empty() { 0 } else { number(width)? };
        Some(Self { zero, width, precision })
    }

    fn integer(self, value: u64) -> String {
        let width = self.width;
        if self.zero { format!("{value:0width$}") } else { format!("{value:width$}").replace(' ', "_") }
    }

    fn float(self, value: f64) -> String {
        let width = self.width;
        let is_long = value != 0.0 && !PLAIN.contains(&value.abs());
        let text = match (self.precision, self.zero && value.is_finite()) {
            (Some(precision), _) if is_long && value.abs() > 1.0 => format!("{value:width$.precision$e}"),
            (None, _) if is_long => format!("{value:width$e}"),
            (Some(precision), true) => format!("{value:0width$.precision$}"),
            (Some(precision), false) => format!("{value:width$.precision$}"),
            (None, true) => format!("{value:0width$}"),
            (None, false) => format!("{value:width$}"),
        };
        text.replace(' ', "_")
    }
}

/// `01h02m03s`: sorts by time up to 99 hours.
fn duration(seconds: f64) -> String {
    // Anything else than a number of seconds becomes 0, or the largest one.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let seconds = seconds as u64;
    format!("{:02}h{:02}m{:02}s", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn number(digits: &str) -> Option<usize> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten().filter(|number| *number <= MAX_FORMAT)
}

fn is_known<S: AsRef<str>>(name: &str, metrics: &[S]) -> bool {
    FIELDS.contains(&name) || metrics.iter().any(|metric| metric.as_ref() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    fn rendered(source: &str, epoch: u64, step: u64, loss: f64) -> String {
        let metrics = IndexMap::from([("val_loss".to_owned(), loss)]);
        FilenameTemplate::parse(source, &["val_loss"]).unwrap().render(epoch, step, 3723.9, &metrics).unwrap()
    }

    #[test]
    fn fields_are_padded_and_rounded() {
        assert_eq!(rendered(FilenameTemplate::DEFAULT, 3, 150, 0.1), "epoch=3-step=150");
        assert_eq!(rendered("{epoch:03}-{val_loss:.4}", 3, 150, 0.123456), "003-0.1235");
        assert_eq!(rendered("{step:08}", 3, 150, 0.1), "00000150");
        // A value with hundreds of digits has an exponent.
        for (value, short, rounded) in [
            (0.0, "0", "0.0000"),
            (1e-300, "1e-300", "0.0000"),
            (-1e300, "-1e300", "-1.0000e300"),
            (f64::from(f32::MAX), "3.4028234663852886e38", "3.4028e38"),
        ] {
            assert_eq!(rendered("{val_loss}", 3, 150, value), short);
            assert_eq!(rendered("{val_loss:.4}", 3, 150, value), rounded);
        }
        assert_eq!(rendered("{{{epoch}}}", 3, 1, 0.1), "_3_");
        let template =
            FilenameTemplate::parse("{epoch}-{val_loss:.4}-{step}", &["val_loss", "val_f1"]).unwrap();
        assert_eq!(Vec::from_iter(template.metrics()), ["val_loss"]);
    }

    #[test]
    fn a_metric_that_is_not_finite_gives_a_valid_name() {
        assert_eq!(rendered("{epoch}-{val_loss:.2}", 0, 1, f64::NAN), "0-NaN");
        assert_eq!(rendered("{epoch}-{val_loss:08.2}", 0, 1, f64::NEG_INFINITY), "0-____-inf");
        let template = FilenameTemplate::parse("{epoch}-{val_loss}", &["val_loss"]).unwrap();
        assert_eq!(template.render(0, 1, 0.0, &IndexMap::new()).unwrap(), "0-none");
    }

    #[test]
    fn the_duration_is_that_of_the_training_in_hours_minutes_and_seconds() {
        assert_eq!(rendered("{step}-{duration}", 3, 150, 0.1), "150-01h02m03s");
        let longest = FilenameTemplate::parse::<&str>("{duration}", &[]).unwrap();
        assert_eq!(longest.metrics().count(), 0);
        for (seconds, name) in [(0.0, "00h00m00s"), (f64::NAN, "00h00m00s"), (360_000.0, "100h00m00s")] {
            assert_eq!(longest.render(0, 0, seconds, &IndexMap::new()).unwrap(), name);
        }
        assert!(longest.render(0, 0, f64::INFINITY, &IndexMap::new()).unwrap().len() <= 24);
    }

    #[test]
    fn an_unknown_field_is_an_error_that_lists_the_fields() {
        let error = FilenameTemplate::parse("{epoch}-{loss}", &["val_loss"]).unwrap_err().to_string();
        assert!(error.contains("\"loss\"") && error.contains("epoch, step, duration, val_loss"), "{error}");
    }

    #[test]
    fn malformed_templates_are_errors() {
        for source in [
            "",
            "{epoch",
            "epoch}",
            "{duration:04}",
            "{duration:.2}",
            "{epoch:x}",
            "{epoch:999}",
            "a/{epoch}",
            "{}",
            "...",
            "{epoch{step}",
        ] {
            let parsed = FilenameTemplate::parse::<&str>(source, &[]);
            assert!(matches!(parsed, Err(Error::Name { .. })), "{source:?}: {parsed:?}");
        }
        assert!(FilenameTemplate::parse::<&str>(&"x".repeat(MAX_NAME_BYTES + 1), &[]).is_err());
    }
}
