//! Folders that can be taken in at a glance: at most 12 files beside `mod.rs`.

use std::collections::BTreeMap;

use super::files::{Files, directory, file_name};
use super::finding::Finding;

/// Files in a folder, beside those of [`FOLDER_ROOTS`].
const MAX_FILES: usize = 12;
/// What makes a folder a module or a target. The finding stands there.
const FOLDER_ROOTS: [&str; 3] = ["mod.rs", "lib.rs", "main.rs"];

/// Folders with too many Rust files. Folders in them do not count.
pub fn check(files: &Files) -> Vec<Finding> {
    let mut beside: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, _) in files.rust().filter(|(path, _)| !FOLDER_ROOTS.contains(&file_name(path))) {
        *beside.entry(directory(path)).or_default() += 1;
    }
    let too_full = beside.into_iter().filter(|(_, count)| *count > MAX_FILES);
    too_full
        .map(|(folder, count)| {
            let root = FOLDER_ROOTS.iter().map(|name| format!("{folder}/{name}"));
            let place =
                root.into_iter().find(|path| files.has_file(path)).unwrap_or_else(|| format!("{folder}/"));
            let message =
                format!("the folder has {count} Rust files, above {MAX_FILES}; group them in folders");
            Finding::new(&place, 1, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of so many files beside those given.
    fn lines(count: usize, others: &[&str]) -> Vec<String> {
        let names: Vec<String> = (0..count).map(|number| format!("a/src/f{number}.rs")).collect();
        let all: Vec<_> =
            names.iter().map(String::as_str).chain(others.iter().copied()).map(|path| (path, "")).collect();
        check(&Files::of(&all)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_folder_with_more_than_12_files_is_named() {
        assert_eq!(
            lines(12, &["a/src/lib.rs", "a/src/main.rs", "a/src/deeper/a.rs", "a/src/data.csv"]),
            [""; 0]
        );
        assert_eq!(
            lines(13, &["a/src/lib.rs"]),
            ["a/src/lib.rs:1: the folder has 13 Rust files, above 12; group them in folders"]
        );
        assert_eq!(
            lines(14, &[]),
            ["a/src/:1: the folder has 14 Rust files, above 12; group them in folders"]
        );
    }
}
