//! A checkpoint of several files: one state, one commit, one name.

mod contents;
mod golden;
mod hostile;
mod leftovers;
mod program;
mod runs;
mod without_links;
