//! What the machine can do with as many bytes as the state has: copy them, write them, hash them.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use burn_ckpt::plumbing::blake3_of_tensor;
use sha2::{Digest, Sha256};

use crate::program::Result;

use super::child::Task;
use super::measured::{Measured, seconds};

/// Bytes that are written at a time.
pub const CHUNK: usize = 8 << 20;

/// A copy into pages that are fresh.
pub const COPY_FRESH: &str = "memcpy, fresh pages";
/// A copy into pages that were used before.
pub const COPY_WARM: &str = "memcpy, warm pages";
/// Written one after the other, and synced.
pub const WRITE: &str = "write + fsync";
/// Of bytes in memory, on one thread.
pub const SHA256: &str = "SHA-256";
/// Of bytes in memory, on one thread.
pub const BLAKE3: &str = "BLAKE3";

/// All of them, each several times.
///
/// # Errors
///
/// When the disk refuses.
pub fn measure(task: &Task) -> Result<Measured> {
    let size = usize::try_from(task.case.state_bytes())?;
    let bytes = noise(size);
    let mut told = Measured { bytes: Some(size as u64), ..Measured::default() };
    let mut note = |name: &str, seconds: f64| told.times.entry(name.to_owned()).or_default().push(seconds);
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
        note(BLAKE3, seconds(|| std::hint::black_box(blake3_of_tensor(&bytes))).0);
    }
    Ok(told)
}

/// Writes a file as plainly as can be, and syncs it.
///
/// # Errors
///
/// What the disk refuses.
pub fn write<'a>(path: &Path, chunks: impl Iterator<Item = &'a [u8]>) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    for chunk in chunks {
        file.write_all(chunk)?;
    }
    file.sync_all()
}

/// Bytes that nothing can make smaller.
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
