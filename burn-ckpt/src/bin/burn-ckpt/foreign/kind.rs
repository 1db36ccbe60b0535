//! Which format a file has, told by its first bytes; its name says nothing.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::answer::Failure;

/// The largest header that safetensors allows, in bytes.
pub const MAX_SAFETENSORS_HEADER: u64 = 100_000_000;
/// How much of a file is looked at: up to the magic number of a TAR archive.
const LOOKED_AT: u64 = 512;
/// Where a TAR archive has its magic number.
const TAR_MAGIC_AT: usize = 257;

/// A format that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Safetensors,
    /// What `torch.save` writes: a ZIP archive, or one of the older forms.
    PyTorch,
}

impl Kind {
    /// Looks at a file's first bytes.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is something else; the message says what it looks like.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        let fail = |error: std::io::Error| Failure::Other(format!("cannot read {}: {error}", path.display()));
        // Asked before opening it, which would wait for ever at a pipe.
        let facts = std::fs::metadata(path).map_err(fail)?;
        let no_file = |what: &str| Err(Failure::Other(format!("{} is {what}", path.display())));
        if facts.is_dir() {
            return no_file("a directory; name a .safetensors, .pt or .pth file in it");
        }
        if !facts.is_file() {
            return no_file("no regular file");
        }
        let mut first = Vec::new();
        File::open(path).and_then(|file| file.take(LOOKED_AT).read_to_end(&mut first)).map_err(fail)?;
        let known = Self::from_first(&first);
        known.map_err(|what| Failure::Other(format!("{} cannot be imported: {what}", path.display())))
    }

    fn from_first(first: &[u8]) -> Result<Self, String> {
        let wanted = "a safetensors file or one that torch.save wrote is wanted";
        if first.is_empty() {
            return Err(format!("it is empty; {wanted}"));
        }
        if first.starts_with(b"NRUB") {
            return Err("it is a checkpoint or another burnpack file already".to_owned());
        }
        if is_safetensors(first) {
            return Ok(Self::Safetensors);
        }
        let zip = first.starts_with(b"PK\x03\x04") || first.starts_with(b"PK\x05\x06");
        let tar = first.get(TAR_MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar"));
        // Protocol 2 and later of Python's pickle, in which torch.save writes.
        let pickle = first[0] == 0x80 && first.get(1).is_some_and(|protocol| (2..=5).contains(protocol));
        if zip || tar || pickle {
            return Ok(Self::PyTorch);
        }
        Err(format!("it begins with {}; {wanted}", described(first)))
    }
}

/// The length of the header, and the brace that opens it.
fn is_safetensors(first: &[u8]) -> bool {
    let length = first.first_chunk().map(|length| u64::from_le_bytes(*length));
    length.is_some_and(|length| length <= MAX_SAFETENSORS_HEADER) && first.get(8) == Some(&b'{')
}

/// The first bytes of a file in hexadecimal, and what of them is text.
fn described(first: &[u8]) -> String {
    let few = &first[..first.len().min(8)];
    let digits: Vec<String> = few.iter().map(|byte| format!("{byte:02x}")).collect();
    let text: String =
        few.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }).collect();
    format!("the bytes {} ({text:?})", digits.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        let header = [&16u64.to_le_bytes()[..], br#"{"a": 1}"#].concat();
        assert_eq!(Kind::from_first(&header), Ok(Kind::Safetensors));
        // The length of this header is the first byte of a pickle.
        let header = [&0x0280u64.to_le_bytes()[..], br#"{"a": 1}"#].concat();
        assert_eq!(Kind::from_first(&header), Ok(Kind::Safetensors));
        assert_eq!(Kind::from_first(b"PK\x03\x04...."), Ok(Kind::PyTorch));
        assert_eq!(Kind::from_first(b"\x80\x02\x8a\x0a"), Ok(Kind::PyTorch));
        let error = Kind::from_first(b"GIF89a").unwrap_err();
        assert!(error.contains("47 49 46 38 39 61") && error.contains("GIF89a"), "{error}");
        assert!(Kind::from_first(b"NRUB\x01\0").unwrap_err().contains("checkpoint"));
        assert!(Kind::from_first(b"").unwrap_err().contains("empty"));
    }
}
