//! Why a project cannot be written.

use std::io;
use std::path::PathBuf;

/// What is wrong with the request, or with the disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory has files that could be overwritten.
    #[error("{} is not empty: name a directory that does not exist, or an empty one", .directory.display())]
    NotEmpty {
        /// The directory that was given.
        directory: PathBuf,
    },
    /// A name that cargo, or the project itself, cannot use for the package.
    #[error("{name:?} cannot be the package's name: {reason}; give another one with --name")]
    Name {
        /// The name that was given, or the directory's.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or directory that cannot be read or written.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried: `read`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl Error {
    /// The error with its causes, each after a colon.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(source) = next {
            text = format!("{text}: {source}");
            next = source.source();
        }
        text
    }

    /// Whether another command line would do.
    pub fn is_wrong_usage(&self) -> bool {
        matches!(self, Self::NotEmpty { .. } | Self::Name { .. })
    }
}
