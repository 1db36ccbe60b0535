//! What is in a `.ckpt` file and in the metadata beside it.

pub(crate) mod contents;
pub(crate) mod deferred_tensor;
pub(crate) mod digest;
pub(crate) mod header;
pub(crate) mod metadata;
pub(crate) mod module_types;
pub(crate) mod section;
