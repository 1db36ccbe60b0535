//! The files that are looked at: what git tracks, or would track, with the text of those that a check reads.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Command;

/// Extensions of the files whose text is read.
const READ: [&str; 3] = ["rs", "md", "toml"];

/// Paths from the project's root, with `/` between their parts.
pub struct Files {
    /// The text is empty where no check reads it.
    texts: BTreeMap<String, String>,
}

impl Files {
    /// The files below a directory that git tracks, and the new ones that it does not ignore.
    ///
    /// # Errors
    /// When git fails or a file cannot be read. A file that is only in git's index is left out.
    pub fn tracked(root: &Path) -> io::Result<Self> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()?;
        if !listed.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&listed.stderr).trim().to_owned()));
        }
        let mut texts = BTreeMap::new();
        for path in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
            let full = root.join(path);
            if !full.is_file() {
                continue;
            }
            let is_read = READ.iter().any(|extension| has_extension(path, extension));
            let text = if is_read { std::fs::read_to_string(&full) } else { Ok(String::new()) };
            let text = text.map_err(|error| io::Error::other(format!("{path}: {error}")))?;
            texts.insert(path.to_owned(), text);
        }
        Ok(Self { texts })
    }

    /// Files that a test makes up.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self { texts: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() }
    }

    /// Rust files: path and text.
    pub fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.with_extension("rs")
    }

    /// Markdown pages: path and text.
    pub fn markdown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.with_extension("md")
    }

    /// Packages' and the workspace's `Cargo.toml`: path and text.
    pub fn manifests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.with_extension("toml").filter(|(path, _)| file_name(path) == "Cargo.toml")
    }

    /// The text of a file that is read.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Whether there is such a file.
    pub fn has_file(&self, path: &str) -> bool {
        self.texts.contains_key(path)
    }

    /// Whether there is such a directory. The root is the empty path.
    pub fn has_directory(&self, path: &str) -> bool {
        path.is_empty() || self.texts.keys().any(|file| is_below(file, path))
    }

    /// The paths of all files, also of those that are not read.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    fn with_extension(&self, extension: &'static str) -> impl Iterator<Item = (&str, &str)> {
        let files = self.texts.iter().filter(move |(path, _)| has_extension(path, extension));
        files.map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// The directory of a path; the root's is empty.
pub fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// The last part of a path.
pub fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// The last part of a path, without its extension.
pub fn stem(path: &str) -> &str {
    let name = file_name(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// A path seen from a directory, or from the root: `..` and `.` are taken out. Nothing where it leads above
/// the root.
pub fn joined(directory: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether a path lies in a directory, at any depth. All paths lie in the root.
pub fn is_below(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

fn has_extension(path: &str, extension: &str) -> bool {
    file_name(path).rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_without_leaving_the_root() {
        assert_eq!(joined("docs", "../README.md").as_deref(), Some("README.md"));
        assert_eq!(joined("", "./docs//a.md").as_deref(), Some("docs/a.md"));
        assert_eq!(joined("docs", ".."), Some(String::new()));
        assert_eq!(joined("docs", "../../up.md"), None);
    }

    #[test]
    fn a_directory_is_one_with_files_in_it() {
        let files = Files::of(&[("docs/a.md", "")]);
        assert!(files.has_directory("docs") && files.has_directory(""));
        assert!(!files.has_directory("doc") && !files.has_file("docs"));
    }
}
