//! The files of a listing that are not complete: which of them `prune --broken` removes, each with the links
//! that lead to it, and why the others stay.

use std::path::PathBuf;

use burn_ckpt::plumbing::{CHECKPOINT_SUFFIX, is_of_another_program, is_there};
use burn_ckpt::{Checkpoint, Error, ErrorKind};

use crate::ls::listing::{Listing, Row, is_without_metadata, reason, stem};
use crate::parallel_verify::{all_processors, identity, verify_all};
use crate::terminal::output::say;
use crate::terminal::printable::in_one_line;
use crate::verb_result::Failure;

/// Whether an error says that a file is not what was saved, and not that it cannot be read.
pub fn is_damage(error: &Error) -> bool {
    matches!(
        error,
        Error::Checksum { .. }
            | Error::Damaged { .. }
            | Error::NotACheckpoint { .. }
            | Error::Metadata { .. }
    )
}

/// Reads all files, and notes of each whether it has other bytes than were saved, which its size and metadata
/// do not show.
///
/// # Errors
///
/// When a file cannot be read: it is not known to be damaged.
pub fn find_damaged(listing: &mut Listing) -> Result<(), Failure> {
    let (mut places, mut paths) = (Vec::new(), Vec::new());
    for (place, row) in listing.rows.iter().enumerate().filter(|(_, row)| row.problem.is_none()) {
        places.push(place);
        paths.push(row.path.clone());
    }
    let mut places = places.into_iter();
    verify_all(&paths, all_processors(), |_, outcome| {
        let row = places.next().map(|place| &mut listing.rows[place]);
        match (row, outcome) {
            // One of a newer version is not known to be damaged. It stays, and the others are looked at.
            (Some(row), Err(error)) if is_damage(&error) || error.kind() == ErrorKind::NewerFormat => {
                row.problem = Some(error);
            }
            // A run that trains has deleted it.
            (Some(row), Err(_)) if !is_there(&row.path)? => {}
            (_, Err(error)) => return Err(error.into()),
            (_, Ok(_)) => {}
        }
        Ok(())
    })
}

/// A file that is not complete.
pub struct Broken<'a> {
    pub row: &'a Row,
    /// The links that lead to it, and are of no use without it. A file in the place of a link is one if it is
    /// another name of the same file; a copy can be whole, and is not.
    pub links: Vec<PathBuf>,
    pub why_kept: Option<WhyKept>,
}

/// Why a file that is not complete stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyKept {
    /// It cannot be read now, or by this version: it is not known to be damaged.
    Unreadable,
    /// It lacks its metadata alone, and a link leads to it.
    WithoutMetadata,
    /// As far as is known.
    OfAnotherProgram,
    /// Others than this run can use it.
    OutsideOfTheRun,
    /// A user has put it there, or it is in the place of a link.
    BesideTheLinks,
}

impl WhyKept {
    fn of(row: &Row, listing: &Listing) -> Option<Self> {
        let below = row.path.strip_prefix(&listing.directory).ok().map(|below| below.components().count());
        let problem = row.problem.as_ref();
        let lacks_metadata = problem.is_some_and(is_without_metadata);
        let is_newer =
            || Checkpoint::open(&row.path).is_err_and(|error| error.kind() == ErrorKind::NewerFormat);
        match below {
            _ if lacks_metadata && !row.links.is_empty() => Some(Self::WithoutMetadata),
            _ if !lacks_metadata && !problem.is_some_and(is_damage) => Some(Self::Unreadable),
            // Also one without a file beside it: it can have its metadata itself.
            _ if is_newer() => Some(Self::Unreadable),
            // One that cannot be read is not known to be the run's.
            _ if is_of_another_program(&row.path).unwrap_or(true) => Some(Self::OfAnotherProgram),
            None => Some(Self::OutsideOfTheRun),
            Some(1) => Some(Self::BesideTheLinks),
            Some(_) => None,
        }
    }
}

impl<'a> Broken<'a> {
    /// All of a listing.
    pub fn of(listing: &'a Listing) -> Vec<Self> {
        let rows = listing.rows.iter().filter(|row| row.problem.is_some());
        rows.map(|row| {
            let links = row.links.iter().map(|name| format!("{name}{CHECKPOINT_SUFFIX}"));
            let links = links.map(|name| listing.directory.join(name));
            let links = links.filter(|link| identity(link) == identity(&row.path)).collect();
            Self { row, links, why_kept: WhyKept::of(row, listing) }
        })
        .collect()
    }

    /// What is wrong with it.
    pub fn problem(&self) -> String {
        self.row.problem.as_ref().map(reason).unwrap_or_default()
    }

    /// Says what is wrong with it, which links lead to it, and what becomes of both, or what to do.
    pub fn say(&self, listing: &Listing, are_removed: bool) {
        let (problem, links) = (self.problem(), self.link_names());
        let leads = match links.as_slice() {
            [] => String::new(),
            [link] => format!("; the link {link} leads to it"),
            links => format!("; the links {} lead to it", links.join(", ")),
        };
        let all = ["it", "both", "all"][links.len().min(2)];
        let text = match self.why_kept {
            Some(WhyKept::Unreadable) => format!("cannot be read, kept: {problem}{leads}"),
            Some(WhyKept::WithoutMetadata) => format!(
                "not whole, kept, as a link leads to it: {problem}{leads}; remove {all} by hand, if it is of no use"
            ),
            Some(WhyKept::OfAnotherProgram) => {
                format!("not known to be a checkpoint, kept: {problem}{leads}")
            }
            Some(WhyKept::OutsideOfTheRun) => format!(
                "not whole, kept, as it is outside of the run's directory: {problem}{leads}; remove {all} by hand"
            ),
            Some(WhyKept::BesideTheLinks) => {
                format!("not whole, kept, as it is beside the links: {problem}{leads}; remove {all} by hand")
            }
            None if are_removed => format!("not whole: {problem}{leads}"),
            None => format!("not whole, kept: {problem}{leads}; --broken removes {all}"),
        };
        say(format!("{}: {}", in_one_line(&listing.shown(&self.row.path)), in_one_line(&text)));
    }

    fn link_names(&self) -> Vec<String> {
        self.links.iter().map(|link| stem(link)).collect()
    }
}
