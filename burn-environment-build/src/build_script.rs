//! The build script that is running: what cargo tells it, and the description that follows from that.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::description::Description;
use crate::lockfile::Package;

/// Options that stand before cargo's subcommand and take a value.
const WITH_VALUE: [&str; 4] = ["--color", "--config", "-C", "-Z"];

/// What cargo tells a build script.
#[derive(Debug, Default)]
pub(crate) struct BuildScript {
    pub cargo: OsString,
    pub rustc: OsString,
    pub out_dir: PathBuf,
    pub manifest: PathBuf,
    pub name: String,
    pub version: String,
    pub features: Vec<String>,
    pub target: String,
    /// `debug` or `release`, of which every profile inherits one.
    pub base_profile: String,
    /// The command line of the cargo that runs the script, where the system tells.
    pub cargo_command: Vec<String>,
}

impl BuildScript {
    /// The build script that this process is.
    pub fn this() -> Self {
        let path = |name: &str| env::var_os(name).unwrap_or_default();
        let text = |name: &str| env::var(name).unwrap_or_default();
        Self {
            cargo: path("CARGO"),
            rustc: path("RUSTC"),
            out_dir: path("OUT_DIR").into(),
            manifest: path("CARGO_MANIFEST_PATH").into(),
            name: text("CARGO_PKG_NAME"),
            version: text("CARGO_PKG_VERSION"),
            // Of all variables with features, this one alone has their names as the manifest spells them.
            features: list(&text("CARGO_CFG_FEATURE")),
            target: text("TARGET"),
            base_profile: text("PROFILE"),
            cargo_command: parent_command(),
        }
    }

    pub fn describe(&self, packages: Option<Vec<Package>>) -> Description {
        Description {
            program: Some(format!("{} {}", self.name, self.version)),
            features: self.features.clone(),
            profile: known(self.profile()),
            target: known(self.target.clone()),
            rustc: self.rustc_version(),
            packages,
        }
    }

    /// The profile that is built. Cargo tells only which of its own two it inherits from, but names a
    /// directory after it.
    fn profile(&self) -> String {
        let build = self.out_dir.ancestors().find(|directory| directory.ends_with("build"));
        let directory = build.and_then(Path::parent).and_then(Path::file_name);
        directory.map_or_else(|| self.base_profile.clone(), |name| name.to_string_lossy().into_owned())
    }

    fn rustc_version(&self) -> Option<String> {
        let output = Command::new(&self.rustc).arg("-V").output();
        let output = output.ok().filter(|output| output.status.success())?;
        known(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Whether this is a `cargo install` that does not use the versions of `Cargo.lock`.
    pub fn ignores_lockfile(&self) -> bool {
        let mut words = self.cargo_command.iter().skip(1).map(String::as_str);
        let subcommand = loop {
            match words.next() {
                Some(word) if WITH_VALUE.contains(&word) => _ = words.next(),
                Some(word) if word.starts_with(['-', '+']) => {}
                word => break word,
            }
        };
        let is_set = |flag: &str| self.cargo_command.iter().any(|word| word == flag);
        subcommand == Some("install") && !is_set("--locked") && !is_set("--frozen")
    }
}

/// Cargo's command line, which is the only place that tells whether it goes by the lock file.
fn parent_command() -> Vec<String> {
    #[cfg(target_os = "linux")]
    {
        let path = format!("/proc/{}/cmdline", std::os::unix::process::parent_id());
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }
    #[cfg(not(target_os = "linux"))]
    Vec::new()
}

fn list(features: &str) -> Vec<String> {
    features.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// `None` for an empty text.
fn known(value: String) -> Option<String> {
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_by(command: &str) -> BuildScript {
        BuildScript {
            cargo_command: command.split(' ').map(str::to_owned).collect(),
            ..BuildScript::default()
        }
    }

    #[test]
    fn only_an_install_that_is_not_locked_takes_other_versions_than_the_lock_file_has() {
        for command in [
            "cargo install --path .",
            "/bin/cargo -v install a",
            "cargo --color always --config net.offline=true install --path install",
        ] {
            assert!(run_by(command).ignores_lockfile(), "{command}");
        }
        for command in [
            "cargo install --path . --locked",
            "cargo --frozen install --path .",
            "cargo build",
            "cargo run -p a -- install",
            "cargo run install",
            "cargo --config install build",
            "cargo",
            "",
        ] {
            assert!(!run_by(command).ignores_lockfile(), "{command}");
        }
    }

    #[test]
    fn a_profile_has_the_name_of_its_directory() {
        let profile = |out_dir: &str| {
            BuildScript {
                out_dir: out_dir.into(),
                base_profile: "release".to_owned(),
                ..BuildScript::default()
            }
            .profile()
        };
        assert_eq!(profile("/w/target/debug/build/digits-0a1b/out"), "debug");
        assert_eq!(profile("/build/target/x86_64-unknown-linux-gnu/dist/build/build-0a1b/out"), "dist");
        // What cargo's next layout has.
        assert_eq!(profile("/w/target/dist/build/digits/0a1b/out"), "dist");
        assert_eq!(profile("/elsewhere"), "release");
    }

    #[test]
    fn no_feature_and_several_features_are_told_apart() {
        assert!(list("").is_empty());
        assert_eq!(list("cuda,a-b"), ["cuda", "a-b"]);
    }

    #[test]
    fn the_compiler_is_asked_for_its_version_and_one_that_is_missing_has_none() {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let version = BuildScript { rustc, ..BuildScript::default() }.rustc_version().unwrap();
        assert!(version.starts_with("rustc 1.") && !version.contains('\n'), "{version}");
        assert_eq!(
            BuildScript { rustc: "no-such-rustc".into(), ..BuildScript::default() }.rustc_version(),
            None
        );
    }
}
