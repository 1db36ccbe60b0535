//! Each Rust file opens with `//!`.

use super::finding::Finding;
use super::sources::Sources;

const MESSAGE: &str = "no `//!` at the top; say what the file owns and where in the flow it stands";

/// Files without documentation of their own. Other attributes `#![..]` may stand before it.
pub fn check(sources: &Sources) -> Vec<Finding> {
    let without = sources.iter().filter(|(_, file)| !file.attrs.iter().any(is_header));
    without.map(|(path, _)| Finding::new(path, 1, MESSAGE)).collect()
}

fn is_header(attribute: &syn::Attribute) -> bool {
    matches!(attribute.style, syn::AttrStyle::Inner(_)) && attribute.path().is_ident("doc")
}

#[cfg(test)]
mod tests {
    use super::super::files::Files;
    use super::*;

    #[test]
    fn a_file_without_a_header_is_named() {
        let (sources, _) = Sources::parse(&Files::of(&[
            ("a/build.rs", "/// Not the file's.\nfn main() {}\n"),
            ("a/src/lib.rs", "#![forbid(unsafe_code)]\n//! The file's.\n"),
            ("a/src/other.rs", "#![forbid(unsafe_code)]\n"),
        ]));
        let lines: Vec<_> = check(&sources).iter().map(ToString::to_string).collect();
        assert_eq!(lines, [format!("a/build.rs:1: {MESSAGE}"), format!("a/src/other.rs:1: {MESSAGE}")]);
        assert_eq!(MESSAGE, "no `//!` at the top; say what the file owns and where in the flow it stands");
    }
}
