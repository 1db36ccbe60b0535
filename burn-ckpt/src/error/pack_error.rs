//! burn-pack's errors as a user reads them.
//!
//! burn-pack writes for the programmer who calls it: "use .overwrite(true)", "potential DoS attack". Here the facts remain,
//! and the advice does not.

use std::fmt;

/// burn-pack adds this to the text of every exceeded limit.
const ALARM: &str = " (potential DoS attack)";

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
            Error::MetadataDeserializationError(text) => write!(f, "its header cannot be parsed: {text}"),
            Error::TensorNotFound(name) => write!(f, "the tensor {name} is missing"),
            Error::AlreadyExists(path) => write!(f, "{path} exists"),
            Error::IoError(text) | Error::TensorBytesSizeMismatch(text) | Error::ValidationError(text) => {
                f.write_str(&text.replace(ALARM, ""))
            }
        }
    }
}

impl std::error::Error for PackError {}

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
        assert!(text.starts_with("Metadata size 4294967295 exceeds") && !text.contains("DoS"), "{text}");
    }

    #[test]
    fn a_text_of_ours_is_not_prefixed() {
        assert_eq!(PackError(Error::IoError("it is lost".to_owned())).to_string(), "it is lost");
    }
}
