//! What a program is built from, recorded by its build script.
//!
//! Only while a program is built is it known which packages it is built from, with which features and which
//! compiler: an installed binary has no `Cargo.lock` beside it. A program that wants its own dependency graph
//! in the metadata of its checkpoints has this crate in its `build-dependencies`, and two lines:
//!
//! ```text
//! build.rs:      fn main() { burn_environment_build::describe_program(); }
//! src/main.rs:   burn_trainer::program!();    // first in `main`
//! ```
//!
//! The first writes a [`Description`] into the build's `OUT_DIR`, the second makes burn-environment read it.
//! For a program without them burn-environment has the `Cargo.lock` of the workspace as its own build script
//! found it, which lists more: every package of every member, for every platform and feature.
//!
//! | what is recorded | where it comes from |
//! | --- | --- |
//! | features, target, compiler, profile | what cargo tells every build script |
//! | packages | `cargo tree --edges normal` with exactly these features and this target |
//! | their sources and checksums | `Cargo.lock` |
//!
//! `cargo tree` and not `cargo metadata`, as the latter resolves the features of the whole workspace at once,
//! and needs packages that a build on this platform never downloads. Packages that only build scripts or
//! tests use are not listed: none of their code is in the program. Procedural macros are, as they write some
//! of it. So are packages of the workspace and other local ones, which have neither a source nor a checksum.
//!
//! It takes cargo half a second, offline, and again only when a manifest or `Cargo.lock` changed. Nothing
//! here fails a build: what goes wrong is a warning of cargo's, and leaves the part unknown.

mod build_script;
mod built_packages;
mod description;
mod lockfile;
#[cfg(test)]
mod write_file;

pub use description::Description;
pub use lockfile::{Package, nearest_lockfile};

use build_script::BuildScript;

/// Records the package whose build script calls this, with its own dependency graph.
///
/// This writes `$OUT_DIR/burn-environment.json`.
///
/// `cargo install` without `--locked` ignores `Cargo.lock` and builds the newest versions there are. No
/// package is recorded then, and a warning says so, on Linux, and unless cargo takes the results of an
/// earlier build from the same target directory, which it does without running this again: install with
/// `--locked`.
///
/// The [crate's page](crate) has an example.
pub fn describe_program() {
    write(&BuildScript::this(), built_packages::of_program);
}

/// Records the build of burn-environment itself, with all packages of the workspace that it is built in.
///
/// For its build script alone: it has to do where a program has none.
///
/// The [crate's page](crate) has an example.
pub fn describe_workspace() {
    write(&BuildScript::this(), built_packages::of_workspace);
}

fn write(script: &BuildScript, packages: impl Fn(&BuildScript) -> Result<built_packages::Found, String>) {
    // Naming one file ends cargo's default, which is to run the script again whenever any source changes.
    println!("cargo::rerun-if-changed={}", script.manifest.display());
    let packages = if script.ignores_lockfile() {
        // A list of other versions than those that are built would be worse than none. The next build, which
        // may go by the lock file, has to ask again: cargo does, always, for a file that is not there.
        println!("cargo::rerun-if-changed={}", script.out_dir.join("lockfile-ignored").display());
        warn(
            "no packages are recorded: `cargo install` without `--locked` builds other versions than Cargo.lock has",
        );
        Some(Vec::new())
    } else {
        match packages(script) {
            Ok(found) => {
                for path in &found.depends_on {
                    println!("cargo::rerun-if-changed={}", path.display());
                }
                found.packages
            }
            Err(error) => {
                warn(&format!("the program's own packages are not recorded: {error}"));
                None
            }
        }
    };
    if let Err(error) = script.describe(packages).write(&script.out_dir) {
        warn(&format!("the program is not described: {error}"));
    }
}

/// A warning of cargo's, which takes one line.
fn warn(message: &str) {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    println!("cargo::warning=burn-environment: {line}");
}
