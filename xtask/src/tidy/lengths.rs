//! Functions of at most 70 lines, files of at most 400.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::files::Files;
use super::finding::Finding;

/// Lines of a function, from `fn` to its closing brace.
const MAX_FUNCTION_LINES: usize = 70;
/// Lines of a file.
const MAX_FILE_LINES: usize = 400;

/// Files and functions that are too long. Tests count, and so do functions inside of a macro's call.
pub fn check(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.rust() {
        let lines = text.lines().count();
        if lines > MAX_FILE_LINES {
            let message =
                format!("the file has {lines} lines, above {MAX_FILE_LINES}; split it by what its parts own");
            findings.push(Finding::new(path, MAX_FILE_LINES + 1, message));
        }
        // What is not Rust is reported where it is parsed.
        if let Ok(tokens) = text.parse::<TokenStream>() {
            look_for_functions(path, tokens, &mut findings);
        }
    }
    findings
}

/// Over tokens rather than items, so that `proptest! { fn .. }` counts as well.
fn look_for_functions(path: &str, tokens: TokenStream, findings: &mut Vec<Finding>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            look_for_functions(path, group.stream(), findings);
        }
        let (TokenTree::Ident(keyword), Some(TokenTree::Ident(name))) = (token, tokens.get(index + 1)) else {
            continue;
        };
        if keyword != "fn" {
            continue;
        }
        let (first, Some(last)) = (keyword.span().start().line, last_line(&tokens[index..])) else {
            continue;
        };
        let lines = last + 1 - first;
        if lines > MAX_FUNCTION_LINES {
            let message = format!(
                "the function `{name}` has {lines} lines, above {MAX_FUNCTION_LINES}; give its parts names"
            );
            findings.push(Finding::new(path, first, message));
        }
    }
}

/// The line of the brace that closes a function's body. A function of a trait may have none.
fn last_line(function: &[TokenTree]) -> Option<usize> {
    for token in function {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                return Some(group.span_close().start().line);
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        check(&Files::of(&[("a/src/lib.rs", text)])).iter().map(ToString::to_string).collect()
    }

    /// A function of so many lines.
    fn function(name: &str, lines: usize) -> String {
        format!("/// Documented.\nfn {name}() {{\n{}}}\n", "    step();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_above_70_lines_is_named() {
        assert_eq!(lines(&function("fits", 70)), [""; 0]);
        assert_eq!(
            lines(&function("train", 71)),
            ["a/src/lib.rs:2: the function `train` has 71 lines, above 70; give its parts names"]
        );
    }

    #[test]
    fn functions_inside_of_a_macro_and_of_a_trait_count() {
        let in_macro = format!("proptest! {{\n{}}}\n", function("holds", 80));
        assert_eq!(
            lines(&in_macro),
            ["a/src/lib.rs:3: the function `holds` has 80 lines, above 70; give its parts names"]
        );
        let without_body = format!("trait T {{\n    fn named();\n{}}}\n", function("has_one", 70));
        assert_eq!(lines(&without_body), [""; 0]);
    }

    #[test]
    fn a_file_above_400_lines_is_named() {
        assert_eq!(lines(&"\n".repeat(400)), [""; 0]);
        assert_eq!(
            lines(&"\n".repeat(401)),
            ["a/src/lib.rs:401: the file has 401 lines, above 400; split it by what its parts own"]
        );
    }
}
