//! The project's programs as processes, and Python's.

pub mod browser;
pub mod commands;
pub mod http_server;
pub mod in_tmux;
pub mod on_terminal;
pub mod printed_table;
pub mod python;
pub mod running;
pub mod stop_at_batch;
pub mod test_alone;
pub mod test_hooks;
