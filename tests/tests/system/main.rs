//! The promises, each in a file of its own, kept through the public API and the command line.

mod command_line;
mod container;
mod directory;
mod exceptions;
mod failed_saves;
mod mid_epoch;
mod names;
mod once;
mod recovery;
mod resume;
mod retention;
mod run_directory;
mod snapshot;
mod topk;
