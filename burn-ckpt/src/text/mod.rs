//! Text for people: sizes and times in words, names from files, and the names that a misspelt one may mean.

pub(crate) mod byte_size;
pub(crate) mod near_names;
pub(crate) mod printable;
pub(crate) mod time_span;
