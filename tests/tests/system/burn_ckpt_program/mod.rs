//! The program `burn-ckpt`, verb by verb.

mod command_line;
mod diff;
mod env;
mod export;
mod import;
mod import_hostile;
mod ls;
mod prune;
mod show;
mod verify;
