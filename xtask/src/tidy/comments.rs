//! Comments of at most 110 columns, as rustfmt keeps the code.

use super::files::Files;
use super::finding::Finding;

/// Columns of a line, the space before the comment included. That of `max_width` in `rustfmt.toml`.
const MAX_COLUMNS: usize = 110;
/// What begins a code block, and ends it.
const FENCE: &str = "```";

/// Lines of comments that are too long. Rows of tables cannot be wrapped, nor can a word without a space, and
/// code in examples has the width of its own. Markdown pages are wrapped by the program that shows them.
pub fn check(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.rust() {
        let mut in_code = false;
        for (number, line) in text.lines().enumerate() {
            let Some(comment) = comment(line) else {
                in_code = false;
                continue;
            };
            if comment.starts_with(FENCE) {
                in_code = !in_code;
            }
            let columns = line.chars().count();
            if columns > MAX_COLUMNS && !in_code && can_be_wrapped(line, comment) {
                let message = format!("the comment has {columns} columns, above {MAX_COLUMNS}; wrap it");
                findings.push(Finding::new(path, number + 1, message));
            }
        }
    }
    findings
}

/// The text of a line that is a comment.
fn comment(line: &str) -> Option<&str> {
    let comment = line.trim_start().strip_prefix("//")?;
    Some(comment.trim_start_matches(['/', '!']).trim_start())
}

/// Whether the line has a space at which it can be broken.
fn can_be_wrapped(line: &str, comment: &str) -> bool {
    let first_columns: String = line.chars().take(MAX_COLUMNS + 1).collect();
    let before = line.chars().count() - comment.chars().count();
    !comment.starts_with('|') && first_columns.chars().skip(before).any(|c| c == ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        check(&Files::of(&[("a/src/lib.rs", text), ("a.md", &"word ".repeat(40))]))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// A line of this many columns that begins so.
    fn line(begin: &str, columns: usize) -> String {
        format!("{begin}{}\n", "a b ".repeat(columns).chars().take(columns - begin.len()).collect::<String>())
    }

    #[test]
    fn a_comment_above_110_columns_is_named() {
        for begin in ["//! ", "/// ", "    // "] {
            assert_eq!(lines(&line(begin, 110)), [""; 0], "{begin}");
            assert_eq!(
                lines(&format!("//! First.\n{}", line(begin, 111))),
                ["a/src/lib.rs:2: the comment has 111 columns, above 110; wrap it"],
                "{begin}"
            );
        }
        assert_eq!(lines(&line("let text = \"", 130)), [""; 0], "code is rustfmt's");
    }

    #[test]
    fn what_cannot_be_wrapped_may_be_longer() {
        assert_eq!(lines(&line("/// | ", 200)), [""; 0], "a row of a table");
        assert_eq!(lines(&format!("/// <https://{}>\n", "a".repeat(120))), [""; 0], "one word");
        let example = format!("/// ```\n{}/// ```\n", line("/// ", 150));
        assert_eq!(lines(&example), [""; 0]);
        let after = format!("{example}{}", line("/// ", 150));
        assert_eq!(lines(&after).len(), 1);
        // A fence that is left open ends with its comment.
        assert_eq!(lines(&format!("/// ```\nfn f() {{}}\n{}", line("// ", 150))).len(), 1);
    }
}
