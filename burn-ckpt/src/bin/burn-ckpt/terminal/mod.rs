//! What the verbs print with: the two outputs, tables, and how numbers are written.

pub mod figures;
pub mod output;
pub mod table;
