//! From a section to the burnpack buffer that burn's records are made from.

use burn::tensor::Bytes;

use crate::error::pack_error::PackError;
use crate::error::{Error, Result};
use crate::format::section::{Section, burnpack_writer};
use crate::load::prefetch::{Failure, Wanted, read_ahead};
use crate::text::printable::shown;

impl Section {
    /// The section as a burnpack buffer, from which burn's records are made. Tensors in a file are read ahead
    /// on a few threads. The buffer is the only copy of them.
    ///
    /// # Errors
    ///
    /// [`Error::Section`] when a tensor cannot be read.
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
            let mut buffer = Bytes::from_elems(vec![0_u128; words]);
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
