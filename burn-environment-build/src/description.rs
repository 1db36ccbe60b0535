//! What a build script leaves behind: written by [`crate::describe_program`], read by burn-environment.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::lockfile::Package;

/// Where the description is in `OUT_DIR`. The macro `program!` and burn-environment's `packages.rs` name it
/// too: macros that include a file take no constant.
const FILE_NAME: &str = "burn-environment.json";

/// What was known when a program was built.
///
/// The [crate's page](crate) has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Description {
    /// The package that was built and its version, such as `digits 0.1.0`.
    pub program: Option<String>,
    /// Its features that were switched on.
    pub features: Vec<String>,
    /// The profile's name, or `debug` for the one that cargo calls `dev`.
    pub profile: Option<String>,
    /// Target triple.
    pub target: Option<String>,
    /// What `rustc -V` printed.
    pub rustc: Option<String>,
    /// The packages by name and version, or `None` where they were not found out.
    pub packages: Option<Vec<Package>>,
}

impl Description {
    pub(crate) fn write(&self, out_dir: &Path) -> io::Result<()> {
        std::fs::write(out_dir.join(FILE_NAME), serde_json::to_vec(self)?)
    }

    /// Reads what was embedded. The build script wrote it with the same type, so that it is always whole;
    /// were it not, everything would be unknown.
    #[must_use]
    pub fn parse(embedded: &str) -> Self {
        serde_json::from_str(embedded).unwrap_or_default()
    }
}
