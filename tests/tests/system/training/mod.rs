//! Training: on several devices, in several processes, under Slurm, and with loops that are burn's or a user's.

mod burns_strategies;
mod devices;
mod processes;
mod slurm;
mod users_loop;
