//! What is trained and saved: how large the state is, and in how many tensors.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Parameters and Adam's two moments of each, in f32.
pub const BYTES_A_PARAMETER: u64 = 12;

/// The cases that are measured unless others are named.
pub const USUAL: [&str; 7] =
    ["1MB/10", "100MB/100", "1.26GB/10", "1.26GB/100", "1.26GB/1000", "1.26GB/10000", "4GB/100"];

/// A state of about this size, its parameters in so many square matrices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// As it was asked for: `1.26GB/100`.
    pub name: String,
    /// Weight matrices.
    pub layers: usize,
    /// Rows and columns of each.
    pub width: usize,
}

impl Case {
    /// Of a size in bytes, rounded down to whole rows, and so many matrices.
    fn new(name: &str, bytes: f64, layers: usize) -> Result<Self, String> {
        if layers == 0 {
            return Err(format!("{name}: there is no state in 0 tensors"));
        }
        let parameters = bytes / BYTES_A_PARAMETER as f64;
        // Far below 2^52, or it would be no size of a state.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let width = (parameters / layers as f64).sqrt().floor() as usize;
        match width {
            0 => Err(format!("{name}: too small for {layers} tensors")),
            _ => Ok(Self { name: name.to_owned(), layers, width }),
        }
    }

    /// Bytes of its parameters.
    #[must_use]
    pub fn model_bytes(&self) -> u64 {
        self.state_bytes() / 3
    }

    /// Bytes of the whole state.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        (self.layers * self.width * self.width) as u64 * BYTES_A_PARAMETER
    }
}

/// `SIZE/TENSORS`, like `1.26GB/100`.
impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a case, which is SIZE/TENSORS, like 1.26GB/100");
        let (size, layers) = text.split_once('/').ok_or_else(wrong)?;
        let layers: usize = layers.parse().map_err(|_| wrong())?;
        Self::new(text, bytes(size).ok_or_else(wrong)?, layers)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The size in front of the slash of a case: `1.26GB`.
#[must_use]
pub fn size_of(case: &str) -> &str {
    case.split('/').next().unwrap_or_default()
}

/// A number with a unit of decimal bytes, up to 1 TB: `100MB`.
fn bytes(size: &str) -> Option<f64> {
    let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let (number, unit) = units.iter().find_map(|(suffix, unit)| Some((size.strip_suffix(suffix)?, unit)))?;
    let bytes = number.parse::<f64>().ok()? * unit;
    (bytes > 0.0 && bytes <= 1e12).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_the_issue_is_100_matrices_of_1024() {
        let case: Case = "1.26GB/100".parse().unwrap();
        assert_eq!((case.layers, case.width), (100, 1024));
        assert_eq!(case.state_bytes(), 1_258_291_200);
        assert_eq!(case.model_bytes(), 100 * 1024 * 1024 * 4);
    }

    #[test]
    fn a_usual_case_is_within_3_percent_of_its_size() {
        for name in USUAL {
            let case: Case = name.parse().unwrap();
            let asked = bytes(size_of(name)).unwrap();
            let share = case.state_bytes() as f64 / asked;
            assert!((0.97..=1.0).contains(&share), "{name}: {share}");
        }
    }

    #[test]
    fn what_is_not_a_case_is_an_error_that_names_it() {
        for wrong in ["", "1GB", "1/10", "1GB/", "1GB/0", "GB/1", "-1GB/1", "NaNGB/1", "infGB/1", "2000TB/1"]
        {
            assert!(wrong.parse::<Case>().unwrap_err().contains(wrong), "{wrong}");
        }
        assert!("1kB/1000".parse::<Case>().unwrap_err().contains("too small"));
    }
}
