//! What only the build knows about the program: its packages, its compiler, its target.
//!
//! The results reach the crate as `$OUT_DIR/packages.json` (read by `src/packages.rs`) and
//! as `BURN_ENVIRONMENT_*` variables of the compiler (read by `src/toolchain.rs`).

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

#[path = "src/lockfile.rs"]
mod lockfile;

fn main() -> Result<(), Box<dyn Error>> {
    // Naming one file ends cargo's default, which is to run this again whenever any source changes.
    println!("cargo::rerun-if-changed=build.rs");
    embed_packages()?;
    describe_toolchain()?;
    Ok(())
}

/// Writes the packages of the workspace that is being built, or `null` where its `Cargo.lock` is
/// not found.
///
/// `OUT_DIR` lies below the target directory of the program, so walking up from it finds the
/// program's own lock file even where this crate is a dependency. A target directory outside of the
/// workspace has none above it.
fn embed_packages() -> Result<(), Box<dyn Error>> {
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let found = lockfile::nearest(&out_dir, &env::var("CARGO_PKG_NAME")?);
    if let Some((path, _)) = &found {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let packages = found.map(|(_, packages)| packages);
    fs::write(out_dir.join("packages.json"), serde_json::to_string(&packages)?)?;
    Ok(())
}

/// Hands the compiler's version, the target, the profile and this crate's features to the crate.
fn describe_toolchain() -> Result<(), Box<dyn Error>> {
    let rustc = env::var("RUSTC")?;
    let output = Command::new(&rustc).arg("-V").output()?;
    // One line, as `cargo::rustc-env` takes no more than that.
    let version = String::from_utf8_lossy(&output.stdout);
    let version = version.lines().next().unwrap_or_default().trim();
    println!("cargo::rustc-env=BURN_ENVIRONMENT_RUSTC_VERSION={version}");
    println!("cargo::rustc-env=BURN_ENVIRONMENT_TARGET={}", env::var("TARGET")?);
    println!("cargo::rustc-env=BURN_ENVIRONMENT_PROFILE={}", env::var("PROFILE")?);
    // Cargo leaves the variable out where a crate has no feature switched on.
    let features = env::var("CARGO_CFG_FEATURE").unwrap_or_default();
    println!("cargo::rustc-env=BURN_ENVIRONMENT_FEATURES={features}");
    Ok(())
}
