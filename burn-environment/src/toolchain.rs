//! The `rust` part: the compiler, and what it was asked to build. `build.rs` finds all of it out.

use serde::{Deserialize, Serialize};

/// The compiler that built the program, and what it compiled for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rust {
    /// What `rustc -V` printed, such as `rustc 1.95.0 (59807616e 2026-04-14)`.
    pub version: Option<String>,
    /// Target triple, such as `x86_64-unknown-linux-gnu`.
    pub target: Option<String>,
    /// `debug` or `release`: for a profile with another name, the one of the two that it inherits
    /// from.
    pub profile: Option<String>,
    /// Features of burn-trainer that are switched on. They tell which backends the program was
    /// built with.
    pub features: Vec<String>,
}

impl Rust {
    /// What the build left behind.
    pub(crate) fn of_build() -> Self {
        Self {
            version: known(env!("BURN_ENVIRONMENT_RUSTC_VERSION")),
            target: known(env!("BURN_ENVIRONMENT_TARGET")),
            profile: known(env!("BURN_ENVIRONMENT_PROFILE")),
            features: listed(env!("BURN_ENVIRONMENT_FEATURES")),
        }
    }
}

/// The build leaves an empty value where it could not find out.
fn known(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn listed(features: &str) -> Vec<String> {
    let names = features.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
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
    fn the_profile_is_one_of_the_two_that_cargo_names() {
        let profile = Rust::of_build().profile.expect("cargo names the profile");
        assert!(profile == "debug" || profile == "release", "{profile}");
    }

    #[test]
    fn no_feature_and_several_features_are_told_apart() {
        assert!(listed("").is_empty());
        assert_eq!(listed("cuda,wgpu"), ["cuda", "wgpu"]);
    }

    #[test]
    fn a_value_that_the_build_did_not_find_is_absent() {
        assert_eq!(known(""), None);
        assert_eq!(known("release"), Some("release".to_owned()));
    }
}
