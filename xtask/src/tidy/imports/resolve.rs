//! From a path in a module to the module that defines what it names. Re-exports are followed, as the compiler
//! does.

use std::collections::BTreeSet;

use super::module_tree::ModuleTree;
use super::references::{Import, Reference};

/// What a name stands for. It can be a module and an item at once.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Found {
    module: Option<usize>,
    /// The module that defines the item.
    definer: Option<usize>,
}

/// Names that are being looked up, so that `use` items that name each other end.
type Visited = BTreeSet<(usize, String)>;

/// The module whose code a reference needs. Nothing where that is another crate's. A module's name alone
/// needs no code: what is named through it does.
pub fn defining_module(tree: &ModuleTree, module: usize, reference: &Reference) -> Option<usize> {
    let found = path(tree, module, &reference.path, &mut Visited::new());
    if reference.is_glob { found.module.or(found.definer) } else { found.definer }
}

fn path(tree: &ModuleTree, module: usize, names: &[String], visited: &mut Visited) -> Found {
    let Some((first, mut rest)) = names.split_first() else { return Found::default() };
    let mut found = match first.as_str() {
        "crate" => Found { module: Some(0), definer: None },
        "self" => Found { module: Some(module), definer: None },
        "super" => Found { module: tree.modules[module].parent, definer: None },
        name => lookup(tree, module, name, visited),
    };
    while let Some((name, after)) = rest.split_first() {
        // An associated function or a variant stands with its type; what is not found is another crate's.
        let Some(inside) = found.module else { return found };
        found = match name.as_str() {
            "super" => Found { module: tree.modules[inside].parent, definer: None },
            name => lookup(tree, inside, name, visited),
        };
        if found == Found::default() {
            // Another crate's, handed on by this module, or made by a macro in it.
            return Found { module: None, definer: Some(inside) };
        }
        rest = after;
    }
    found
}

fn lookup(tree: &ModuleTree, module: usize, name: &str, visited: &mut Visited) -> Found {
    if !visited.insert((module, name.to_owned())) {
        return Found::default();
    }
    let here = &tree.modules[module];
    let mut found = Found {
        module: here.children.get(name).copied(),
        definer: here.defined.contains(name).then_some(module),
    };
    for import in here.imports.iter().filter(|import| import.name.as_deref() == Some(name)) {
        found = found.or(follow(tree, module, import, visited));
    }
    if found == Found::default() {
        for import in here.imports.iter().filter(|import| import.name.is_none()) {
            if let Some(from) = follow(tree, module, import, visited).module {
                found = found.or(lookup(tree, from, name, visited));
            }
        }
    }
    // The name may be asked for again on another way.
    visited.remove(&(module, name.to_owned()));
    found
}

fn follow(tree: &ModuleTree, module: usize, import: &Import, visited: &mut Visited) -> Found {
    path(tree, import.from.unwrap_or(module), &import.path, visited)
}

impl Found {
    fn or(self, other: Self) -> Self {
        Self { module: self.module.or(other.module), definer: self.definer.or(other.definer) }
    }
}
