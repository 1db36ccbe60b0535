//! What a run shows while it trains: lines or the dashboard, its speed, tables that fit the terminal.

pub(crate) mod display;
pub(crate) mod epochs_table;
pub(crate) mod figures;
pub(crate) mod progress_mode;
pub(crate) mod shown_speed;
mod shown_warnings;
pub(crate) mod table;
pub(crate) mod terminal_width;
