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
/// [`Error::Io`] when the file cannot be read, [`Error::Checksum`] when it grows meanwhile.
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
    /// The file's size when it was opened.
    size: u64,
    /// How much of it is read.
    position: u64,
}

impl FileDigest {
    /// Opens the file, and reads nothing.
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        let file = StoredFile::open(path).map_err(Error::io("open", path))?;
        let size = file.stat().map_err(Error::io("read", path))?.len();
        Ok(Self { file, hasher: Sha256::new(), size, position: 0 })
    }

    /// Reads on, until the file's end or until `is_stopped`. Returns whether the end is reached. A file that
    /// has grown since it was opened is not one that was written whole: an end of it could never be reached.
    pub(crate) fn advance(&mut self, is_stopped: &dyn Fn() -> bool) -> Result<bool> {
        let Self { file, hasher, size, position } = self;
        hash_pieces(hasher, is_stopped, |piece| {
            let left = *size - *position;
            let wanted = usize::try_from(left.max(1)).map_or(piece.len(), |left| left.min(piece.len()));
            loop {
                match file.read(&mut piece[..wanted]) {
                    Ok(read) if read > 0 && left == 0 => {
                        let [expected, found] =
                            [*size, *size + read as u64].map(|size| format!("{size} bytes"));
                        return Err(Error::checksum(file.path(), expected, format!("{found} or more")));
                    }
                    Ok(read) => {
                        *position += read as u64;
                        return Ok(read);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(Error::io("read", file.path())(error)),
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
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::disk::storage::observer::{Observer, Operation, Verdict, observe};

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
    /// Another process that writes to a file as fast as it is read.
    struct Growing(std::path::PathBuf);

    impl Observer for Growing {
        fn before(&self, operation: &Operation<'_>) -> Verdict {
            if let Operation::Read(path, _) = operation {
                assert!(std::fs::metadata(path).unwrap().len() < 1000, "it is read on and on");
                let mut file = std::fs::File::options().append(true).open(&self.0).unwrap();
                file.write_all(b"more").unwrap();
            }
            Verdict::Proceed
        }
    }

    #[test]
    fn a_file_that_grows_while_it_is_read_is_an_error_at_the_size_that_it_had() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        let _observation = observe(directory.path(), Arc::new(Growing(path.clone())));
        let error = sha256_of_file(&path).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Damaged, "{error:?}");
        assert!(error.to_string().contains("3 bytes"), "{error}");
    }
}
