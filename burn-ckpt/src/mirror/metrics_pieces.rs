//! The log of a run's metrics in a mirror: pieces, each an object that is written once.
//!
//! A piece's name has its term, its number within the term, and the bytes of the log that it has. The log is
//! what comes out if the pieces are taken in the order of their names, and each one first cuts the log at its
//! beginning. So a run that resumed from an earlier checkpoint, and cut its log there, adds pieces and
//! changes none; and a checkpoint that names its last piece always has the same log.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use sha2::{Digest, Sha256};

use crate::disk::storage::StoredFile;
use crate::error::{Error, Result};
use crate::format::digest::checksum;
use crate::mirror::commit_object::MirroredLog;
use crate::mirror::object_names::METRICS_DIR;
use crate::mirror::store::Listed;

/// The most bytes of a piece: it is in memory at once.
const MAX_PIECE_BYTES: u64 = 8 * 1024 * 1024;
/// A piece with fewer bytes is small.
const SMALL_PIECE_BYTES: u64 = MAX_PIECE_BYTES / 2;
/// From how many small pieces at the end of the log on they are written again, as few large ones.
const MAX_SMALL_PIECES: usize = 32;
const SUFFIX: &str = ".jsonl";
/// How many hexadecimal digits of a piece's BLAKE3 are in its name.
const DIGITS: usize = 16;

/// A piece of the log, as its name says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Piece {
    pub(crate) term: u64,
    pub(crate) number: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    digest: String,
}

/// A part of the log, and the piece that has it from its beginning on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) piece: Piece,
    /// Where the part ends: before the piece does if a later piece has cut it.
    pub(crate) end: u64,
}

/// What of the log is in the mirror.
#[derive(Debug, Default)]
pub(crate) struct SentLog {
    parts: Vec<Part>,
    /// How much of the log on disk was compared with the parts, or sent. `None`: nothing was compared yet.
    agreed: Option<u64>,
    /// Of the log on disk up to a length.
    hashed: (Sha256, u64),
    last_number: u64,
}

impl Piece {
    pub(crate) fn key(&self, run_id: &str) -> String {
        let Self { term, number, start, end, digest } = self;
        format!("{run_id}/{METRICS_DIR}/{term:08}-{number:08}-{start}-{end}-{digest}{SUFFIX}")
    }

    fn parse(run_id: &str, object: &Listed) -> Option<Self> {
        let name = object.key.strip_prefix(run_id)?.strip_prefix('/')?.strip_prefix(METRICS_DIR)?;
        let mut parts = name.strip_prefix('/')?.strip_suffix(SUFFIX)?.split('-');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (term, number, start, end) = (number()?, number()?, number()?, number()?);
        let digest = parts.next()?.to_owned();
        let is_whole =
            start < end && end - start == object.size && digest.len() == DIGITS && parts.next().is_none();
        is_whole.then_some(Self { term, number, start, end, digest })
    }
}

/// Whether an object is a piece of the log.
pub(crate) fn is_piece(run_id: &str, key: &str) -> bool {
    term_of_piece(run_id, key).is_some()
}

/// The term of a piece of the log.
pub(crate) fn term_of_piece(run_id: &str, key: &str) -> Option<u64> {
    let below = key.strip_prefix(run_id)?.strip_prefix('/')?.strip_prefix(METRICS_DIR)?.strip_prefix('/')?;
    below.split('-').next()?.parse().ok()
}

/// The parts that the log is made of, up to a piece.
pub(crate) fn parts_up_to<'a>(
    run_id: &str,
    objects: impl Iterator<Item = &'a Listed>,
    last: Option<(u64, u64)>,
) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for piece in sorted_pieces(run_id, objects) {
        if last.is_none_or(|last| (piece.term, piece.number) <= last) {
            add_if_it_joins(&mut parts, piece);
        }
    }
    parts
}

