//! Printing: standard output and standard error, tables, and how numbers are written.

pub mod figures;
pub mod output;
pub mod table;
pub mod warnings;
