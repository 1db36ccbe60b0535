//! The program `burn-ckpt`, verb by verb.

mod average;
mod command_line;
mod describe;
mod diff;
mod env;
mod export;
mod import;
mod json_keys;
mod ls;
mod prune;
mod prune_newer;
mod show;
mod verify;
