//! The `packages` list: what the program itself was built from, and the description that it is a part of.
//!
//! A program whose build script described it registers the description with [`program!`](crate::program).
//! Other programs have what the build script of this crate embedded: the lock file of the workspace that is
//! being built. That is the program's own lock file, also where this crate is a dependency. It lists all
//! packages of the workspace, for all platforms and features: more than this one program was built from.

use std::path::Path;
use std::sync::OnceLock;

use burn_environment_build::{Description, Package, nearest_lockfile};

/// What the build script of this crate wrote.
const OWN: &str = include_str!(concat!(env!("OUT_DIR"), "/burn-environment.json"));

/// What the build script of the program wrote.
static PROGRAM: OnceLock<&str> = OnceLock::new();

/// What [`program!`](crate::program) stands for, with the text of the build script's file. Of several calls
/// the first counts, and one after an [`Environment`](crate::Environment) was collected is too late for it.
///
/// The macro [`program!`](crate::program) calls it.
pub fn register_program(description: &'static str) {
    // An error would be no more than a second call.
    let _ = PROGRAM.set(description);
}

/// The program's description, or that of this crate's own build.
pub(crate) fn description() -> Description {
    description_of(PROGRAM.get().copied())
}

fn description_of(program: Option<&str>) -> Description {
    let own = Description::parse(OWN);
    match program.map(Description::parse) {
        Some(mut program) => {
            program.packages = program.packages.or(own.packages);
            program
        }
        // A program of which nothing else is known is not this crate.
        None => {
            let mut own = own;
            own.program = None;
            own
        }
    }
}

/// The packages of this program, by name; empty where they are unknown.
///
/// Where the build embedded none, the lock file nearest to `directory` has to do: a program that
/// was built into a target directory elsewhere is mostly still started from its workspace.
pub(crate) fn of_program(directory: Option<&Path>) -> Vec<Package> {
    of_build_or_directory(description().packages, directory)
}

fn of_build_or_directory(embedded: Option<Vec<Package>>, directory: Option<&Path>) -> Vec<Package> {
    embedded.unwrap_or_else(|| {
        let found = directory.and_then(|start| nearest_lockfile(start, env!("CARGO_PKG_NAME")));
        found.map_or_else(Vec::new, |(_path, packages)| packages)
    })
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::write_file::write;

    fn named(name: &str) -> Package {
        let mut package = Package::default();
        (package.name, package.version) = (name.to_owned(), "1.0.0".to_owned());
        package
    }

    #[test]
    fn a_program_without_a_description_lists_this_crate_and_the_crates_it_is_built_from() {
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
        assert_eq!(description_of(None).program, None);
    }

    #[test]
    fn a_program_is_what_its_description_says() {
        let said =
            r#"{"program": "p 1.0.0", "features": ["f"], "packages": [{"name": "own", "version": "1.0.0"}]}"#;
        let description = description_of(Some(said));
        assert_eq!(description.program.as_deref(), Some("p 1.0.0"));
        assert_eq!(description.features, ["f"]);
        assert_eq!(description.packages, Some(vec![named("own")]));
        // Not found out, and not those of another build.
        assert_eq!(description.rustc, None);
    }

    #[test]
    fn a_program_whose_packages_were_not_found_out_has_those_of_the_workspace() {
        for said in [r#"{"program": "p 1.0.0", "packages": null}"#, "not JSON"] {
            assert_eq!(description_of(Some(said)).packages, description_of(None).packages, "{said}");
        }
        let empty = description_of(Some(r#"{"packages": []}"#));
        assert_eq!(empty.packages, Some(Vec::new()));
    }

    #[test]
    fn what_the_build_embedded_goes_before_any_lock_file_nearby() {
        let scratch = tempdir().unwrap();
        write(&scratch, "Cargo.lock", &lock_of_this_crate("9.9.9"));
        let embedded = vec![named("embedded")];
        assert_eq!(of_build_or_directory(Some(embedded.clone()), Some(scratch.path())), embedded);
    }

    #[test]
    fn without_an_embedded_list_the_lock_file_nearby_is_read() {
        let scratch = tempdir().unwrap();
        write(&scratch, "Cargo.lock", &lock_of_this_crate("9.9.9"));
        let packages = of_build_or_directory(None, Some(&scratch.path().join("runs/1")));
        assert_eq!(packages.len(), 1);
        assert_eq!(packages[0].version, "9.9.9");
    }

    #[test]
    fn without_any_lock_file_the_list_is_empty() {
        let scratch = tempdir().unwrap();
        assert_eq!(of_build_or_directory(None, Some(scratch.path())), []);
        assert_eq!(of_build_or_directory(None, None), []);
    }

    fn lock_of_this_crate(version: &str) -> String {
        let name = env!("CARGO_PKG_NAME");
        format!("version = 4\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n")
    }
}
