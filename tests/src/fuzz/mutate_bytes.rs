//! Changes of bytes.

use crate::random::SplitMix64;

/// The largest file that is made.
const MOST_BYTES: usize = 1 << 20;
/// Numbers at which something begins or ends.
const NUMBERS: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];
/// What stands in texts.
const TEXTS: [&str; 14] = [
    "\"",
    "{",
    "[",
    "]",
    "null",
    "-1",
    "1e999",
    "NaN",
    "18446744073709551616",
    "\\ud800",
    "\u{1b}[2J",
    "../",
    "{epoch:99999999}",
    "\u{0}",
];

/// Changes bytes in a few places. `other` is another file of the same kind.
pub(super) fn mutate_bytes(random: &mut SplitMix64, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(4) {
        once(random, bytes, other);
    }
    bytes.truncate(MOST_BYTES);
}

fn once(random: &mut SplitMix64, bytes: &mut Vec<u8>, other: &[u8]) {
    // Most of what can go wrong is in the beginning.
    let reach = if random.below(2) == 0 { bytes.len().min(600) } else { bytes.len() };
    let place = random.below(reach as u64) as usize;
    let end = (place + 1 + random.below(40) as usize).min(bytes.len());
    let number = NUMBERS[random.below(NUMBERS.len() as u64) as usize];
    match random.below(11) {
        _ if bytes.is_empty() => bytes.extend(number.to_le_bytes()),
        0 => bytes[place] ^= 1 << random.below(8),
        1 => bytes[place] = random.below(256) as u8,
        2 => overwrite(bytes, place, &number.to_le_bytes()[..1 << random.below(4)]),
        3 => overwrite(bytes, place, &number.to_be_bytes()[8 - (1 << random.below(4))..]),
        4 => drop(bytes.drain(place..end)),
        5 => {
            let piece = bytes[place..end].repeat(1 + random.below(50) as usize);
            drop(bytes.splice(place..place, piece));
        }
        6 => bytes.truncate(place),
        7 => {
            let from = random.below(other.len() as u64) as usize;
            let piece = other[from..(from + 64).min(other.len())].to_vec();
            drop(bytes.splice(place..end, piece));
        }
        8 => {
            let text = TEXTS[random.below(TEXTS.len() as u64) as usize];
            drop(bytes.splice(place..place, text.bytes()));
        }
        9 => digits(random, bytes, place),
        _ => {
            let deep = [b'[', b'{', b']', b'(', b'}'][random.below(5) as usize];
            drop(bytes.splice(place..place, std::iter::repeat_n(deep, 1 << random.below(17))));
        }
    }
}

fn overwrite(bytes: &mut [u8], place: usize, with: &[u8]) {
    let length = with.len().min(bytes.len() - place);
    bytes[place..place + length].copy_from_slice(&with[..length]);
}

/// Replaces the next digits by another number.
fn digits(random: &mut SplitMix64, bytes: &mut Vec<u8>, place: usize) {
    let Some(start) = bytes[place..].iter().position(u8::is_ascii_digit).map(|start| start + place) else {
        return;
    };
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = NUMBERS[random.below(NUMBERS.len() as u64) as usize].to_string();
    drop(bytes.splice(start..start + length, number.into_bytes()));
}
