//! Printing: standard output and standard error, tables that fit a terminal, and how numbers are written.

pub mod confirm;
pub mod figures;
mod fit;
pub mod output;
pub mod printable;
pub mod screen;
pub mod table;
pub mod warnings;
