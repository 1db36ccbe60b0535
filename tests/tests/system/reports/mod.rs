//! The page about runs, in a real browser.

mod page;
mod size;
mod while_training;
