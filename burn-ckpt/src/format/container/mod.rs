//! Reading a container that may be hostile, or change while it is read. Everything is read from one open
//! file, and each count and length is compared with a limit before memory is allocated for it.
//!
//! ```text
//! open_file (one handle, from opening on) -> read_header, descriptors (CBOR, within limits) -> stored_tensor (its place is checked)
//! ```

pub(crate) mod bounded_json;
pub(crate) mod bounded_metadata;
pub(crate) mod descriptors;
pub(crate) mod foreign_format;
pub(crate) mod json_file;
pub(crate) mod limits;
pub(crate) mod open_file;
pub(crate) mod placeholder;
pub(crate) mod read_errors;
pub(crate) mod read_header;
pub(crate) mod stored_tensor;
pub(crate) mod zeroed;
