//! Training: with callbacks, on several devices, in several processes, under Slurm, and with loops that are
//! burn's or a user's, with loaders of any length, and with settings or data that cannot be trained with.

mod burns_settings;
mod burns_strategies;
mod callbacks;
mod combined;
mod devices;
mod failed_starts;
mod finders;
mod limits;
mod loader_lengths;
mod mean_loss;
mod measuring;
mod processes;
mod slurm;
mod users_loggers;
mod users_loop;
mod users_parts;
mod validation;
mod warm_start;
