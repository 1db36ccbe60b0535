//! How fast the machine copies, writes and hashes as many bytes as the state has.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use burn_ckpt::plumbing::blake3_hex;
use sha2::{Digest, Sha256};

use crate::checkpoint::measurement::{Measurement, seconds};
use crate::checkpoint::task::Task;
use crate::program::Result;

/// Bytes that are written at a time.
pub const CHUNK: usize = 8 << 20;

/// A copy into pages that were not used before.
pub const COPY_FRESH: &str = "memcpy, fresh pages";
/// A copy into pages that were used before.
pub const COPY_WARM: &str = "memcpy, warm pages";
/// Written one after the other, and synced.
pub const WRITE: &str = "write + fsync";
/// Of bytes in memory, on one thread.
pub const SHA256: &str = "SHA-256";
/// Of bytes in memory, on one thread.
pub const BLAKE3: &str = "BLAKE3";

/// Measures each of them several times.
///
/// # Errors
///
/// When writing fails.
pub fn measure(task: &Task) -> Result<Measurement> {
    let size = usize::try_from(task.case.state_bytes())?;
    let bytes = noise(size);
    let mut measured = Measurement { bytes: Some(size as u64), ..Measurement::default() };
    let mut note =
        |name: &str, seconds: f64| measured.times.entry(name.to_owned()).or_default().push(seconds);
    for _ in 0..task.repetitions().min(3) {
        let (fresh, mut copy) = seconds(|| bytes.clone());
        note(COPY_FRESH, fresh);
        note(COPY_WARM, seconds(|| copy.copy_from_slice(&bytes)).0);
        drop(std::hint::black_box(copy));
        let path = task.dir.join("bytes");
        let (wrote, written) = seconds(|| write(&path, bytes.chunks(CHUNK)));
        written?;
        note(WRITE, wrote);
        std::fs::remove_file(&path)?;
        note(SHA256, seconds(|| std::hint::black_box(Sha256::digest(&bytes))).0);
        note(BLAKE3, seconds(|| std::hint::black_box(blake3_hex(&bytes))).0);
    }
    Ok(measured)
}

/// Writes a file with plain `write` calls, and syncs it.
///
/// # Errors
///
/// When writing fails.
pub fn write<'a>(path: &Path, chunks: impl Iterator<Item = &'a [u8]>) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    for chunk in chunks {
        file.write_all(chunk)?;
    }
    file.sync_all()
}

/// Bytes that do not compress.
#[must_use]
pub fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for word in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
    bytes
}
