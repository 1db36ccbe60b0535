//! The limits within which a file is read. FORMAT.md has them in its section "Limits".

/// The largest header that is read, in bytes: burn-pack's limit, too.
pub(crate) const MAX_HEADER_BYTES: u32 = burn_pack::MAX_METADATA_SIZE;
/// The most tensors in a file, and in a section, which is read as one: burn-pack's limit, too.
pub(crate) const MAX_TENSORS: usize = burn_pack::MAX_TENSOR_COUNT;
/// The most tensors in all files of a checkpoint. A mixture of experts with 60 layers and Adam's state has
/// 138,240.
pub(crate) const MAX_STATE_TENSORS: usize = 150_000;
/// The most files beside the index. All are open at a time, and 1,024 are a usual limit of a process.
pub(crate) const MAX_SHARDS: usize = 512;
/// The longest name of a tensor, a scalar or a string, in bytes.
pub(crate) const MAX_ENTRY_NAME_BYTES: usize = 4096;
/// The most dimensions of a tensor. burn's tensors have fewer.
pub(crate) const MAX_RANK: usize = 32;
/// The most scalars in a file. burn's optimizers have up to three for a parameter.
pub(crate) const MAX_SCALARS: usize = 200_000;
/// The most strings in a file. An optimizer has one for each parameter.
pub(crate) const MAX_STRINGS: usize = 200_000;
/// How deep the header's CBOR may be nested.
pub(crate) const MAX_HEADER_DEPTH: usize = 32;

/// The longest JSON of the hyperparameters, or of the trainer's state, in bytes.
pub(crate) const MAX_JSON_BYTES: u64 = 16 * 1024 * 1024;
/// The most values in one JSON that is kept as it is (hyperparameters, a configuration). Each takes about 200
/// bytes of memory.
pub const MAX_JSON_VALUES: usize = 120_000;
/// The most values in a metadata file beside those of its tensors: hyperparameters, configuration,
/// environment, metrics and starts together.
pub(crate) const MAX_FREE_JSON_VALUES: usize = 140_000;
/// The bytes of all these.
pub(crate) const MAX_FREE_JSON_BYTES: usize = 20 * 1024 * 1024;
/// The most values in a metadata file. 150,000 tensors with four dimensions have 1,800,000.
pub(crate) const MAX_METADATA_VALUES: usize = 2_000_000;
/// The most values in the types of a section's modules, two each: those of two modules around each tensor.
pub(crate) const MAX_MODULES: usize = 400_000;
/// How deep JSON may be nested.
pub(crate) const MAX_JSON_DEPTH: usize = 100;
