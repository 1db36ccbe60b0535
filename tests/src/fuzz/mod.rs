//! The fuzzer: changed files, made from a seed, for each reader of a file. Each ends in an error or is
//! accepted: no panic, abort or hang, and not more memory than the limits of FORMAT.md need.
//!
//! ```text
//! corpus (real files) -> mutate_bytes | mutate_structure -> a file -> worker (a process with limits) -> readers (what is called)
//! ```
//!
//! It has no feedback from coverage. What finds the deep code is that the structure is changed and digests
//! are computed again.

mod campaign;
mod corpus;
mod mutate_bytes;
mod mutate_structure;
mod outcome;
mod readers;
mod resuming;
mod serve;
mod target;
mod worker;
mod zip;

pub use self::campaign::{Campaign, Finding, Report, Share};
pub use self::serve::serve;
pub use self::target::Target;
