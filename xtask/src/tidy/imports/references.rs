//! What an item names: its imports, and every path of two parts or more, inside of macros and attributes as
//! well.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::tidy::sources::is_for_tests;

/// A name that a `use` brings into scope.
pub struct Import {
    /// Nothing for `*`, which brings all.
    pub name: Option<String>,
    pub path: Vec<String>,
    /// The module in which the path is read, where that is not the import's own.
    pub from: Option<usize>,
}

/// A path in the code.
pub struct Reference {
    pub path: Vec<String>,
    pub line: usize,
    /// `pub use`, with any visibility.
    pub is_reexport: bool,
    /// `use x::*`, which names the module `x` itself.
    pub is_glob: bool,
}

/// Adds what an item imports and names. Modules inside of it are not looked at.
pub fn collect(item: &syn::Item, imports: &mut Vec<Import>, references: &mut Vec<Reference>) {
    Collector { imports, references }.visit_item(item);
}

/// The attributes of an item of any kind.
pub fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// A name without the `r#` of one that is a keyword.
pub fn name_of(ident: &proc_macro2::Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
}

struct Collector<'a> {
    imports: &'a mut Vec<Import>,
    references: &'a mut Vec<Reference>,
}

impl Collector<'_> {
    fn add(&mut self, path: Vec<String>, line: usize) {
        // A name alone is defined here, or was imported: the import counts.
        if path.len() > 1 {
            self.references.push(Reference { path, line, is_reexport: false, is_glob: false });
        }
    }

    fn add_use(&mut self, tree: &syn::UseTree, before: &[String], is_reexport: bool) {
        let with = |ident: &syn::Ident| {
            let mut path = before.to_vec();
            // `a::{self}` is `a`.
            if ident != "self" || before.is_empty() {
                path.push(name_of(ident));
            }
            path
        };
        let (path, name, line) = match tree {
            syn::UseTree::Path(part) => return self.add_use(&part.tree, &with(&part.ident), is_reexport),
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.add_use(tree, before, is_reexport));
            }
            syn::UseTree::Name(name) => {
                let path = with(&name.ident);
                let bound = path.last().cloned();
                (path, bound, name.ident.span().start().line)
            }
            syn::UseTree::Rename(rename) => {
                (with(&rename.ident), Some(name_of(&rename.rename)), rename.ident.span().start().line)
            }
            syn::UseTree::Glob(glob) => (before.to_vec(), None, glob.star_token.spans[0].start().line),
        };
        let is_glob = name.is_none();
        self.imports.push(Import { name, path: path.clone(), from: None });
        self.references.push(Reference { path, line, is_reexport, is_glob });
    }

    /// Looks for `a::b::c` in what only a macro understands.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) if !path.is_empty() && colons == 2 => {
                    path.push(name_of(&ident));
                    colons = 0;
                }
                other => {
                    self.add(std::mem::take(&mut path), line);
                    // After `::` alone stands the name of another crate.
                    let is_of_another_crate = colons == 2;
                    colons = 0;
                    match other {
                        TokenTree::Ident(ident) if !is_of_another_crate => {
                            line = ident.span().start().line;
                            path.push(name_of(&ident));
                        }
                        TokenTree::Group(group) => self.add_tokens(group.stream()),
                        _ => {}
                    }
                }
            }
        }
        self.add(path, line);
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            let is_reexport = !matches!(item.vis, syn::Visibility::Inherited);
            self.add_use(&item.tree, &[], is_reexport);
        }
    }

    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            let line = first.ident.span().start().line;
            self.add(path.segments.iter().map(|segment| name_of(&segment.ident)).collect(), line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.add_tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.add_tokens(list.tokens.clone());
            for text in strings(list.tokens.clone()) {
                // `#[serde(with = "crate::numbers")]`
                if let Ok(path) = text.parse_with(syn::Path::parse_mod_style) {
                    let names = path.segments.iter().map(|segment| name_of(&segment.ident)).collect();
                    self.add(names, text.span().start().line);
                }
            }
        }
    }
}

fn strings(tokens: TokenStream) -> impl Iterator<Item = syn::LitStr> {
    tokens.into_iter().filter_map(|token| match token {
        TokenTree::Literal(literal) => match syn::Lit::new(literal) {
            syn::Lit::Str(text) if text.value().contains("::") => Some(text),
            _ => None,
        },
        _ => None,
    })
}
