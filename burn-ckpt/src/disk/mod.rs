//! The only place with operations on files: the storage seam, and on it staging, committing, linking,
//! locking.

pub(crate) mod commit;
pub(crate) mod directories;
pub(crate) mod file_identity;
pub(crate) mod links;
pub(crate) mod preallocate;
pub(crate) mod run_lock;
pub(crate) mod staged_file;
pub(crate) mod staged_shards;
pub mod storage;
