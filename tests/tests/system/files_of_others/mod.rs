//! Files that are not the run's: users' files, other runs', and what is behind links. They stay as they are.

mod links_to_other_runs;
mod planted_files;
mod unfinished_files;
mod users_files;
