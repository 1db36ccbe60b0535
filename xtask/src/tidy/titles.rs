//! Each Markdown page has exactly one title, `# Title`.

use super::files::Files;
use super::finding::Finding;
use super::markdown::Page;

/// Pages with no title, and each title after a page's first.
pub fn check(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.markdown() {
        let page = Page::parse(text);
        let mut titles = page.headings.iter().filter(|heading| heading.is_title);
        let Some(first) = titles.next() else {
            findings.push(Finding::new(path, 1, "the page has no title; begin with one line `# Title`"));
            continue;
        };
        findings.extend(titles.map(|second| {
            let (text, line) = (&second.text, first.line);
            let message = format!("a second title `{text}`, after that of line {line}; make it `## {text}`");
            Finding::new(path, second.line, message)
        }));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        check(&Files::of(&[("docs/page.md", text)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_page_with_one_title_is_as_it_should_be() {
        assert_eq!(lines("# Title\n\n```sh\n# a comment\n```\n\n## Part\n"), [""; 0]);
    }

    #[test]
    fn a_page_without_a_title_is_named() {
        assert_eq!(
            lines("## Part\n\n    # a comment\n"),
            ["docs/page.md:1: the page has no title; begin with one line `# Title`"]
        );
    }

    #[test]
    fn a_second_title_is_named() {
        assert_eq!(
            lines("# Title\n\n# Part\n"),
            ["docs/page.md:3: a second title `Part`, after that of line 1; make it `## Part`"]
        );
    }
}
