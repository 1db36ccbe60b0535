//! The program `burn-ckpt` on many runs, and on terminals of any size.

mod configurations;
mod copies;
mod curves;
mod in_one_process;
mod long_lists;
mod plots;
mod removals;
mod removals_and_others;
mod runs;
mod statuses;
mod tags;
mod terminals;
