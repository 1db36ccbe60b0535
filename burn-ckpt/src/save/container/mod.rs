//! A state as files: planned first, then written in one pass.
//!
//! `plan_state` (one file, or shards and an index) -> `plan_file`, `encode_header` (the beginning of each) ->
//! `write_state` -> `stream_container` (one pass over the bytes of a file) -> `digest_queue` (what is
//! computed of them beside it).

mod digest_queue;
pub(crate) mod encode_header;
pub(crate) mod plan_file;
pub(crate) mod plan_state;
pub(crate) mod stream_container;
pub(crate) mod write_state;
