//! A section as the burnpack buffer that burn's records are made from.

use burn::tensor::Bytes;

use crate::error::{Error, Result};
use crate::format::section::{Section, burnpack_writer};
use crate::load::prefetch::{Failure, Wanted, read_ahead};

impl Section {
    /// The section as a burnpack buffer, from which burn's records are made. Tensors in a file are read ahead on a few
    /// threads; the buffer is the only copy of them.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] when a tensor cannot be read.
    pub fn into_burnpack(self) -> Result<Bytes> {
        let Self { tensors, scalars, strings } = self;
        let names: Vec<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
        let wanted = tensors.into_iter().map(|tensor| Wanted { cost: tensor.byte_len(), tensor }).collect();
        let (buffer, unread) = read_ahead(wanted, |tensors| {
            let writer = burnpack_writer(tensors, &scalars, &strings);
            // burn-pack's own buffer is one of bytes, which burn copies for its alignment. A few zeros at the end of ours
            // are after the last tensor.
            let words = writer.size()?.div_ceil(size_of::<u128>());
            let mut buffer = Bytes::from_elems(vec![0_u128; words]);
            writer.write_into(&mut buffer)?;
            Ok(buffer)
        });
        if let Some(Failure { index, error }) = unread {
            return Err(Error::Snapshot(format!("the tensor {} cannot be read: {error}", names[index])));
        }
        buffer.map_err(|error: burn_pack::Error| Error::Snapshot(error.to_string()))
    }
}
