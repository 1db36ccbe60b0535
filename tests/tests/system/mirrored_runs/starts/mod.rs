//! Starts of runs with a mirror: from which side they resume, and which mirrors a start does not write to.

mod damaged_disks;
mod damaged_mirrors;
mod empty_disks;
mod forks;
mod new_runs;
mod newer_formats;
mod newer_mirrors;

use super::{assert_same, in_mirror, lose_disk, memory_store, mirrored, unmirrored};
