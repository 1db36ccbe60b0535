//! The limits of the machine and of its file systems: what cannot be written is said, nothing older is lost,
//! and the next start continues.

mod directories;
mod file_systems;
mod full_disk;
mod limits_of_a_process;
mod long_paths;
mod no_links;
