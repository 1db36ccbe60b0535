//! The Rust files, parsed once for all checks that need more than their text.

use std::collections::BTreeMap;

use super::files::Files;
use super::finding::Finding;

/// Rust files by their path. One that cannot be parsed is left out.
pub struct Sources {
    parsed: BTreeMap<String, syn::File>,
}

impl Sources {
    /// Parses them. What cannot be parsed is a finding.
    pub fn parse(files: &Files) -> (Self, Vec<Finding>) {
        let mut parsed = BTreeMap::new();
        let mut findings = Vec::new();
        for (path, text) in files.rust() {
            match syn::parse_file(text) {
                Ok(file) => drop(parsed.insert(path.to_owned(), file)),
                Err(error) => {
                    let line = error.span().start().line;
                    let message = format!("not Rust that can be parsed: {error}");
                    findings.push(Finding::new(path, line, message));
                }
            }
        }
        (Self { parsed }, findings)
    }

    /// A file's syntax.
    pub fn get(&self, path: &str) -> Option<&syn::File> {
        self.parsed.get(path)
    }

    /// All files by their path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &syn::File)> {
        self.parsed.iter().map(|(path, file)| (path.as_str(), file))
    }
}

/// Whether an item is compiled for unit tests alone: `#[cfg(test)]`, `#[cfg(all(test, ..))]`.
pub fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Meta>().is_ok_and(|meta| needs_test(&meta))
    })
}

fn needs_test(meta: &syn::Meta) -> bool {
    type Metas = syn::punctuated::Punctuated<syn::Meta, syn::Token![,]>;
    match meta {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) if list.path.is_ident("all") => {
            list.parse_args_with(Metas::parse_terminated).is_ok_and(|metas| metas.iter().any(needs_test))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_for_tests_alone_is_known_by_its_attribute() {
        let is_for_tests = |text: &str| {
            let file = syn::parse_file(text).unwrap();
            let [syn::Item::Mod(module)] = file.items.as_slice() else { panic!("{text}") };
            is_for_tests(&module.attrs)
        };
        assert!(is_for_tests("#[cfg(test)] mod tests;"));
        assert!(is_for_tests("#[cfg(all(test, unix))] mod tests;"));
        assert!(!is_for_tests("#[cfg(any(test, unix))] mod tests;"));
        assert!(!is_for_tests("#[cfg(not(test))] mod tests;"));
    }
}
