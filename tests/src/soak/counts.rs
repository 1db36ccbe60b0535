//! What the chaos has done to runs.

use std::fmt;

/// What was done to runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Runs that ended as the undisturbed one.
    pub runs: u64,
    /// Starts that were disturbed.
    pub rounds: u64,
    /// By SIGKILL.
    pub kills: u64,
    /// By SIGTERM.
    pub terms: u64,
    /// Checkpoints with another bit, or cut off.
    pub corruptions: u64,
    /// Metadata files that were removed.
    pub removed_metadata: u64,
    /// Links that were removed.
    pub removed_links: u64,
    /// Staging files that were left.
    pub staging_files: u64,
    /// Starts on a disk that takes no checkpoint, or is full from one of its operations on.
    pub full_disks: u64,
    /// Those of them in which it is full from an operation on, in the middle of a save or of anything else.
    pub full_midway: u64,
    /// Runs whose states are in several files.
    pub in_several_files: u64,
    /// Runs whose best checkpoints are outside of their directory.
    pub outside: u64,
    /// Starts from a checkpoint.
    pub resumes: u64,
    /// Runs without a best checkpoint that the chaos has damaged, compared but for the best ones.
    pub without_a_best: u64,
    /// The most memory that a program had.
    pub largest_rss_kib: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.rounds += other.rounds;
        self.kills += other.kills;
        self.terms += other.terms;
        self.corruptions += other.corruptions;
        self.removed_metadata += other.removed_metadata;
        self.removed_links += other.removed_links;
        self.staging_files += other.staging_files;
        self.full_disks += other.full_disks;
        self.full_midway += other.full_midway;
        self.in_several_files += other.in_several_files;
        self.outside += other.outside;
        self.resumes += other.resumes;
        self.without_a_best += other.without_a_best;
        self.largest_rss_kib = self.largest_rss_kib.max(other.largest_rss_kib);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds, {} SIGKILL, {} SIGTERM, {} corruptions, {} metadata files and {} links removed, {} staging files left, \
             {} full disks ({} from a moment on), {} resumes, lost 0, largest RSS {} KiB",
            self.rounds,
            self.kills,
            self.terms,
            self.corruptions,
            self.removed_metadata,
            self.removed_links,
            self.staging_files,
            self.full_disks,
            self.full_midway,
            self.resumes,
            self.largest_rss_kib
        )
    }
}
