//! The public items of libraries, with their documentation.

use std::collections::BTreeMap;

use crate::tidy::files::{Files, directory, file_name, is_below, joined, stem};
use crate::tidy::imports::references::{attributes, name_of};
use crate::tidy::sources::{Sources, is_for_tests};

/// An item, a method (`Type::method`) or a module with its documentation.
pub struct Documented {
    pub name: String,
    pub file: String,
    pub line: usize,
    pub doc: String,
    pub is_module: bool,
}

/// All that is documented in some libraries, and which of it is public.
pub struct Library {
    pub documented: Vec<Documented>,
    /// Paths as re-exports write them, with the name at the end; and what stands above the re-export.
    exported: BTreeMap<Vec<String>, String>,
}

impl Library {
    /// Reads the libraries of these root files. A file that cannot be parsed is reported elsewhere.
    pub fn read(files: &Files, sources: &Sources, roots: &[&str]) -> Self {
        let mut library = Self { documented: Vec::new(), exported: BTreeMap::new() };
        for root in roots.iter().filter(|root| files.has_file(root)) {
            let folder = directory(root);
            for (path, file) in sources.iter().filter(|(path, _)| is_below(path, folder)) {
                library.document(path, file);
            }
            library.export(root, sources);
        }
        library
    }

    /// The items that can be named outside of their crate, with their documentation and that of their
    /// re-exports.
    pub fn exported(&self) -> impl Iterator<Item = (&Documented, String)> {
        let items = self.documented.iter().filter(|item| !item.is_module);
        items.filter_map(|item| {
            let mut names = self.exported.iter().filter(|(path, _)| is_named_by(item, path)).peekable();
            names.peek()?;
            Some((item, names.fold(item.doc.clone(), |doc, (_, above)| doc + above)))
        })
    }

    fn document(&mut self, path: &str, file: &syn::File) {
        let mut add = |name: String, ident: &syn::Ident, attributes: &[syn::Attribute]| {
            let line = ident.span().start().line;
            self.documented.push(Documented {
                name,
                file: path.to_owned(),
                line,
                doc: doc(attributes),
                is_module: false,
            });
        };
        for item in &file.items {
            if let Some((ident, _)) = named(item).filter(|(_, visibility)| is_public(visibility)) {
                add(name_of(ident), ident, attributes(item));
            }
            let syn::Item::Impl(block) = item else { continue };
            let syn::Type::Path(of) = &*block.self_ty else { continue };
            let Some(of) = of.path.segments.last() else { continue };
            for inside in &block.items {
                if let syn::ImplItem::Fn(method) = inside {
                    add(format!("{}::{}", of.ident, method.sig.ident), &method.sig.ident, &method.attrs);
                }
            }
        }
        // The root is `crate` in a link.
        let name = match file_name(path) {
            "lib.rs" => "crate",
            "mod.rs" => file_name(directory(path)),
            _ => stem(path),
        };
        let (name, file_doc) = (name.to_owned(), doc(&file.attrs));
        self.documented.push(Documented {
            name,
            file: path.to_owned(),
            line: 1,
            doc: file_doc,
            is_module: true,
        });
    }

    /// Adds what a public module has that is public: its own items, those that it re-exports, and its public
    /// modules.
    fn export(&mut self, path: &str, sources: &Sources) {
        let Some(file) = sources.get(path) else { return };
        let folder = match file_name(path) {
            "lib.rs" | "mod.rs" => directory(path).to_owned(),
            _ => joined(directory(path), stem(path)).unwrap_or_default(),
        };
        for item in &file.items {
            let attributes = attributes(item);
            if is_for_tests(attributes) || is_hidden(attributes) {
                continue;
            }
            match item {
                syn::Item::Use(item) if is_public(&item.vis) => {
                    self.export_use(&item.tree, &[], &doc(&item.attrs))
                }
                syn::Item::Mod(module) if is_public(&module.vis) => {
                    let name = name_of(&module.ident);
                    for file in [format!("{name}.rs"), format!("{name}/mod.rs")] {
                        self.export(&joined(&folder, &file).unwrap_or_default(), sources);
                    }
                }
                item => {
                    if let Some((ident, _)) = named(item).filter(|(_, visibility)| is_public(visibility)) {
                        self.exported.insert(vec![path.to_owned(), name_of(ident)], String::new());
                    }
                }
            }
        }
    }

    fn export_use(&mut self, tree: &syn::UseTree, before: &[String], above: &str) {
        let with = |ident: &syn::Ident| [before, &[name_of(ident)]].concat();
        match tree {
            syn::UseTree::Path(part) => self.export_use(&part.tree, &with(&part.ident), above),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.export_use(tree, before, above))
            }
            syn::UseTree::Name(name) => drop(self.exported.insert(with(&name.ident), above.to_owned())),
            syn::UseTree::Rename(rename) => drop(self.exported.insert(with(&rename.ident), above.to_owned())),
            // The project has none.
            syn::UseTree::Glob(_) => {}
        }
    }
}

/// Whether an item is the one of a re-export: of its name, and where the path says a file or a folder, below
/// it.
fn is_named_by(item: &Documented, path: &[String]) -> bool {
    let [before @ .., name] = path else { return false };
    let is_in = |part: &str| {
        item.file == part || stem(&item.file) == part || item.file.split('/').any(|folder| folder == part)
    };
    let is_plain = |part: &str| {
        !matches!(part, "crate" | "self" | "super" | "plumbing" | "burn_ckpt" | "burn_environment")
    };
    item.name == *name && before.iter().filter(|part| is_plain(part)).all(|part| is_in(part))
}

fn named(item: &syn::Item) -> Option<(&syn::Ident, &syn::Visibility)> {
    Some(match item {
        syn::Item::Const(item) => (&item.ident, &item.vis),
        syn::Item::Enum(item) => (&item.ident, &item.vis),
        syn::Item::Fn(item) => (&item.sig.ident, &item.vis),
        syn::Item::Static(item) => (&item.ident, &item.vis),
        syn::Item::Struct(item) => (&item.ident, &item.vis),
        syn::Item::Trait(item) => (&item.ident, &item.vis),
        syn::Item::Type(item) => (&item.ident, &item.vis),
        _ => return None,
    })
}

fn is_public(visibility: &syn::Visibility) -> bool {
    matches!(visibility, syn::Visibility::Public(_))
}

/// `#[doc(hidden)]`
fn is_hidden(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("doc")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|argument| argument == "hidden")
    })
}

fn doc(attributes: &[syn::Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        if let syn::Meta::NameValue(meta) = &attribute.meta
            && let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(line), .. }) = &meta.value
        {
            text.push_str(&line.value());
            text.push('\n');
        }
    }
    text
}
