//! The two digests: SHA-256 of a whole file (as `sha256sum` prints it) and BLAKE3 of one tensor's bytes.

use std::io::{ErrorKind, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::disk::storage::StoredFile;
use crate::error::{Error, Result};

/// Begins every `checkpoint_checksum`, before the hexadecimal digits.
pub(crate) const SHA256_PREFIX: &str = "sha256:";
/// How much of a file is in memory at a time.
const PIECE_BYTES: usize = 1024 * 1024;

/// `sha256:` and the SHA-256 of a file in lower-case hexadecimal.
///
/// # Errors
///
/// [`Error::Io`] when the file cannot be read.
pub fn sha256_of_file(path: &Path) -> Result<String> {
    let mut digest = FileDigest::begin(path)?;
    digest.advance(&|| false)?;
    Ok(digest.finish())
}

/// The SHA-256 of a file that can be computed in several goes.
#[derive(Debug)]
pub(crate) struct FileDigest {
    file: StoredFile,
    hasher: Sha256,
}

impl FileDigest {
    /// Opens the file, and reads nothing.
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        let file = StoredFile::open(path).map_err(Error::io("open", path))?;
        Ok(Self { file, hasher: Sha256::new() })
    }

    /// Reads on, until the file's end or until `is_stopped`. Returns whether the end is reached.
    pub(crate) fn advance(&mut self, is_stopped: &dyn Fn() -> bool) -> Result<bool> {
        let Self { file, hasher } = self;
        hash_pieces(hasher, is_stopped, |piece| {
            loop {
                match file.read(piece) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    read => return read.map_err(Error::io("read", file.path())),
                }
            }
        })
    }

    /// The digest of what was read, in the form that the metadata has.
    pub(crate) fn finish(self) -> String {
        checksum(self.hasher)
    }
}

/// `sha256:` and the SHA-256 of what `read` gives, piece by piece, until it gives nothing more.
pub(crate) fn sha256_of_pieces(read: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<String> {
    let mut hasher = Sha256::new();
    hash_pieces(&mut hasher, &|| false, read)?;
    Ok(checksum(hasher))
}

/// Hashes what `read` gives, piece by piece, until it gives nothing more or until `is_stopped`. Returns
/// whether the end is reached.
fn hash_pieces(
    hasher: &mut Sha256,
    is_stopped: &dyn Fn() -> bool,
    mut read: impl FnMut(&mut [u8]) -> Result<usize>,
) -> Result<bool> {
    let mut piece = vec![0; PIECE_BYTES];
    while !is_stopped() {
        match read(&mut piece)? {
            0 => return Ok(true),
            length => hasher.update(&piece[..length]),
        }
    }
    Ok(false)
}

/// BLAKE3 of bytes in lower-case hexadecimal, as the metadata has those of tensors.
#[must_use]
pub fn blake3_hex(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// A finished SHA-256 in the form that the metadata has.
pub(crate) fn checksum(hasher: Sha256) -> String {
    format!("{SHA256_PREFIX}{}", hex(&hasher.finalize()))
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_match_the_published_test_vectors() {
        // FIPS 180-4, example "abc"; BLAKE3's test vector for empty input.
        let path = std::env::temp_dir().join(format!("burn-ckpt-digest-{}", std::process::id()));
        std::fs::write(&path, "abc").unwrap();
        let digest = sha256_of_file(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            digest.unwrap(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(blake3_hex(b""), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    }
}
