//! From a section to the burnpack buffer that burn's records are made from.

use burn::tensor::Bytes;

use crate::error::pack_error::PackError;
use crate::error::{Error, Result};
use crate::format::container::zeroed::zeroed;
use crate::format::section::{Section, burnpack_writer};
use crate::load::prefetch::{Failure, Wanted, read_ahead};
use crate::text::printable::shown;

impl Section {
    /// The section as a burnpack buffer, from which burn's records are made. Tensors in a file are read ahead
    /// on a few threads. The buffer is the only copy of them.
    ///
    /// # Errors
    ///
    /// [`Error::Section`] when a tensor cannot be read, or there is not enough memory for all of them.
    pub fn into_burnpack(self) -> Result<Bytes> {
        let failed = |reason, error| Error::Section { reason, source: Some(PackError::boxed(error)) };
        let Self { tensors, scalars, strings, read_errors } = self;
        let names: Vec<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
        let wanted = tensors.into_iter().map(|tensor| Wanted { cost: tensor.byte_len(), tensor }).collect();
        let (buffer, unread) = read_ahead(wanted, |tensors| {
            let writer = burnpack_writer(tensors, &scalars, &strings);
            // Aligned to 16 bytes, where burn-pack's own buffer is not aligned and burn would copy it. The
            // buffer may end in a few zeros after the last tensor.
            let words = writer.size()?.div_ceil(size_of::<u128>());
            let words =
                zeroed::<u128>(words).map_err(|error| burn_pack::Error::IoError(error.to_string()))?;
            let mut buffer = Bytes::from_elems(words);
            writer.write_into(&mut buffer)?;
            Ok(buffer)
        });
        if let Some(Failure { index, error }) = unread {
            let reason = format!("the tensor {} cannot be read", shown(&names[index]));
            return Err(match read_errors.take(&names[index]) {
                Some(source) => Error::Section { reason, source: Some(Box::new(source)) },
                None => failed(reason, error),
            });
        }
        buffer.map_err(|error| failed("it cannot be converted to a record".to_owned(), error))
    }
}

#[cfg(test)]
mod tests {
    use burn_pack::{DType, Tensor};

    use super::*;
    use crate::error::chain::chain;

    #[test]
    fn a_section_that_does_not_fit_into_memory_is_an_error() {
        let length = 1 << 50;
        let read = || Err(burn_pack::Error::IoError("it is read before there is room".to_owned()));
        let tensor = Tensor::deferred("w".to_owned(), DType::U8, vec![length], None, length, read);
        let error = Section::new().with_tensors(vec![tensor]).into_burnpack().unwrap_err();
        assert!(matches!(error, Error::Section { .. }) && error.kind() == crate::ErrorKind::Io, "{error:?}");
        assert!(chain(&error).contains("out of memory"), "{}", chain(&error));
    }
}
