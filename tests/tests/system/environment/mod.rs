//! What the metadata says of the machine, the software and the repository.

mod found_again;
mod git_repositories;
mod gpus;
mod metadata;
mod secrets;
