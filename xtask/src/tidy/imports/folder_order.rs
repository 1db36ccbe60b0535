//! Folders import in one direction: that of the table of a crate's folders in `DESIGN.md`.
//!
//! The table stands below a line that names the crate's sources and the direction: `` `a/src`, from the top
//! down. `` A folder imports from those below its row, or from those of its own row.

use std::collections::BTreeMap;

use super::circles::Edges;
use crate::tidy::files::{Files, is_below};
use crate::tidy::finding::Finding;

/// The page with the tables.
const PAGE: &str = "DESIGN.md";
/// What stands behind the name of the sources, in the line above a table.
const TOP_DOWN: &str = ", from the top down";
/// What makes a file the root of a target, whose imports are its own parts.
const ROOTS: [&str; 2] = ["lib.rs", "main.rs"];

/// The rows of the folders and files in some sources, by their names without `.rs`.
struct Table<'a> {
    /// `a/src`
    sources: &'a str,
    line: usize,
    /// Each with its row and its line.
    rows: BTreeMap<&'a str, (usize, usize)>,
}

/// Imports against the order of the tables, and names that stand in only one of sources and table. `edges`
/// are those of all targets.
pub fn check(files: &Files, edges: &[Edges]) -> Vec<Finding> {
    let tables = tables(files.text(PAGE).unwrap_or_default());
    let mut findings = Vec::new();
    for table in &tables {
        findings.extend(names_of_one_side(files, table));
        for (from, to, line) in edges.iter().flat_map(Edges::iter) {
            let (Some(importer), Some(imported)) = (unit(table.sources, from), unit(table.sources, to))
            else {
                continue;
            };
            let (Some((row, _)), Some((other, _))) = (table.rows.get(importer), table.rows.get(imported))
            else {
                continue;
            };
            if row > other {
                let message = format!(
                    "`{importer}` imports from `{imported}`, which stands above it in the table of {} in {PAGE}; move what \
                     both need into the lower one",
                    table.sources
                );
                findings.push(Finding::new(from, line, message));
            }
        }
    }
    findings
}

/// A row without a file or folder, and a file or folder without a row.
fn names_of_one_side(files: &Files, table: &Table<'_>) -> Vec<Finding> {
    let sources = table.sources;
    let is_there = |name: &&str| {
        files.has_file(&format!("{sources}/{name}.rs")) || files.has_directory(&format!("{sources}/{name}"))
    };
    let too_many = table.rows.iter().filter(|(name, _)| !is_there(name)).map(|(name, (_, line))| {
        Finding::new(PAGE, *line, format!("`{name}` is not in {sources}; correct the table"))
    });
    let units = files.rust().filter_map(|(path, _)| Some((unit(sources, path)?, path)));
    let missing: BTreeMap<&str, &str> =
        units.filter(|(name, _)| *name != "bin" && !table.rows.contains_key(name)).collect();
    let missing = missing.into_keys().map(|name| {
        let message = format!("`{name}` of {sources} has no row in the table; add one where it belongs");
        Finding::new(PAGE, table.line, message)
    });
    too_many.chain(missing).collect()
}

/// The folder or file right below some sources that a path lies in, without `.rs`. Nothing for a root.
fn unit<'a>(sources: &str, path: &'a str) -> Option<&'a str> {
    let below = is_below(path, sources).then(|| &path[sources.len() + 1..])?;
    match below.split_once('/') {
        Some((folder, _)) => Some(folder),
        None => below.strip_suffix(".rs").filter(|_| !ROOTS.contains(&below)),
    }
}

fn tables(page: &str) -> Vec<Table<'_>> {
    let mut tables: Vec<Table<'_>> = Vec::new();
    let mut is_in_table = false;
    let mut row = 0;
    for (index, text) in page.lines().enumerate() {
        let line = index + 1;
        if let Some((sources, _)) =
            text.strip_prefix('`').and_then(|text| text.split_once(&format!("`{TOP_DOWN}")))
        {
            tables.push(Table { sources, line, rows: BTreeMap::new() });
            (is_in_table, row) = (true, 0);
        }
        let Some(table) = tables.last_mut().filter(|_| is_in_table) else { continue };
        match text.strip_prefix("| `").and_then(|cells| cells.split('|').next()) {
            Some(cell) => {
                row += 1;
                let names = cell.split('`').step_by(2).map(|name| name.strip_suffix(".rs").unwrap_or(name));
                table
                    .rows
                    .extend(names.filter(|name| !name.trim().is_empty()).map(|name| (name, (row, line))));
            }
            // The blank line that ends the table.
            None if row > 0 => is_in_table = false,
            None => {}
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_TEXT: &str = "# Design\n\n`a/src`, from the top down. A folder uses those below it.\n\n| folder | owns |\n|---|---|\n\
                             | `cli`, `bin/a` | `not`, a name |\n| `run.rs`, `saving` | b |\n| `state` | c |\n\n| `other` | d |\n";

    fn lines(edges: &[(&str, &str, usize)], without: &str) -> Vec<String> {
        let paths =
            ["cli/mod.rs", "run.rs", "run/open.rs", "saving/mod.rs", "state.rs", "lib.rs", "bin/a/main.rs"];
        let paths: Vec<_> =
            paths.iter().filter(|path| **path != without).map(|path| format!("a/src/{path}")).collect();
        let mut files: Vec<_> = paths.iter().map(|path| (path.as_str(), "")).collect();
        files.push((PAGE, PAGE_TEXT));
        let mut all = Edges::default();
        for (from, to, line) in edges {
            all.add(from, to, *line);
        }
        check(&Files::of(&files), &[all]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_import_from_a_row_above_is_named() {
        let allowed = [
            ("a/src/cli/mod.rs", "a/src/state.rs", 1),
            ("a/src/run/open.rs", "a/src/saving/mod.rs", 1),
            ("a/src/saving/mod.rs", "a/src/run.rs", 1),
            ("a/src/lib.rs", "a/src/cli/mod.rs", 1),
            ("b/src/state.rs", "b/src/cli.rs", 1),
        ];
        assert_eq!(lines(&allowed, ""), [""; 0]);
        assert_eq!(
            lines(&[("a/src/state.rs", "a/src/run/open.rs", 7)], ""),
            [
                "a/src/state.rs:7: `state` imports from `run`, which stands above it in the table of a/src in DESIGN.md; move what \
              both need into the lower one"
            ]
        );
    }

    #[test]
    fn a_name_that_stands_in_only_one_of_table_and_sources_is_named() {
        assert_eq!(lines(&[], "state.rs"), ["DESIGN.md:9: `state` is not in a/src; correct the table"]);
        let table = PAGE_TEXT.replace("| `state` | c |\n", "");
        let files = Files::of(&[("a/src/state.rs", ""), ("a/src/cli.rs", ""), (PAGE, &table)]);
        let lines: Vec<_> = check(&files, &[]).iter().map(ToString::to_string).collect();
        assert!(
            lines.contains(
                &"DESIGN.md:3: `state` of a/src has no row in the table; add one where it belongs".to_owned()
            ),
            "{lines:?}"
        );
    }
}
