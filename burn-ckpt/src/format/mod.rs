//! What is in a `.ckpt` file, in its shards, and in the metadata beside it. Writes no file; `header`,
//! `shards` and `metadata` read them.

pub(crate) mod collect_module;
pub(crate) mod container;
pub(crate) mod contents;
pub(crate) mod deferred_tensor;
pub(crate) mod digest;
pub(crate) mod header;
pub(crate) mod limits;
pub(crate) mod metadata;
pub(crate) mod module_types;
pub mod numbers;
pub(crate) mod run_start;
pub(crate) mod section;
pub(crate) mod shards;
