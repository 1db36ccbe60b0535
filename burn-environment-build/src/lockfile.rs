//! `Cargo.lock`: finding one and reading its packages, without the places that they were fetched
//! from.
//!
//! Read by build scripts, and by burn-environment where these found none.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Most bytes that a lock file may have. One with a thousand packages has a third of a mebibyte.
const MAX_LOCKFILE_BYTES: u64 = 16 << 20;

/// A package that a program was built from.
///
/// The [crate's page](crate) has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Package {
    /// Name of the package.
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// `registry`, or `git+<url>#<commit>` without any credential, or `None` for a package of the
    /// workspace itself or of another local path.
    pub source: Option<String>,
    /// The registry's SHA-256 of the package's archive.
    pub checksum: Option<String>,
}

/// The lock file nearest to `start`, walking up, that lists the package `member`, and what it
/// lists.
///
/// A lock file that does not list it belongs to another program, such as one that is kept in the
/// home directory. A file that cannot be read or parsed is skipped: the packages are then
/// unknown, and nothing fails.
///
/// ```
/// use std::path::Path;
///
/// let found = burn_environment_build::nearest_lockfile(Path::new("."), "my-program");
/// let versions = found.into_iter().flat_map(|(_, packages)| packages).map(|package| package.version);
/// # drop(versions);
/// ```
#[must_use]
pub fn nearest_lockfile(start: &Path, member: &str) -> Option<(PathBuf, Vec<Package>)> {
    start.ancestors().find_map(|directory| {
        let path = directory.join("Cargo.lock");
        // Mostly there is none in a directory. One that cannot be read is no better than that.
        let Ok(text) = read(&path) else {
            return None;
        };
        let packages = parse(&text)?;
        let listed = packages.iter().any(|package| package.name == member);
        listed.then_some((path, packages))
    })
}

/// The text of a regular file that is not too long.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    // Before opening: opening a named pipe waits for its other end.
    if !path.metadata()?.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let file = File::open(path)?;
    let mut text = String::new();
    // One byte more than allowed tells a file that is too long from one that just fits, also if it
    // grows meanwhile.
    let length = file.take(MAX_LOCKFILE_BYTES + 1).read_to_string(&mut text)?;
    if length as u64 > MAX_LOCKFILE_BYTES {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(text)
}

/// The packages of a lock file, in its order (by name, then version).
pub(crate) fn parse(text: &str) -> Option<Vec<Package>> {
    /// The one part of a lock file that is of use here.
    #[derive(Deserialize)]
    struct Lockfile {
        package: Vec<Package>,
    }

    let mut packages = toml::from_str::<Lockfile>(text).ok()?.package;
    for package in &mut packages {
        package.source = package.source.take().map(|source| shorten(&source));
    }
    Some(packages)
}

