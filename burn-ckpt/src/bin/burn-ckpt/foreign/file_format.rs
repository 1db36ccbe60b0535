//! Telling the format of a file by its first bytes. The file's name is not used.

use std::io::Read;
use std::path::Path;

use burn_ckpt::plumbing::ForeignFormat;
use burn_ckpt::plumbing::storage::{self, StoredFile};

use crate::verb_result::Failure;

/// How many bytes of a file are read to tell its format: up to the magic number of a TAR archive.
const FIRST_BYTES: u64 = 512;

/// A format that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    Safetensors,
    /// What `torch.save` writes: a ZIP archive, or one of the older forms.
    PyTorch,
    /// JSON that says in which files a model's tensors are.
    Index,
}

impl FileFormat {
    /// Tells the format from a file's first bytes.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or has another format. The message says what it seems to be.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        let fail = |error: std::io::Error| Failure::Other(format!("cannot read {}: {error}", path.display()));
        let not_a_file = |what: &str| Err(Failure::Other(format!("{} is {what}", path.display())));
        match storage::stat(path).map_err(fail)? {
            Some(stat) if stat.is_dir() => {
                return not_a_file("a directory; name a .safetensors, .pt, .pth or .index.json file in it");
            }
            Some(stat) if !stat.is_file() => return not_a_file("not a regular file"),
            // If there is nothing, opening it says so.
            _ => {}
        }
        let mut first = Vec::new();
        StoredFile::open(path)
            .and_then(|file| file.take(FIRST_BYTES).read_to_end(&mut first))
            .map_err(fail)?;
        let known = Self::from_first(&first);
        known.map_err(|what| Failure::Other(format!("{} cannot be imported: {what}", path.display())))
    }

    fn from_first(first: &[u8]) -> Result<Self, String> {
        let wanted = "expected a safetensors file, one that torch.save wrote, or the index of a model in several files";
        if first.is_empty() {
            return Err(format!("it is empty; {wanted}"));
        }
        if first.starts_with(b"NRUB") {
            return Err("it is a checkpoint or another burnpack file already".to_owned());
        }
        match ForeignFormat::of(first) {
            Some(ForeignFormat::Safetensors) => Ok(Self::Safetensors),
            Some(ForeignFormat::Zip | ForeignFormat::Tar | ForeignFormat::Pickle) => Ok(Self::PyTorch),
            None if first.trim_ascii_start().first() == Some(&b'{') => Ok(Self::Index),
            None => Err(format!("it begins with {}; {wanted}", first_bytes(first))),
        }
    }
}

/// The first bytes of a file in hexadecimal and as text.
fn first_bytes(first: &[u8]) -> String {
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
    fn the_first_bytes_decide_the_format() {
        let header = [&16u64.to_le_bytes()[..], br#"{"a": 1}"#].concat();
        assert_eq!(FileFormat::from_first(&header), Ok(FileFormat::Safetensors));
        // The length of this header is the first byte of a pickle.
        let header = [&0x0280u64.to_le_bytes()[..], br#"{"a": 1}"#].concat();
        assert_eq!(FileFormat::from_first(&header), Ok(FileFormat::Safetensors));
        assert_eq!(FileFormat::from_first(b"PK\x03\x04...."), Ok(FileFormat::PyTorch));
        assert_eq!(FileFormat::from_first(b"\x80\x02\x8a\x0a"), Ok(FileFormat::PyTorch));
        assert_eq!(FileFormat::from_first(b"\n{\"weight_map\": {}}"), Ok(FileFormat::Index));
        let error = FileFormat::from_first(b"GIF89a").unwrap_err();
        assert!(error.contains("47 49 46 38 39 61") && error.contains("GIF89a"), "{error}");
        assert!(FileFormat::from_first(b"NRUB\x01\0").unwrap_err().contains("checkpoint"));
        assert!(FileFormat::from_first(b"").unwrap_err().contains("empty"));
    }
}
