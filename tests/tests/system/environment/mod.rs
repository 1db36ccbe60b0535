//! What the metadata says of the machine, the software and the repository.

mod finding_runs;
mod git_repositories;
mod gpus;
mod metadata;
mod secrets;
