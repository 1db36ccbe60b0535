//! The address of a mirror: which store, which bucket, and below which prefix.
//!
//! An address is shown in messages and files. So one that could hold a credential (`user:password@`, a query
//! with a signature) is an error, and that error does not repeat it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::file_names::CHECKPOINT_SUFFIX;
use crate::run_dir::layout::CHECKPOINT_DIR;

/// The most bytes of an address.
const MAX_ADDRESS_BYTES: usize = 1024;
/// The beginnings that an address can have.
const SCHEMES: [(&str, StoreKind); 5] = [
    ("s3://", StoreKind::S3),
    ("gs://", StoreKind::GoogleCloud),
    ("az://", StoreKind::Azure),
    ("file://", StoreKind::Directory),
    ("memory:", StoreKind::Memory),
];
const EXAMPLES: &str = "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///directory";

/// The kind of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreKind {
    S3,
    GoogleCloud,
    Azure,
    Directory,
    /// In this process: for tests.
    Memory,
}

/// Where checkpoints are mirrored: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or
/// `file:///directory`.
///
/// ```
/// use burn_ckpt::mirror::MirrorAddress;
///
/// let address: MirrorAddress = "s3://models/team-a/".parse()?;
/// assert_eq!(address.to_string(), "s3://models/team-a");
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
///
/// Credentials are never in it: they come from the environment. See
/// [`Store::connect`](super::Store::connect).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MirrorAddress {
    text: String,
}

impl MirrorAddress {
    /// Whether a text begins as an address does. It can be invalid nevertheless.
    #[must_use]
    pub fn is_address(text: &str) -> bool {
        SCHEMES.iter().any(|(start, _)| text.starts_with(start))
    }

    pub(crate) fn kind(&self) -> StoreKind {
        self.parts().0
    }

    /// The bucket or container; of a directory nothing.
    pub(crate) fn bucket(&self) -> &str {
        match self.parts() {
            (StoreKind::Directory | StoreKind::Memory, _) => "",
            (_, rest) => rest.split('/').next().unwrap_or_default(),
        }
    }

    /// What is before each object's name in the bucket. Of a directory nothing: it is the store's root.
    pub(crate) fn prefix(&self) -> &str {
        match self.parts() {
            (StoreKind::Directory, _) => "",
            (StoreKind::Memory, rest) => rest.trim_start_matches('/'),
            (_, rest) => rest.split_once('/').map_or("", |(_, prefix)| prefix),
        }
    }

    /// The directory of a `file://` address.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        match self.parts() {
            (StoreKind::Directory, path) => Some(PathBuf::from(path)),
            _ => None,
        }
    }

    /// Parts of an address to an object: `s3://bucket/prefix/run/best` is the run's `best` of the mirror
    /// `s3://bucket/prefix`.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] when there is nothing below the bucket.
    pub fn split_last(&self) -> Result<(Self, String)> {
        let start = self.text.len() - self.parts().1.len();
        let is_directory = self.bucket().is_empty();
        let is_root = |rest: &str| rest.is_empty() && is_directory;
        match self.text[start..].rsplit_once('/') {
            Some((rest, last)) if !last.is_empty() && !is_root(rest) => {
                Ok((Self { text: format!("{}{rest}", &self.text[..start]) }, last.to_owned()))
            }
            _ => Err(invalid(&self.text, "it names a whole store: name a run in it".to_owned())),
        }
    }

    /// The run of the address of a checkpoint, and the checkpoint's name in it: `s3://bucket/run/best` and
    /// `s3://bucket/run/checkpoint/best/a.ckpt` are those of the run `s3://bucket/run`. A mirror can have a
    /// part of that name too: `s3://bucket/checkpoint/run/best`.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] when there is nothing below the bucket.
    pub fn split_checkpoint(&self) -> Result<(Self, String)> {
        if let Some((run, name)) = self.text.rsplit_once(&format!("/{CHECKPOINT_DIR}/"))
            && (!name.contains('/') || name.ends_with(CHECKPOINT_SUFFIX))
            && let Ok(run) = run.parse::<Self>()
            && run.split_last().is_ok()
        {
            return Ok((run, name.to_owned()));
        }
        self.split_last()
    }

    /// The address of something below this one, for messages.
    pub(crate) fn join(&self, name: &str) -> String {
        format!("{}/{name}", self.text)
    }

    fn parts(&self) -> (StoreKind, &str) {
        let found = SCHEMES.iter().find_map(|(start, kind)| Some((*kind, self.text.strip_prefix(start)?)));
        found.unwrap_or((StoreKind::Memory, ""))
    }
}