/// The keys of the pieces that the log is made of up to one of these pieces.
pub(crate) fn keys_up_to_each<'a>(
    run_id: &str,
    objects: impl Iterator<Item = &'a Listed>,
    lasts: &BTreeSet<(u64, u64)>,
) -> BTreeSet<String> {
    let (mut keys, mut parts) = (BTreeSet::new(), Vec::new());
    // Of how many parts, from the first on, the keys are known.
    let mut known = 0;
    let mut note = |parts: &[Part], known: &mut usize| {
        keys.extend(parts[*known..].iter().map(|part| part.piece.key(run_id)));
        *known = parts.len();
    };
    let mut lasts = lasts.iter().peekable();
    for piece in sorted_pieces(run_id, objects) {
        while lasts.next_if(|last| **last < (piece.term, piece.number)).is_some() {
            note(&parts, &mut known);
        }
        if add_if_it_joins(&mut parts, piece) {
            known = known.min(parts.len() - 1);
        }
    }
    if lasts.next().is_some() {
        note(&parts, &mut known);
    }
    keys
}

fn sorted_pieces<'a>(run_id: &str, objects: impl Iterator<Item = &'a Listed>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = objects.filter_map(|object| Piece::parse(run_id, object)).collect();
    pieces.sort();
    pieces
}

/// Adds a piece, unless it begins behind the end of the log: then it is of a writer that was overtaken.
fn add_if_it_joins(parts: &mut Vec<Part>, piece: Piece) -> bool {
    let joins = piece.start <= parts.last().map_or(0, |part| part.end);
    if joins {
        add_part(parts, piece);
    }
    joins
}

/// Cuts the log at a piece's beginning, and adds the piece.
fn add_part(parts: &mut Vec<Part>, piece: Piece) {
    // They begin one behind the other.
    while parts.pop_if(|part| part.piece.start >= piece.start).is_some() {}
    if let Some(last) = parts.last_mut() {
        last.end = last.end.min(piece.start);
    }
    parts.push(Part { end: piece.end, piece });
}

impl SentLog {
    pub(crate) fn of(parts: Vec<Part>) -> Self {
        Self { parts, ..Self::default() }
    }

    /// Up to where the log on disk is the one in the mirror.
    pub(crate) fn compare(&mut self, log: &StoredFile) -> Result<u64> {
        if let Some(agreed) = self.agreed {
            return Ok(agreed);
        }
        let mut agreed = 0;
        for Part { piece, end } in &self.parts {
            let bytes = read(log, piece.start, piece.end - piece.start)?;
            // Of a part that was cut there is no digest.
            if *end != piece.end
                || bytes.len() as u64 != piece.end - piece.start
                || digest(&bytes) != piece.digest
            {
                break;
            }
            agreed = *end;
        }
        self.agreed = Some(agreed);
        Ok(agreed)
    }

    /// Steps back to the beginning of the small pieces at the end of the log, if there are many and the log
    /// has grown. What is sent next has their bytes, and cuts the log before them: so a reader has the same
    /// log before and after each of the new pieces.
    pub(crate) fn join_small_pieces(&mut self, up_to: u64) {
        let is_small = |part: &&Part| part.piece.end - part.piece.start < SMALL_PIECE_BYTES;
        let small: Vec<&Part> = self.parts.iter().rev().take_while(is_small).collect();
        let [newest, .., oldest] = small.as_slice() else { return };
        // Only of a log that is the one on disk up to its end.
        if small.len() >= MAX_SMALL_PIECES && self.agreed == Some(newest.end) && up_to > newest.end {
            self.agreed = Some(oldest.piece.start);
        }
    }

    /// The keys of the pieces that the log is made of.
    pub(crate) fn keys(&self, run_id: &str) -> impl Iterator<Item = String> {
        self.parts.iter().map(|part| part.piece.key(run_id))
    }

