//! Training: on several devices, in several processes, under Slurm, and with loops that are burn's or a user's, and with
//! loaders of any length.

mod burns_strategies;
mod devices;
mod loader_lengths;
mod processes;
mod slurm;
mod users_loop;
