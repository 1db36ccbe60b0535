//! The digests of a file that is sent or received, computed on the way.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::format::digest::checksum;

/// The digests of a file, computed while it is sent or received.
#[derive(Default)]
pub(crate) struct Digests {
    sha256: Sha256,
    blake3: blake3::Hasher,
}

impl Digests {
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.sha256.update(piece);
        self.blake3.update(piece);
    }

    /// Compares the SHA-256 of what came so far with the one that it should be.
    pub(crate) fn check(&self, path: &Path, expected: &str) -> Result<()> {
        let found = checksum(self.sha256.clone());
        match found == expected {
            true => Ok(()),
            false => Err(Error::checksum(path, expected.to_owned(), found)),
        }
    }

    pub(crate) fn blake3(&self) -> String {
        self.blake3.finalize().to_hex().to_string()
    }
}
