//! The `git` part: branch, commit, and what differs from it, as the `git` program reports them.
//!
//! The program is asked, and the repository is not read, because only the program knows worktrees, packed
//! references and the user's own settings. A repository is untrusted input, though. So git may not ask for a
//! password, take a lock, use a network, or start a program that a repository, its attributes or its settings
//! name. No remote is read:
//!
//! | what could start a program | what is done |
//! | --- | --- |
//! | a file monitor | switched off |
//! | external diffs, conversions to text | switched off |
//! | filters that a file's content passes through (git-lfs has one) | configured ones are made to fail, see `Repository::filters` |
//! | hooks | no command that is used here runs any |
//! | a fetch of objects that a partial clone lacks | no protocol is allowed |

mod description;
mod repository;
#[cfg(test)]
mod tests;

pub use description::Git;
pub(crate) use description::read;