    /// The next piece of the log, from where the mirror has it up to a length, with its bytes.
    pub(crate) fn next_piece(&mut self, log: &StoredFile, term: u64, up_to: u64) -> Result<(Piece, Vec<u8>)> {
        let start = self.agreed.unwrap_or_default();
        let bytes = read(log, start, MAX_PIECE_BYTES.min(up_to - start))?;
        if bytes.is_empty() {
            let end = std::io::Error::new(ErrorKind::UnexpectedEof, "it is shorter than its checkpoint says");
            return Err(Error::io("read", log.path())(end));
        }
        // Another number for each attempt: what became of the one before is not known.
        self.last_number += 1;
        let end = start + bytes.len() as u64;
        Ok((Piece { term, number: self.last_number, start, end, digest: digest(&bytes) }, bytes))
    }

    /// Adds a piece that is in the mirror.
    pub(crate) fn add(&mut self, piece: Piece) {
        add_part(&mut self.parts, piece.clone());
        self.agreed = Some(piece.end);
    }

    /// What a checkpoint says whose log has this length.
    pub(crate) fn up_to(&mut self, log: &StoredFile, bytes: u64) -> Result<MirroredLog> {
        let last = self.parts.iter().find(|part| part.end >= bytes).map(|part| &part.piece);
        let last_piece = last.map_or((0, 0), |piece| (piece.term, piece.number));
        Ok(MirroredLog { bytes, sha256: self.sha256_up_to(log, bytes)?, last_piece })
    }

    /// The SHA-256 of the log up to a length.
    fn sha256_up_to(&mut self, log: &StoredFile, bytes: u64) -> Result<String> {
        if self.hashed.1 > bytes {
            self.hashed = (Sha256::new(), 0);
        }
        while self.hashed.1 < bytes {
            let piece = read(log, self.hashed.1, MAX_PIECE_BYTES.min(bytes - self.hashed.1))?;
            if piece.is_empty() {
                let end = std::io::Error::new(ErrorKind::UnexpectedEof, "it was cut while it was read");
                return Err(Error::io("read", log.path())(end));
            }
            self.hashed.0.update(&piece);
            self.hashed.1 += piece.len() as u64;
        }
        Ok(checksum(self.hashed.0.clone()))
    }
}

/// Bytes of a log: fewer where it ends before.
pub(crate) fn read(log: &StoredFile, start: u64, length: u64) -> Result<Vec<u8>> {
    log.read_range(start, length as usize).map_err(Error::io("read", log.path()))
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces of a log that grows, and is cut where a run resumes from an earlier state: one each five.
    fn pieces(count: u64) -> Vec<Listed> {
        let mut end = 0;
        let pieces = (1..=count).map(|number| {
            let start = if number % 5 == 0 { end / 2 } else { end };
            end = start + 10 + number % 3;
            let piece = Piece { term: number / 7, number, start, end, digest: "0".repeat(DIGITS) };
            let modified = jiff::Timestamp::UNIX_EPOCH;
            Listed { key: piece.key("r1"), size: end - start, modified }
        });
        // One that does not join.
        let behind =
            Piece { term: 3, number: 0, start: 1 << 40, end: (1 << 40) + 1, digest: "0".repeat(DIGITS) };
        let modified = jiff::Timestamp::UNIX_EPOCH;
        pieces.chain([Listed { key: behind.key("r1"), size: 1, modified }]).collect()
    }

    #[test]
    fn the_pieces_of_several_logs_are_those_of_each() {
        let pieces = pieces(60);
        let all: Vec<(u64, u64)> = (0..=60).map(|number| (number / 7, number)).chain([(99, 0)]).collect();
        for step in 1..=all.len() {
            let lasts: BTreeSet<(u64, u64)> = all.iter().copied().step_by(step).collect();
            let each = lasts.iter().flat_map(|last| parts_up_to("r1", pieces.iter(), Some(*last)));
            let each: BTreeSet<String> = each.map(|part| part.piece.key("r1")).collect();
            assert_eq!(keys_up_to_each("r1", pieces.iter(), &lasts), each, "each {step}");
        }
        assert!(keys_up_to_each("r1", pieces.iter(), &BTreeSet::new()).is_empty());
    }
}