/// What kind of place a package came from; for a git repository, which one and which commit.
///
/// No registry is named: its address can be private, and the checksum says more. A git URL loses
/// its user and password, and its query, which can hold a token; the commit in its fragment says
/// more than the branch in its query.
fn shorten(source: &str) -> String {
    let Some(url) = source.strip_prefix("git+") else {
        return "registry".to_owned();
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        return "git".to_owned();
    };
    let (rest, commit) = match rest.split_once('#') {
        Some((rest, commit)) => (rest, Some(commit)),
        None => (rest, None),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = match authority.rsplit_once('@') {
        Some((_credentials, host)) => host,
        None => authority,
    };
    // An `@` further on can be that of a password with an unescaped delimiter: then the host is not
    // what it seems.
    let ambiguous = [path, query, commit.unwrap_or_default()].iter().any(|part| part.contains('@'));
    if ambiguous {
        return "git".to_owned();
    }
    match commit {
        Some(commit) if commit.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("git+{scheme}://{host}{path}#{commit}")
        }
        _ => format!("git+{scheme}://{host}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::write_file::write;

    const LOCK: &str = r#"
version = 4

[[package]]
name = "member"
version = "0.1.0"
dependencies = ["serde"]

[[package]]
name = "serde"
version = "1.0.229"
source = "registry+https://registry.example/index"
checksum = "0123abcd"

[[package]]
name = "patched"
version = "2.0.0-rc.1"
source = "git+https://user:hunter2@git.example/a/b.git?branch=main&token=hunter2#0f1e2d"

[[patch.unused]]
name = "not-built"
version = "9.9.9"
"#;

    fn package(name: &str, version: &str, source: Option<&str>, checksum: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            source: source.map(str::to_owned),
            checksum: checksum.map(str::to_owned),
        }
    }

    #[test]
    fn a_lock_file_gives_its_packages_and_not_where_they_were_fetched_from() {
        let packages = parse(LOCK).unwrap();
        let expected = [
            package("member", "0.1.0", None, None),
            package("serde", "1.0.229", Some("registry"), Some("0123abcd")),
            package("patched", "2.0.0-rc.1", Some("git+https://git.example/a/b.git#0f1e2d"), None),
        ];
        assert_eq!(packages, expected);
        let written = serde_json::to_string(&packages).unwrap();
        assert!(!written.contains("hunter2"), "{written}");
        assert!(!written.contains("registry.example"), "{written}");
    }

    #[test]
    fn every_kind_of_registry_is_only_called_registry() {
        assert_eq!(shorten("registry+https://private.example/i"), "registry");
        assert_eq!(shorten("sparse+https://private.example/i/"), "registry");
        assert_eq!(shorten("local-registry+file:///home/user/i"), "registry");
    }

    #[test]
    fn a_git_url_loses_every_part_that_can_hold_a_credential() {
        let cases = [
            ("git+ssh://git@h.example/a.git#12ab", "git+ssh://h.example/a.git#12ab"),
            ("git+https://token@h.example:8443/a", "git+https://h.example:8443/a"),
            ("git+https://h.example?private_token=t#12ab", "git+https://h.example#12ab"),
            ("git+https://h.example/a?rev=x/y#token", "git+https://h.example/a"),
            ("git+file:///srv/a.git#12ab", "git+file:///srv/a.git#12ab"),
        ];
        for (source, expected) in cases {
            assert_eq!(shorten(source), expected, "{source}");
        }
    }

    #[test]
    fn a_git_url_whose_credentials_cannot_be_told_apart_is_dropped() {
        for source in [
            "git+user:hunter2@h.example:a.git",
            "git+https://user:hun/ter2@h.example/a",
            "git+https://user:hun?ter2@h.example/a",
            "git+https://user:hun#ter2@h.example/a",
        ] {
            assert_eq!(shorten(source), "git", "{source}");
        }
    }

    #[test]
    fn the_nearest_lock_file_that_lists_the_package_is_taken() {
        let scratch = tempdir().unwrap();
        let outer = write(&scratch, "Cargo.lock", LOCK);
        let other = "version = 4\n[[package]]\nname = \"other\"\nversion = \"1.0.0\"\n";
        let inner = write(&scratch, "a/b/Cargo.lock", other);
        let start = scratch.path().join("a/b/c/d");
        assert_eq!(nearest_lockfile(&start, "other").unwrap().0, inner);
        let (path, packages) = nearest_lockfile(&start, "member").unwrap();
        assert_eq!(path, outer);
        assert_eq!(packages.len(), 3);
        assert_eq!(nearest_lockfile(&start, "burn-environment-no-such-package"), None);
    }

    #[test]
    fn what_is_not_a_lock_file_is_skipped() {
        let scratch = tempdir().unwrap();
        let outer = write(&scratch, "Cargo.lock", LOCK);
        write(&scratch, "a/Cargo.lock", "not [toml");
        write(&scratch, "a/b/Cargo.lock/a-directory", "");
        let start = scratch.path().join("a/b");
        assert_eq!(nearest_lockfile(&start, "member").unwrap().0, outer);
    }

    #[test]
    fn a_lock_file_over_the_limit_is_not_read() {
        let scratch = tempdir().unwrap();
        let path = write(&scratch, "Cargo.lock", LOCK);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(MAX_LOCKFILE_BYTES).unwrap();
        assert_eq!(read(&path).unwrap().len() as u64, MAX_LOCKFILE_BYTES);
        file.set_len(MAX_LOCKFILE_BYTES + 1).unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
