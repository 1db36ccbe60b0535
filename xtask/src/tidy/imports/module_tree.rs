//! A target's modules: the file each stands in, the names that it defines or imports, and the paths that it
//! names.

use std::collections::{BTreeMap, BTreeSet};

use super::references::{self, Import, Reference, name_of};
use crate::tidy::files::{directory, file_name, joined, stem};
use crate::tidy::sources::{Sources, is_for_tests};

/// The modules of a target. The root is the first.
pub struct ModuleTree {
    pub modules: Vec<Module>,
}

/// A module, in a file of its own or inside of one.
#[derive(Default)]
pub struct Module {
    pub file: String,
    /// Nothing for the root.
    pub parent: Option<usize>,
    pub children: BTreeMap<String, usize>,
    /// Items that are neither modules nor imports.
    pub defined: BTreeSet<String>,
    /// What each `use` brings into scope.
    pub imports: Vec<Import>,
    /// What its code names, imports included.
    pub references: Vec<Reference>,
}

/// Where a module's own modules are looked for.
struct Place {
    module: usize,
    /// Of `mod x;`.
    folder: String,
    /// Of `#[path = ".."] mod x;`.
    folder_of_paths: String,
}

impl ModuleTree {
    /// Reads the modules below a root. A file that is missing is left out: the compiler reports it.
    pub fn read(root: &str, sources: &Sources) -> Self {
        let mut tree = Self { modules: Vec::new() };
        tree.read_file(root, None, true, sources);
        tree
    }

    /// Whether a module is another, or lies in it at any depth.
    pub fn is_below(&self, module: usize, ancestor: usize) -> bool {
        let mut parents = std::iter::successors(Some(module), |module| self.modules[*module].parent);
        parents.any(|parent| parent == ancestor)
    }

    /// A file owns its folder if it is a root, a `mod.rs`, or was named by `#[path]`: its modules lie beside
    /// it.
    fn read_file(
        &mut self,
        file: &str,
        parent: Option<usize>,
        owns_folder: bool,
        sources: &Sources,
    ) -> Option<usize> {
        let syntax = sources.get(file)?;
        let module = self.add(file, parent);
        let beside = directory(file).to_owned();
        let folder = if owns_folder || file_name(file) == "mod.rs" {
            beside.clone()
        } else {
            joined(&beside, stem(file)).unwrap_or_default()
        };
        self.read_items(&syntax.items, &Place { module, folder, folder_of_paths: beside }, sources);
        Some(module)
    }

    fn add(&mut self, file: &str, parent: Option<usize>) -> usize {
        self.modules.push(Module { file: file.to_owned(), parent, ..Module::default() });
        self.modules.len() - 1
    }

    fn read_items(&mut self, items: &[syn::Item], place: &Place, sources: &Sources) {
        for item in items.iter().filter(|item| !is_for_tests(references::attributes(item))) {
            if let syn::Item::Mod(child) = item {
                self.read_module(child, place, sources);
                continue;
            }
            let module = &mut self.modules[place.module];
            references::collect(item, &mut module.imports, &mut module.references);
            module.defined.extend(defined_name(item));
            if let Some(exported) = exported_macro(item) {
                let path = vec!["self".to_owned(), exported.clone()];
                self.export_macro(place.module, exported, path);
            }
        }
    }

    fn read_module(&mut self, child: &syn::ItemMod, place: &Place, sources: &Sources) {
        let name = name_of(&child.ident);
        let parent = Some(place.module);
        let module = if let Some((_, items)) = &child.content {
            let module = self.add(&self.modules[place.module].file.clone(), parent);
            let folder = joined(&place.folder, &name).unwrap_or_default();
            self.read_items(items, &Place { module, folder_of_paths: folder.clone(), folder }, sources);
            Some(module)
        } else if let Some(path) = path_attribute(&child.attrs) {
            joined(&place.folder_of_paths, &path)
                .and_then(|file| self.read_file(&file, parent, true, sources))
        } else {
            [format!("{name}.rs"), format!("{name}/mod.rs")]
                .iter()
                .find_map(|file| self.read_file(&joined(&place.folder, file)?, parent, false, sources))
        };
        if let Some(module) = module {
            self.modules[place.module].children.insert(name, module);
        }
    }

    /// `#[macro_export]` puts a macro's name into the root.
    fn export_macro(&mut self, module: usize, name: String, path: Vec<String>) {
        if module != 0 {
            self.modules[0].imports.push(Import { name: Some(name), path, from: Some(module) });
        }
    }
}

fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let syn::Meta::NameValue(meta) = &attribute.meta else { return None };
        let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }) = &meta.value else { return None };
        meta.path.is_ident("path").then(|| path.value())
    })
}

fn exported_macro(item: &syn::Item) -> Option<String> {
    let syn::Item::Macro(definition) = item else { return None };
    let is_exported = definition.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"));
    definition.ident.as_ref().filter(|_| is_exported).map(name_of)
}

fn defined_name(item: &syn::Item) -> Option<String> {
    let ident = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Macro(item) => item.ident.as_ref()?,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::TraitAlias(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        syn::Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name_of(ident))
}
