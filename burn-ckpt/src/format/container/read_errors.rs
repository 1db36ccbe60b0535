//! The typed errors of reads whose caller passes on only text.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::Error;

/// The errors of tensors that were read, by the names that they have in their section. burn-pack passes on
/// only an error's text; this keeps the typed error.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadErrors(Arc<Mutex<BTreeMap<String, Error>>>);

impl ReadErrors {
    pub(crate) fn insert(&self, tensor: &str, error: Error) {
        self.0.lock().insert(tensor.to_owned(), error);
    }

    /// The error of a tensor that was read, or of another one if the tensor has another name by now.
    pub(crate) fn take(&self, tensor: &str) -> Option<Error> {
        let mut errors = self.0.lock();
        errors.remove(tensor).or_else(|| errors.pop_first().map(|(_, error)| error))
    }
}
