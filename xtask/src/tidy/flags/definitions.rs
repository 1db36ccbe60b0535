//! The clap types in the sources, and what their attributes say. Code for unit tests has none.

use syn::punctuated::Punctuated;

use crate::tidy::files::{directory, file_name, stem};
use crate::tidy::sources::{Sources, is_for_tests};

/// A struct or an enum of which clap may make arguments.
pub struct Definition<'a> {
    pub file: &'a str,
    pub name: String,
    pub attributes: &'a [syn::Attribute],
    pub shape: Shape<'a>,
}

#[derive(Clone, Copy)]
pub enum Shape<'a> {
    Struct(&'a syn::Fields),
    Enum(&'a syn::ItemEnum),
}

/// All structs and enums, by which a field's type can be looked up.
pub struct Definitions<'a> {
    all: Vec<Definition<'a>>,
}

impl<'a> Definitions<'a> {
    pub fn read(sources: &'a Sources) -> Self {
        let mut all = Vec::new();
        for (path, file) in sources.iter() {
            add(path, &file.items, &mut all);
        }
        Self { all }
    }

    /// Types with `#[derive(Parser)]`: each is a program.
    pub fn parsers(&self) -> impl Iterator<Item = &Definition<'a>> {
        self.all.iter().filter(|definition| derives(definition.attributes, "Parser"))
    }

    /// The types that a field's can be, seen from a file. `Option<T>` and `Box<T>` stand for `T`.
    ///
    /// Imports are not followed: the type of that name in this file is meant, or one in a file or folder
    /// named as in the path (`ls::Args`), or the only one there is. Where none of these is so, all are meant.
    pub fn of_type(&self, of: &syn::Type, seen_from: &str) -> Vec<&Definition<'a>> {
        let syn::Type::Path(of) = of else { return Vec::new() };
        let mut segments = of.path.segments.iter().rev();
        let Some(last) = segments.next() else { return Vec::new() };
        if (last.ident == "Option" || last.ident == "Box")
            && let syn::PathArguments::AngleBracketed(arguments) = &last.arguments
            && let Some(syn::GenericArgument::Type(inner)) = arguments.args.first()
        {
            return self.of_type(inner, seen_from);
        }
        let name = last.ident.to_string();
        let named: Vec<_> = self.all.iter().filter(|definition| definition.name == name).collect();
        let module = segments.next().map(|segment| segment.ident.to_string());
        let is_meant = |definition: &&&Definition<'_>| match &module {
            Some(module) => module_name(definition.file) == module,
            None => definition.file == seen_from,
        };
        // `ls::Args` lies beside or below the file that names it.
        let nearby = |definition: &&&Definition<'_>| definition.file.starts_with(directory(seen_from));
        let meant: Vec<_> = named.iter().filter(is_meant).filter(nearby).copied().collect();
        if meant.is_empty() { named } else { meant }
    }
}

/// The settings in `#[command(..)]` or `#[arg(..)]`.
pub fn settings(attributes: &[syn::Attribute], name: &str) -> Vec<syn::Meta> {
    type Metas = Punctuated<syn::Meta, syn::Token![,]>;
    let of_name = attributes.iter().filter(|attribute| attribute.path().is_ident(name));
    of_name
        .filter_map(|attribute| attribute.parse_args_with(Metas::parse_terminated).ok())
        .flatten()
        .collect()
}

/// Whether a setting stands there, with a value or without.
pub fn has(settings: &[syn::Meta], name: &str) -> bool {
    settings.iter().any(|setting| setting.path().is_ident(name))
}

/// `name = "text"`
pub fn text(settings: &[syn::Meta], name: &str) -> Option<String> {
    settings.iter().find(|setting| setting.path().is_ident(name)).and_then(value)
}

/// The lines of a documentation comment.
pub fn documentation(attributes: &[syn::Attribute]) -> Vec<String> {
    let lines = attributes.iter().filter(|attribute| attribute.path().is_ident("doc"));
    lines.filter_map(|attribute| value(&attribute.meta)).collect()
}

fn value(meta: &syn::Meta) -> Option<String> {
    match meta {
        syn::Meta::NameValue(syn::MetaNameValue {
            value: syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }),
            ..
        }) => Some(text.value()),
        _ => None,
    }
}

fn derives(attributes: &[syn::Attribute], name: &str) -> bool {
    type Paths = Punctuated<syn::Path, syn::Token![,]>;
    attributes.iter().filter(|attribute| attribute.path().is_ident("derive")).any(|attribute| {
        let derived = attribute.parse_args_with(Paths::parse_terminated).unwrap_or_default();
        derived.iter().any(|path| path.segments.last().is_some_and(|segment| segment.ident == name))
    })
}

fn module_name(file: &str) -> &str {
    if file_name(file) == "mod.rs" { file_name(directory(file)) } else { stem(file) }
}

fn add<'a>(file: &'a str, items: &'a [syn::Item], all: &mut Vec<Definition<'a>>) {
    for item in items {
        let (name, attributes, shape) = match item {
            syn::Item::Struct(item) => (&item.ident, &item.attrs, Shape::Struct(&item.fields)),
            syn::Item::Enum(item) => (&item.ident, &item.attrs, Shape::Enum(item)),
            syn::Item::Mod(module) if !is_for_tests(&module.attrs) => {
                if let Some((_, items)) = &module.content {
                    add(file, items, all);
                }
                continue;
            }
            _ => continue,
        };
        if !is_for_tests(attributes) {
            all.push(Definition { file, name: name.to_string(), attributes, shape });
        }
    }
}
