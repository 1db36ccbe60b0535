//! The programs of the workspace: the examples, their flags, the benchmark, and the documents that show them.

pub(crate) mod bench;
mod char_lm;
mod command_line;
mod documents;
mod minimal;
mod native_inference;
