//! A file system without links (vfat, exFAT).

use std::io::ErrorKind;

use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict};

/// No symbolic links, and hard links where it says so. Linux answers with EPERM.
#[derive(Debug, Clone, Copy)]
pub struct WithoutLinks {
    /// Whether there are hard links.
    pub hard_links: bool,
}

impl Observer for WithoutLinks {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        match operation {
            Operation::Symlink { .. } => Verdict::Fail(ErrorKind::PermissionDenied.into()),
            Operation::HardLink { .. } if !self.hard_links => {
                Verdict::Fail(ErrorKind::PermissionDenied.into())
            }
            _ => Verdict::Proceed,
        }
    }
}
