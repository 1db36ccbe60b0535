//! The `rust` part: the compiler, and what it was asked to build. The build script finds all of it out.

use serde::{Deserialize, Serialize};

use crate::packages;

/// The compiler that built the program, and what it compiled for.
///
/// The [crate's page](crate) has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Rust {
    /// What `rustc -V` printed, such as `rustc 1.95.0 (59807616e 2026-04-14)`.
    pub version: Option<String>,
    /// Target triple, such as `x86_64-unknown-linux-gnu`.
    pub target: Option<String>,
    /// Name of the profile: `release`, one of the program's own, or `debug`, as cargo mostly calls its
    /// profile `dev`.
    pub profile: Option<String>,
    /// The program and its version, such as `digits 0.1.0`, or `None` for one that was not described by its
    /// build script.
    pub program: Option<String>,
    /// Features of the program that are switched on; of this crate, where `program` is not known. Both tell
    /// which backends the program was built with.
    pub features: Vec<String>,
}

impl Rust {
    /// What the build left behind.
    pub(crate) fn of_build() -> Self {
        let description = packages::description();
        Self {
            version: description.rustc,
            target: description.target,
            profile: description.profile,
            program: description.program,
            features: description.features,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_a_rust_compiler() {
        let version = Rust::of_build().version.expect("the build ran rustc");
        let number = version.strip_prefix("rustc ").expect("starts with rustc");
        assert!(number.starts_with("1."), "{version}");
        assert!(!version.contains('\n'));
    }

    #[test]
    fn the_target_is_the_one_that_is_compiled_for() {
        let target = Rust::of_build().target.expect("cargo names the target");
        assert!(target.contains(std::env::consts::ARCH), "{target}");
        assert!(target.contains(std::env::consts::OS), "{target}");
    }

    #[test]
    fn the_profile_is_the_one_that_the_tests_are_built_with() {
        let directory = std::env::current_exe().unwrap();
        // Tests are in the directory `deps` of their profile.
        let name = directory.parent().and_then(std::path::Path::parent).and_then(std::path::Path::file_name);
        assert_eq!(Rust::of_build().profile.as_deref(), name.and_then(std::ffi::OsStr::to_str));
    }
}
