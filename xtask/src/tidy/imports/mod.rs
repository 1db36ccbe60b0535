//! Imports run one way: within a target no file imports from one that, over any number of others, imports
//! from it.
//!
//! An import is a `use`, or a path such as `crate::launch::start()`, from one file to the file that defines
//! the name: a re-export is followed. `mod x;`, a `pub use` of what lies below, and code for unit tests are
//! not imports.
//!
//! In the order of the work: `targets` finds the root file of each library, program and test; `module_tree`
//! reads the modules below it; `references` lists what each module names; `resolve` finds the defining file;
//! `circles` and `folder_order` look at the edges.

mod circles;
mod folder_order;
mod module_tree;
pub(super) mod references;
mod resolve;
mod targets;
#[cfg(test)]
mod tests;

use super::files::{self, Files};
use super::finding::Finding;
use super::sources::Sources;
use circles::{Circle, Edges};
use module_tree::ModuleTree;

/// One finding a circle, and one for each import against the order of the folders.
pub fn check(files: &Files, sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut of_targets = Vec::new();
    for root in targets::roots(files) {
        let edges = edges(&ModuleTree::read(&root, sources));
        let folder = files::directory(&root);
        findings.extend(circles::find(&edges).iter().map(|circle| finding(folder, circle)));
        of_targets.push(edges);
    }
    findings.extend(folder_order::check(files, &of_targets));
    findings
}

/// Which file imports from which, and the first line where it does.
fn edges(tree: &ModuleTree) -> Edges {
    let mut edges = Edges::default();
    for (index, module) in tree.modules.iter().enumerate() {
        for reference in &module.references {
            let Some(definer) = resolve::defining_module(tree, index, reference) else { continue };
            let is_own_part = reference.is_reexport && tree.is_below(definer, index);
            if !is_own_part {
                edges.add(&module.file, &tree.modules[definer].file, reference.line);
            }
        }
    }
    edges
}

fn finding(folder: &str, circle: &Circle) -> Finding {
    let relative = |path: &str| {
        let below = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        below.unwrap_or(path).to_owned()
    };
    let way: Vec<_> = circle.files.iter().chain(circle.files.first()).map(|path| relative(path)).collect();
    let mut message =
        format!("circle of imports: {}; move what both need into a file of its own", way.join(" -> "));
    if circle.component.len() > circle.files.len() {
        let all: Vec<_> = circle.component.iter().map(|path| relative(path)).collect();
        message += &format!(" ({} files import each other: {})", all.len(), all.join(", "));
    }
    Finding::new(&circle.files[0], circle.line, message)
}
