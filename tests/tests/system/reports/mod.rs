//! The page about runs, in a real browser.

mod axes;
mod left_out;
mod page;
mod size;
mod while_training;
