//! burn-pack's errors as a user reads them.
//!
//! burn-pack writes for the programmer who calls it: "use .overwrite(true)", "potential DoS attack". Here the
//! facts remain, and the advice does not.

use std::fmt;

/// Words of burn-pack, and ours for them. The first is at the end of each exceeded limit.
const WORDS: [(&str, &str); 11] = [
    (" (potential DoS attack)", ""),
    ("exceeds maximum allowed size of", "is more than the allowed"),
    ("exceeding maximum of", "more than the allowed"),
    ("exceeds platform maximum", "is more than this machine can address"),
    ("has corrupted offset data", "has an invalid place"),
    ("has corrupted shape data", "has an invalid shape"),
    ("File truncated: expected at least", "the file is cut off: it should have at least"),
    (", got ", ", and has "),
    ("could not be viewed", "cannot be read"),
    ("is out of bounds", "is not in the file"),
    ("buffer is", "the file has"),
];

/// An error of burn-pack, printed without advice to its caller.
#[derive(Debug)]
pub struct PackError(pub burn_pack::Error);

impl PackError {
    pub(crate) fn boxed(error: burn_pack::Error) -> Box<dyn std::error::Error + Send + Sync> {
        Box::new(Self(error))
    }

    /// Whether a file or a device could not be read or written. burn-pack has only the text of the cause.
    pub(crate) fn is_io(&self) -> bool {
        matches!(self.0, burn_pack::Error::IoError(_))
    }
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use burn_pack::Error;
        match &self.0 {
            Error::InvalidHeader => f.write_str("its header is cut off"),
            Error::InvalidMagicNumber => f.write_str("it does not begin like a burnpack file"),
            Error::InvalidVersion => f.write_str("its burnpack version is unsupported"),
            Error::MetadataSerializationError(text) => write!(f, "its header cannot be written: {text}"),
            // Its text is the CBOR parser's own form, for programmers.
            Error::MetadataDeserializationError(_) => f.write_str("its header cannot be parsed"),
            Error::TensorNotFound(name) => write!(f, "the tensor {name} is missing"),
            Error::AlreadyExists(path) => write!(f, "{path} exists"),
            Error::IoError(text) => f.write_str(text),
            Error::TensorBytesSizeMismatch(text) | Error::ValidationError(text) => {
                f.write_str(&in_our_words(text))
            }
        }
    }
}

impl std::error::Error for PackError {}

fn in_our_words(text: &str) -> String {
    let replace = |text: String, (theirs, ours): &(&str, &str)| text.replace(theirs, ours);
    let text = WORDS.iter().fold(text.to_owned(), replace);
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_lowercase);
    first.chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use burn_pack::{Bytes, DType, Error, Tensor, Writer};

    use super::*;

    #[test]
    fn advice_to_burn_packs_caller_is_left_out() {
        let directory = std::env::temp_dir().join(format!("burn-ckpt-pack-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("a.bpk");
        std::fs::write(&path, "").unwrap();
        let tensor = Tensor::new("w".to_owned(), DType::U8, vec![1], None, Bytes::from_bytes_vec(vec![1]));
        let exists = Writer::new(vec![tensor]).overwrite(false).write_to_file(&path).unwrap_err();
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(exists.to_string().contains(".overwrite(true)"), "burn-pack's text has changed: {exists}");
        assert_eq!(PackError(exists).to_string(), format!("{} exists", path.display()));
    }

    #[test]
    fn limits_are_stated_without_alarm() {
        let header = [b"NRUB".as_slice(), &1u16.to_le_bytes(), &u32::MAX.to_le_bytes(), &[0; 16]].concat();
        let error = burn_pack::Reader::from_bytes(Bytes::from_bytes_vec(header)).map(drop).unwrap_err();
        assert!(error.to_string().contains("DoS"), "burn-pack's text has changed: {error}");
        let text = PackError(error).to_string();
        assert!(text.starts_with("metadata size 4294967295 is more than the allowed "), "{text}");
        assert!(!text.contains("DoS"), "{text}");
    }

    /// Those that burn-pack 0.22.1 has.
    #[test]
    fn what_burn_pack_says_of_a_file_is_said_in_our_words() {
        for (theirs, ours) in [
            (
                "File truncated: expected at least 300 bytes, got 20 bytes",
                "the file is cut off: it should have at least 300 bytes, and has 20 bytes",
            ),
            (
                "File contains 9 tensors, exceeding maximum of 8 (potential DoS attack)",
                "file contains 9 tensors, more than the allowed 8",
            ),
            (
                "Tensor 'w' has corrupted offset data: end 1 < start 2",
                "tensor 'w' has an invalid place: end 1 < start 2",
            ),
            (
                "Tensor data range 1..9 is out of bounds (buffer is 4 bytes)",
                "tensor data range 1..9 is not in the file (the file has 4 bytes)",
            ),
            ("Tensor 'w' data range 1..9 could not be viewed", "tensor 'w' data range 1..9 cannot be read"),
        ] {
            assert_eq!(PackError(Error::ValidationError(theirs.to_owned())).to_string(), ours);
        }
    }

    #[test]
    fn a_text_of_ours_is_not_prefixed() {
        assert_eq!(PackError(Error::IoError("it is lost".to_owned())).to_string(), "it is lost");
    }
}
