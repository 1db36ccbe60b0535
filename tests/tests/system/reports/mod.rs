//! The page about runs, in a real browser.

mod page;
mod size;
