//! The root file of each target of each package: library, programs, tests, examples, benchmarks, build
//! script.

use std::collections::BTreeSet;

use crate::tidy::files::{Files, directory, joined};

/// Files that are a target wherever they lie in a package.
const ROOTS: [&str; 3] = ["src/lib.rs", "src/main.rs", "build.rs"];
/// Folders in which each file is a target, and each folder with a `main.rs`.
const FOLDERS_OF_ROOTS: [&str; 4] = ["src/bin", "tests", "examples", "benches"];
/// Tables of a manifest in which a target's `path` can stand.
const TABLES: [&str; 5] = ["lib", "bin", "test", "example", "bench"];

/// Where cargo looks by itself, and what the manifests name.
pub fn roots(files: &Files) -> BTreeSet<String> {
    let mut roots = BTreeSet::new();
    for (manifest, text) in files.manifests() {
        // Cargo reports a manifest that is not TOML.
        let Ok(manifest_table) = text.parse::<toml::Table>() else { continue };
        if !manifest_table.contains_key("package") {
            continue;
        }
        let package = directory(manifest);
        roots.extend(files.paths().filter(|path| is_root(package, path)).map(str::to_owned));
        let named = named_paths(&manifest_table).filter_map(|path| joined(package, path));
        roots.extend(named.filter(|path| files.has_file(path)));
    }
    roots
}

fn is_root(package: &str, path: &str) -> bool {
    let relative = if package.is_empty() {
        path
    } else {
        let Some(relative) = path.strip_prefix(package).and_then(|rest| rest.strip_prefix('/')) else {
            return false;
        };
        relative
    };
    if ROOTS.contains(&relative) {
        return true;
    }
    FOLDERS_OF_ROOTS.iter().any(|folder| {
        let below = relative.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        below.is_some_and(|below| match below.split_once('/') {
            None => below.ends_with(".rs"),
            Some((_, file)) => file == "main.rs",
        })
    })
}

/// Each `path` of a target in a manifest.
fn named_paths(manifest: &toml::Table) -> impl Iterator<Item = &str> {
    TABLES.iter().filter_map(|table| manifest.get(*table)).flat_map(|targets| {
        let targets = targets.as_array().map_or(std::slice::from_ref(targets), Vec::as_slice);
        targets.iter().filter_map(|target| target.get("path")?.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_where_cargo_finds_them() {
        let files = Files::of(&[
            ("Cargo.toml", "[workspace]\n"),
            ("a/Cargo.toml", "[package]\nname = \"a\"\n[[bin]]\nname = \"odd\"\npath = \"odd/start.rs\"\n"),
            ("a/build.rs", ""),
            ("a/odd/start.rs", ""),
            ("a/src/bin/one.rs", ""),
            ("a/src/bin/two/main.rs", ""),
            ("a/src/bin/two/part.rs", ""),
            ("a/src/lib.rs", ""),
            ("a/src/part.rs", ""),
            ("a/tests/system/main.rs", ""),
            ("ab/src/lib.rs", ""),
        ]);
        let expected = [
            "a/build.rs",
            "a/odd/start.rs",
            "a/src/bin/one.rs",
            "a/src/bin/two/main.rs",
            "a/src/lib.rs",
            "a/tests/system/main.rs",
        ];
        assert!(roots(&files).iter().eq(expected));
    }
}
