//! The program `burn-ckpt` on many runs, and on terminals of any size.

mod configurations;
mod long_lists;
mod runs;
mod statuses;
mod terminals;
