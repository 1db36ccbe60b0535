//! One container that is planned: its beginning, its size, and what follows. Nothing is read or written.

use std::collections::BTreeMap;
use std::path::Path;

use burn_pack::{Scalar, Tensor};

use crate::error::pack_error::PackError;
use crate::error::{Error, Result};
use crate::format::metadata::embedded::Ending;
use crate::format::section::burnpack_writer;
use crate::save::container::encode_header::encode_header;

/// A container that is to be written.
pub(crate) struct PlannedFile {
    /// All bytes before the first tensor's.
    pub(crate) header: Vec<u8>,
    /// The size of the whole file.
    pub(crate) size: u64,
    /// The state's tensors in it, in their order.
    pub(crate) tensors: Vec<Tensor>,
    /// What is behind them. A shard has none.
    pub(crate) ending: Option<Ending>,
}

impl PlannedFile {
    /// Plans a container. `path` is for an error's text.
    ///
    /// # Errors
    ///
    /// [`Error::Container`] for two tensors of one name, and for a length that does not follow from a
    /// tensor's shape.
    pub(crate) fn new(
        path: &Path,
        tensors: Vec<Tensor>,
        scalars: &BTreeMap<String, Scalar>,
        strings: &BTreeMap<String, String>,
        ending: Option<Ending>,
    ) -> Result<Self> {
        let invalid = |error| Error::Container {
            path: path.to_path_buf(),
            reason: "its header cannot be written".to_owned(),
            source: Some(PackError::boxed(error)),
        };
        let mut all = tensors.clone();
        all.extend(ending.iter().flat_map(Ending::entries));
        // burn-pack's writer checks that names differ and that lengths follow from the shapes. It reads no
        // tensor for that.
        let checked = burnpack_writer(all.clone(), scalars, strings).size().map_err(invalid)? as u64;
        let (header, size) = encode_header(&all, scalars, strings).map_err(invalid)?;
        if size != checked {
            let reason = format!("burn-pack plans {checked} bytes, and its header {size}");
            return Err(Error::Container { path: path.to_path_buf(), reason, source: None });
        }
        Ok(Self { header, size, tensors, ending })
    }
}
