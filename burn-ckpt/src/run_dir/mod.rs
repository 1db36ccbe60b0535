//! What is where in a run's directory.

pub(crate) mod catalog;
pub(crate) mod cleanup;
pub(crate) mod filename_template;
pub(crate) mod layout;
pub(crate) mod locate;
