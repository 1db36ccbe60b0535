//! The page about runs, in a real browser.

mod axes;
mod curves;
mod diverged;
mod left_out;
mod marks;
mod one_run;
mod page;
mod resume_commands;
mod runs_and_pages;
mod size;
mod tables;
mod while_training;