impl FromStr for MirrorAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((start, kind)) = SCHEMES.iter().find(|(start, _)| text.starts_with(start)) else {
            // What stands there could be anything, a password too: nothing of it is repeated.
            return Err(invalid("", format!("it does not begin as an address does: {EXAMPLES}")));
        };
        let rest = text[start.len()..].trim_end_matches('/');
        let authority =
            if *kind == StoreKind::Directory { "" } else { rest.split('/').next().unwrap_or_default() };
        if authority.contains('@')
            || rest.contains('?')
            || (*kind != StoreKind::Directory && rest.contains('#'))
        {
            let reason = "it has a part that could be a credential (before @, or after ? or #), so it is not shown: set \
                          credentials in the environment, and name only the bucket and the prefix";
            return Err(invalid(start, reason.to_owned()));
        }
        let reason = if text.len() > MAX_ADDRESS_BYTES {
            format!("it has {} bytes, and {MAX_ADDRESS_BYTES} are allowed", text.len())
        } else if rest.ends_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
            "it ends with white space".to_owned()
        } else if text.chars().any(char::is_control) || rest.contains('\\') {
            "it has a control character or a backslash".to_owned()
        } else if *kind == StoreKind::Directory && !rest.starts_with('/') {
            "a directory is given by its absolute path: file:///directory".to_owned()
        } else if !matches!(kind, StoreKind::Directory | StoreKind::Memory) && authority.is_empty() {
            format!("it names no bucket: {EXAMPLES}")
        } else if rest.split('/').skip(1).any(|part| part.is_empty() || part == "." || part == "..") {
            "a part of it between two / is empty, . or ..".to_owned()
        } else {
            return Ok(Self { text: format!("{start}{rest}") });
        };
        Err(invalid(start, reason))
    }
}

impl fmt::Display for MirrorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn invalid(shown: &str, reason: String) -> Error {
    Error::Name { what: "the mirror's address", name: format!("{shown}.."), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_store_a_bucket_and_a_prefix() {
        for (text, bucket, prefix, shown) in [
            ("s3://b/p/q/", "b", "p/q", "s3://b/p/q"),
            ("gs://b", "b", "", "gs://b"),
            ("az://c/p", "c", "p", "az://c/p"),
            ("file:///mnt/disk", "", "", "file:///mnt/disk"),
            ("memory:", "", "", "memory:"),
        ] {
            let address: MirrorAddress = text.parse().unwrap();
            assert_eq!((address.bucket(), address.prefix()), (bucket, prefix), "{text}");
            assert_eq!(address.to_string(), shown);
        }
        let address: MirrorAddress = "file:///mnt/disk".parse().unwrap();
        assert_eq!(address.directory(), Some(PathBuf::from("/mnt/disk")));
    }

    #[test]
    fn the_last_part_of_an_address_can_be_taken_off() {
        let split = |text: &str| {
            let (rest, last) = text.parse::<MirrorAddress>().unwrap().split_last().unwrap();
            (rest.to_string(), last)
        };
        assert_eq!(split("s3://b/p/run"), ("s3://b/p".to_owned(), "run".to_owned()));
        assert_eq!(split("s3://b/run"), ("s3://b".to_owned(), "run".to_owned()));
        assert_eq!(split("file:///mnt/run"), ("file:///mnt".to_owned(), "run".to_owned()));
        assert!("s3://b".parse::<MirrorAddress>().unwrap().split_last().is_err());
    }

    #[test]
    fn an_address_with_a_credential_is_not_repeated() {
        for text in [
            "s3://user:hunter2@b/p",
            "s3://hunter2@b",
            "az://c/p?sv=1&sig=hunter2",
            "gs://b/p#hunter2",
            "hunter2",
            "https://user:hunter2@host/b",
            "file:///d?hunter2",
        ] {
            let error = text.parse::<MirrorAddress>().unwrap_err();
            assert!(matches!(error, Error::Name { .. }), "{text}");
            let shown = format!("{error} {error:?} {}", crate::chain(&error));
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn an_invalid_address_says_why() {
        for (text, why) in [
            ("s3://", "no bucket"),
            ("s3:///p", "no bucket"),
            ("file://relative", "absolute path"),
            ("s3://b//p", "empty"),
            ("s3://b/../p", ".."),
            ("s3://b/p ", "white space"),
            ("file:///d /", "white space"),
            ("s3://b/a\nb", "control character"),
            (&format!("s3://b/{}", "x".repeat(2000)), "1024"),
        ] {
            let error = text.parse::<MirrorAddress>().unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_mirror_can_have_a_part_that_is_named_as_a_runs_directory_is() {
        let split = |text: &str| {
            let (run, name) = text.parse::<MirrorAddress>().unwrap().split_checkpoint().unwrap();
            (run.to_string(), name)
        };
        for (text, run, name) in [
            ("s3://b/m/r1/best", "s3://b/m/r1", "best"),
            ("s3://b/m/r1/checkpoint/last", "s3://b/m/r1", "last"),
            ("s3://b/m/r1/checkpoint/best/a.ckpt", "s3://b/m/r1", "best/a.ckpt"),
            ("s3://b/checkpoint/r1/best", "s3://b/checkpoint/r1", "best"),
            ("s3://b/checkpoint/r1/a.ckpt", "s3://b/checkpoint/r1", "a.ckpt"),
            ("s3://b/checkpoint/r1/checkpoint/best/a.ckpt", "s3://b/checkpoint/r1", "best/a.ckpt"),
            ("file:///d/checkpoint/m/r1/best", "file:///d/checkpoint/m/r1", "best"),
            (
                "gs://b/checkpoint/checkpoint/checkpoint/best/a.ckpt",
                "gs://b/checkpoint/checkpoint",
                "best/a.ckpt",
            ),
        ] {
            assert_eq!(split(text), (run.to_owned(), name.to_owned()), "{text}");
        }
    }
}
