//! The report of a load: which tensors were loaded, and which did not fit.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::load::options::LoadOptions;
use crate::text::printable::shown;

/// Which parameters of a module were loaded, and which tensors of a checkpoint were used. `Display` prints it
/// as text.
///
/// See the example of [`Checkpoint::load_into_with`](crate::Checkpoint::load_into_with).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Parameters that were loaded.
    pub loaded: Vec<String>,
    /// Parameters that the checkpoint lacks, with their shapes. They keep their initial values.
    pub missing: Vec<(String, Vec<usize>)>,
    /// Tensors of the checkpoint that the module lacks, by their names after the remapping, with their
    /// shapes.
    pub unused: Vec<(String, Vec<usize>)>,
    /// Parameters with another shape or kind in the checkpoint. They keep their initial values.
    pub mismatched: Vec<TensorMismatch>,
    /// For missing parameters, what they may be tied to.
    pub(crate) hints: BTreeMap<String, String>,
    /// Whether every tensor that was read was compared with its digest.
    pub verified: bool,
}

/// A parameter that differs from the tensor of its name in shape or in kind (float, int, bool).
///
/// See the example of [`CheckpointLoader`](crate::CheckpointLoader).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorMismatch {
    /// The parameter's name.
    pub name: String,
    /// Shape or type in the checkpoint, in burn's layout.
    pub stored: String,
    /// Shape or type in the module.
    pub wanted: String,
}

impl LoadReport {
    /// Whether every parameter was loaded, and every tensor used.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty() && self.mismatched.is_empty()
    }

    /// Checks that only those tensors do not match that the options allow.
    pub(crate) fn check(&self, path: &Path, options: &LoadOptions) -> Result<()> {
        let kinds = [
            (options.allow_mismatched, self.mismatched_lines()),
            (options.allow_partial, self.missing_lines()),
            (options.allow_unused, self.unused_lines()),
        ];
        let problems: Vec<String> =
            kinds.into_iter().filter(|(allowed, _)| !allowed).flat_map(|(_, lines)| lines).collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::Mismatch { path: path.to_path_buf(), reason: shortened(problems) })
    }

    fn missing_lines(&self) -> Vec<String> {
        let line = |(name, shape): &(String, Vec<usize>)| {
            let hint = self.hints.get(name).map_or("", String::as_str);
            let name = shown(name);
            format!("{name} {shape:?} is missing in the checkpoint{hint}")
        };
        self.missing.iter().map(line).collect()
    }

    fn unused_lines(&self) -> Vec<String> {
        let line = |(name, shape): &(String, Vec<usize>)| {
            let name = shown(name);
            format!("{name} {shape:?} is in the checkpoint and not in the model")
        };
        self.unused.iter().map(line).collect()
    }

    fn mismatched_lines(&self) -> Vec<String> {
        let line = |mismatch: &TensorMismatch| {
            format!(
                "{} is {} in the checkpoint and {} in the model",
                shown(&mismatch.name),
                mismatch.stored,
                mismatch.wanted
            )
        };
        self.mismatched.iter().map(line).collect()
    }
}

/// One line of counts, then one line for each tensor that does not fit.
impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "loaded {}{}, missing {}, unused {}, mismatched {}",
            self.loaded.len(),
            if self.verified { " (verified)" } else { "" },
            self.missing.len(),
            self.unused.len(),
            self.mismatched.len()
        )?;
        let lines = [self.mismatched_lines(), self.missing_lines(), self.unused_lines()];
        lines.iter().flatten().try_for_each(|line| write!(f, "\n{line}"))
    }
}

/// Joins the first few reasons. Every tensor of a wrong model can differ, and the first few show that.
fn shortened(mut reasons: Vec<String>) -> String {
    const SHOWN: usize = 8;
    let more = reasons.len().saturating_sub(SHOWN);
    reasons.truncate(SHOWN);
    let mut text = reasons.join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}
