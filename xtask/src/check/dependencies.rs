//! Licences, duplicate versions and sources of the packages that the project is built from: `cargo deny`, as
//! `deny.toml` says. Its check of advisories is left out: that one needs a database from the network.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::cargo;

const VERSION: &str = "0.20.2";

/// Builds the tool where it is missing, and runs it.
pub fn check() -> Result<(), ExitCode> {
    let directory = tool_directory().map_err(|error| {
        eprintln!("error: the directory of this program cannot be found: {error}");
        ExitCode::FAILURE
    })?;
    let program = directory.join("bin").join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        eprintln!("building cargo-deny {VERSION}, once: it takes a minute");
        install(&directory)?;
    }
    let mut deny = Command::new(&program);
    deny.current_dir(cargo::root()).args(["--log-level", "error", "--all-features", "--locked"]);
    deny.args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]);
    cargo::succeed(&mut deny, "cargo deny failed; deny.toml says what is accepted, and why")
}

/// Below the target directory. Another version gets another directory.
fn tool_directory() -> std::io::Result<PathBuf> {
    Ok(cargo::target()?.join("tools").join(format!("cargo-deny-{VERSION}")))
}

/// Without optimization and without what advisories need, it is built in 40 seconds on two cores instead of
/// some minutes, and still takes 5 seconds for a check.
fn install(directory: &Path) -> Result<(), ExitCode> {
    let mut install = cargo::command();
    // Its artifacts go to a directory of their own, which cargo removes.
    install.env_remove("CARGO_TARGET_DIR");
    install.args(["install", "cargo-deny", "--version", VERSION, "--locked", "--no-default-features"]);
    install.args(["--quiet", "--debug", "--config", "profile.dev.debug=false", "--root"]).arg(directory);
    cargo::succeed(&mut install, &format!("cargo-deny {VERSION} cannot be built"))
}
