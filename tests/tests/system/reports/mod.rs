//! The page about runs, in a real browser.

mod axes;
mod left_out;
mod one_run;
mod page;
mod size;
mod tables;
mod while_training;
