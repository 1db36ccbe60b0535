//! The two digests: SHA-256 of a whole file (as `sha256sum` prints it) and BLAKE3 of one tensor's bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn_pack::Tensor;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Begins every `checkpoint_checksum`, before the hexadecimal digits.
const SHA256_PREFIX: &str = "sha256:";
const CHUNK_BYTES: usize = 1024 * 1024;
/// How much of a tensor is in memory at a time.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// `sha256:` and the SHA-256 of a file in lower-case hexadecimal.
///
/// # Errors
///
/// [`Error::Io`] when the file cannot be read.
pub fn sha256_of_file(path: &Path) -> Result<String> {
    sha256_with(path, &|_| ())
}

/// BLAKE3 of a tensor's bytes in lower-case hexadecimal.
#[must_use]
pub fn blake3_of_tensor(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// [`sha256_of_file`] that reports how many bytes it has just hashed.
pub(crate) fn sha256_with(path: &Path, progress: &dyn Fn(u64)) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk).map_err(Error::io("read", path))? {
            0 => break,
            read => {
                hasher.update(&chunk[..read]);
                progress(read as u64);
            }
        }
    }
    Ok(checksum(hasher))
}

/// A finished SHA-256 in the form that the metadata has.
pub(crate) fn checksum(hasher: Sha256) -> String {
    let mut text = SHA256_PREFIX.to_owned();
    for byte in hasher.finalize() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// [`blake3_of_tensor`] of a tensor in a file, with one piece of it in memory at a time.
pub(crate) fn blake3_in_pieces(tensor: &Tensor, progress: &dyn Fn(u64)) -> Result<String, burn_pack::Error> {
    let unreadable = burn_pack::Error::IoError;
    // Reads nothing yet if the tensor is in a file; nor does a view of it.
    let bytes = tensor.to_bytes()?;
    let mut hasher = blake3::Hasher::new();
    for start in (0..bytes.len()).step_by(PIECE_BYTES) {
        let end = bytes.len().min(start + PIECE_BYTES);
        let piece = bytes.view(start, end).map_err(|error| unreadable(format!("{error:?}")))?;
        // A slice of a file-backed buffer would panic if the file was cut off in the meantime.
        let piece = piece.read(Default::default()).map_err(|error| unreadable(error.to_string()))?;
        hasher.update(piece);
        progress(piece.len() as u64);
    }
    Ok(hasher.finalize().to_hex().to_string())
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
        assert_eq!(blake3_of_tensor(b""), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    }
}
