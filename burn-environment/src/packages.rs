//! The `packages` list: what the program itself was built from.
//!
//! The build script embeds the lock file of the workspace that is being built, which is the final
//! program's also where this crate is a dependency. It lists all of that workspace's packages, for
//! all platforms and features: a superset of what ended up in this one program.

use std::path::Path;

use crate::lockfile::{self, Package};

/// What the build script wrote: the packages as JSON, or `null` where it found no lock file.
const EMBEDDED: &str = include_str!(concat!(env!("OUT_DIR"), "/packages.json"));

/// The packages of this program, by name; empty where they are unknown.
///
/// Where the build embedded none, the lock file nearest to `directory` has to do: a program that
/// was built into a target directory elsewhere is mostly still started from its workspace.
pub(crate) fn of_program(directory: Option<&Path>) -> Vec<Package> {
    of_build_or_directory(EMBEDDED, directory)
}

fn of_build_or_directory(embedded: &str, directory: Option<&Path>) -> Vec<Package> {
    // The build script wrote this with the same types, so an error here means no more than a `null`
    // would.
    if let Ok(Some(packages)) = serde_json::from_str(embedded) {
        return packages;
    }
    let found = directory.and_then(|start| lockfile::nearest(start, env!("CARGO_PKG_NAME")));
    found.map_or_else(Vec::new, |(_path, packages)| packages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch_dir::ScratchDir;

    #[test]
    fn the_program_lists_this_crate_and_the_crates_it_is_built_from() {
        // Found at build time or, with a target directory elsewhere, from where cargo runs the
        // tests.
        let packages = of_program(Some(Path::new(env!("CARGO_MANIFEST_DIR"))));
        let named = |name: &str| {
            let found = packages.iter().find(|package| package.name == name);
            found.unwrap_or_else(|| panic!("{name} is not listed"))
        };
        let this = named(env!("CARGO_PKG_NAME"));
        assert_eq!(this.version, env!("CARGO_PKG_VERSION"));
        assert_eq!(this.source, None);
        let serde = named("serde");
        assert_eq!(serde.source.as_deref(), Some("registry"));
        assert_eq!(serde.checksum.as_ref().map(String::len), Some(64));
    }

    #[test]
    fn what_the_build_embedded_goes_before_any_lock_file_nearby() {
        let scratch = ScratchDir::new("packages");
        scratch.write("Cargo.lock", &lock_of_this_crate("9.9.9"));
        let embedded = r#"[{"name": "embedded", "version": "1.0.0"}]"#;
        let packages = of_build_or_directory(embedded, Some(scratch.path()));
        assert_eq!(packages.len(), 1);
        assert_eq!(packages[0].name, "embedded");
    }

    #[test]
    fn without_an_embedded_list_the_lock_file_nearby_is_read() {
        let scratch = ScratchDir::new("packages");
        scratch.write("Cargo.lock", &lock_of_this_crate("9.9.9"));
        let packages = of_build_or_directory("null", Some(&scratch.path().join("runs/1")));
        assert_eq!(packages.len(), 1);
        assert_eq!(packages[0].version, "9.9.9");
    }

    #[test]
    fn without_any_lock_file_the_list_is_empty() {
        let scratch = ScratchDir::new("packages");
        assert_eq!(of_build_or_directory("null", Some(scratch.path())), []);
        assert_eq!(of_build_or_directory("null", None), []);
    }

    fn lock_of_this_crate(version: &str) -> String {
        let name = env!("CARGO_PKG_NAME");
        format!("version = 4\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n")
    }
}
