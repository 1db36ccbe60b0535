//! The page that a measuring program prints: its head, its tables, and how figures are written in them.

pub(crate) mod figure;
pub(crate) mod head;
pub mod table;
