//! A relative link in a Markdown page leads to a file of the project, and its `#anchor` to a heading there.

use super::files::{Files, directory, joined};
use super::finding::Finding;
use super::markdown::Page;

/// Links that lead nowhere. Those to other sites are not looked at.
pub fn check(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.markdown() {
        let page = Page::parse(text);
        for link in &page.links {
            if let Some(problem) = problem(files, path, &page, &link.destination) {
                findings.push(Finding::new(
                    path,
                    link.line,
                    format!("broken link: {problem}; correct the link"),
                ));
            }
        }
    }
    findings
}

fn problem(files: &Files, from: &str, page: &Page, destination: &str) -> Option<String> {
    if is_elsewhere(destination) {
        return None;
    }
    let (path, anchor) = destination.split_once('#').unwrap_or((destination, ""));
    if path.is_empty() {
        return no_anchor(page, from, anchor);
    }
    // On GitHub a path from the root is one from the project's.
    let folder = if path.starts_with('/') { "" } else { directory(from) };
    let found = joined(folder, &path.replace("%20", " "));
    let Some(target) = found.filter(|target| files.has_file(target) || files.has_directory(target)) else {
        return Some(format!("there is no file `{path}`"));
    };
    let text = files.text(&target).filter(|_| target.ends_with(".md"))?;
    no_anchor(&Page::parse(text), path, anchor)
}

fn no_anchor(page: &Page, path: &str, anchor: &str) -> Option<String> {
    let is_there = anchor.is_empty() || page.anchors().iter().any(|name| name == anchor);
    (!is_there).then(|| format!("`{path}` has no heading `#{anchor}`"))
}

/// `https://..`, `mailto:..`, `//host/..`
fn is_elsewhere(destination: &str) -> bool {
    let scheme = destination.split_once(':').map(|(scheme, _)| scheme);
    destination.starts_with("//")
        || scheme.is_some_and(|scheme| scheme.chars().all(|c| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "# The format\n\n## Limits, by name\n";

    fn lines(text: &str) -> Vec<String> {
        let files = Files::of(&[("docs/page.md", text), ("FORMAT.md", FORMAT), ("src/lib.rs", "")]);
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_to_files_folders_headings_and_other_sites_hold() {
        let page = "# Page\n\n[a](../FORMAT.md), [b](../FORMAT.md#limits-by-name), [c](#page), [d](../src), [e](/src/lib.rs#L1), \
                    [f](https://example.com/no.md), [g](mailto:a@example.com), `[h](none.md)`, [i]\n\n[i]: ../FORMAT.md\n";
        assert_eq!(lines(page), [""; 0]);
    }

    #[test]
    fn a_link_to_no_file_is_named() {
        assert_eq!(
            lines("# Page\n\nSee [it](FORMAT.md)\nand ![it](../../up.png).\n"),
            [
                "docs/page.md:3: broken link: there is no file `FORMAT.md`; correct the link",
                "docs/page.md:4: broken link: there is no file `../../up.png`; correct the link",
            ]
        );
    }

    #[test]
    fn a_link_to_no_heading_is_named() {
        assert_eq!(
            lines("# Page\n\n[a](#part), [b](../FORMAT.md#limits)\n"),
            [
                "docs/page.md:3: broken link: `docs/page.md` has no heading `#part`; correct the link",
                "docs/page.md:3: broken link: `../FORMAT.md` has no heading `#limits`; correct the link",
            ]
        );
    }
}
