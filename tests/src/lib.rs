//! What the system tests share.
//!
//! | folder or file | has |
//! |---|---|
//! | `models/` | models to train and load; the steps, metrics and data of the small one can be made to fail |
//! | `programs/` | the project's programs as processes: started, observed, sent signals, told to wait or to fail |
//! | `run_files/` | what a run left in its directory, and whether two runs left the same |
//! | `servers/` | servers of this machine's devices |
//! | `object_stores/` | stores of objects that fail, and a real server of S3's interface |
//! | `storage_faults/` | storage that fails at one operation, and what a loss of power can leave |
//! | `fuzz/` | files changed by chance, and what each reader makes of them |
//! | `soak/` | a run that is killed again and again, and whose files are damaged meanwhile |
//! | `git_repository.rs` | a repository of a test's own |
//! | `backend.rs`, `bytes_read.rs`, `cpu_time.rs`, `peak_memory.rs`, `hand_made_files.rs`, `saves_by_hand.rs`, `random.rs` | the device of the tests, bytes that are read, time that is computed, memory that is taken, files of any content, saves without a training, random numbers |

pub mod backend;
pub mod bytes_read;
pub mod cpu_time;
pub mod forged_checkpoint;
pub mod fuzz;
pub mod git_repository;
pub mod hand_made_files;
pub mod models;
#[cfg(feature = "mirror")]
pub mod object_stores;
pub mod peak_memory;
pub mod programs;
pub mod random;
pub mod run_files;
pub mod saves_by_hand;
#[cfg(feature = "remote")]
pub mod servers;
pub mod soak;
pub mod storage_faults;

pub use models::small::{
    STEPS_PER_EPOCH, config, train, train_and_keep_all, train_scored, train_scripted, train_with,
};
