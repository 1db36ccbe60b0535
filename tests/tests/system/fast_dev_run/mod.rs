//! A trial with one batch of everything, which leaves nothing.

mod command_line;
mod runs;
