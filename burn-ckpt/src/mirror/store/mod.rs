//! A store of objects as the mirror uses it: blocking, with typed errors, and with nothing of it in a log.
//!
//! | file | has |
//! |---|---|
//! | `connect` | the client of a store, from an address and the environment |
//! | `variables` | the environment, checked |
//! | `connection` | requests about whole objects |
//! | `listing` | which objects there are |
//! | `directory_lock` | a conditional write in a directory, under a lock |
//! | `transfer` | large objects, in parts and by ranges |
//! | `ranged_file` | an object that is read by ranges, as a file is |
//! | `unfinished` | what killed uploads leave in a directory |
//! | `on_wait` | what is done meanwhile |
//! | `waiting` | how long an answer is waited for |
//! | `failure` | what a store's error says to a user |

mod connect;
mod connection;
mod directory_lock;
mod failure;
mod listing;
mod on_wait;
mod ranged_file;
mod transfer;
mod unfinished;
mod variables;
mod waiting;

pub use connection::Store;
pub(crate) use connection::Version;
pub(crate) use directory_lock::is_directory_lock;
pub(crate) use listing::Listed;
pub use on_wait::OnWait;
pub(crate) use ranged_file::RangedFile;
pub use transfer::Progress;
pub use variables::Variables;
