//! Storage that fails: at any single file operation, by an error, a part of a write, a lost answer, the end
//! of the process, or a loss of power.
//!
//! | file | has |
//! |---|---|
//! | `failing_operation.rs` | an observer that notes the operations and lets one of them fail |
//! | `errors.rs` | the numbers of errors |
//! | `failing_calls.rs`, `.c` | the C library's file operations, of which some fail, for programs as they are built |
//! | `record.rs` | an observer that keeps what every operation did |
//! | `without_links.rs` | an observer that refuses links |
//! | `after_power_loss.rs` | which states of the disk a loss of power can leave, from a record |

mod after_power_loss;
pub mod errors;
mod failing_calls;
mod failing_operation;
mod record;
mod without_links;

pub use after_power_loss::{CrashState, crash_states, crash_states_from};
pub use failing_calls::{FailingCall, FailingCalls, SHORT_WRITE};
pub use failing_operation::{FailingOperation, Fault, Place, all_faults_at, faults_at, without_random_part};
pub use record::{Recorder, Step};
pub use without_links::WithoutLinks;
