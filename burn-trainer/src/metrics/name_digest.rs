//! A short digest of a metric's name, where names fall together: the same in every process, whatever other
//! metrics there are.

use burn_ckpt::plumbing::blake3_hex;

/// Enough for the few metrics whose names fall together.
const DIGITS: usize = 8;

/// Eight hexadecimal digits.
pub(super) fn digest(name: &str) -> String {
    let mut digits = blake3_hex(name.as_bytes());
    digits.truncate(DIGITS);
    digits
}
