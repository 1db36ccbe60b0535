//! What is known of a run: its status, its progress, and how much its checkpoints take.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{CHECKPOINT_DIR, LaterTags, is_directory, storage};
use burn_ckpt::{Checkpoint, Error, ErrorKind, RunLayout, chain};
use serde_json::Value;

use crate::ls::listing::{Listing, Row, reason};
use crate::ls::not_whole::NotWhole;
use crate::parallel_verify::identity;
use crate::runs::logged_progress::logged_progress;
use crate::runs::progress::Progress;
use crate::runs::run_directory::{is_run, leads_nowhere};
use crate::runs::status::{Status, StatusKind};
use crate::tag::run_tags::RunTags;
use crate::terminal::figures::count;

/// How often a run is listed again whose newest checkpoint was deleted meanwhile. A run deletes it after a
/// newer one is durable.
const LISTED_AGAIN: usize = 10;

/// A run, or what stands in its place.
pub struct RunSummary {
    /// Its directory's name.
    pub name: String,
    pub directory: PathBuf,
    pub status: Status,
    /// From its newest checkpoint, or from its log if none can be read; `None` without both.
    pub progress: Option<Progress>,
    /// The files with a checkpoint's name.
    pub checkpoints: usize,
    /// Those of them that are not whole.
    pub broken: usize,
    /// The bytes of its checkpoints, a file of two names once.
    pub bytes: u64,
    /// What of that makes the exit status of a list 1.
    pub not_whole: NotWhole,
    pub tags: RunTags,
    /// What cannot be read.
    pub unreadable: Vec<String>,
}

impl RunSummary {
    /// The summary of a directory. It never fails: what cannot be read is its status.
    pub fn of(directory: &Path) -> Self {
        let layout = RunLayout::at(directory);
        let checkpoints = directory.join(CHECKPOINT_DIR);
        let list = || {
            if leads_nowhere(directory)? {
                return Err(Error::io("follow the link", directory)(storage::not_found()));
            }
            is_run(directory).and_then(|is_run| match is_run && is_directory(&checkpoints)? {
                true => Ok((is_run, Some(Listing::of_run(&layout)?))),
                false => Ok((is_run, None)),
            })
        };
        let (mut found, mut state) = (list(), Ok(Value::Null));
        for again in 0..=LISTED_AGAIN {
            state = match &found {
                Ok((_, Some(listing))) => state_of_newest(&listing.rows),
                _ => Ok(Value::Null),
            };
            if again == LISTED_AGAIN
                || !state.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound)
            {
                break;
            }
            found = list();
        }
        let mut summary = Self {
            name: layout.run_id().to_owned(),
            directory: directory.to_path_buf(),
            status: Status::new(StatusKind::NotARun, ""),
            progress: None,
            checkpoints: 0,
            broken: 0,
            bytes: 0,
            not_whole: NotWhole::default(),
            tags: RunTags::default(),
            unreadable: Vec::new(),
        };
        match found {
            Ok((true, listing)) => summary.fill(listing, state),
            Ok((false, _)) => {}
            Err(error) => {
                summary.unreadable.push(chain(&error));
                summary.status = Status::new(StatusKind::Unreadable, chain(&error));
            }
        }
        summary
    }

    /// `state` is that of the training in the newest checkpoint.
    fn fill(&mut self, listing: Option<Listing>, state: Result<Value, Error>) {
        let (mut rows, mut unreadable, mut later) = (Vec::new(), Vec::new(), LaterTags::default());
        if let Some(listing) = listing {
            self.not_whole = NotWhole::of(&listing);
            // `.` has no name of its own.
            self.name = listing.name;
            (rows, unreadable, later) = (listing.rows, listing.unreadable, listing.tags);
        }
        self.unreadable = unreadable.iter().map(|error| chain(error)).collect();
        self.checkpoints = rows.len();
        self.broken = rows.iter().filter(|row| row.problem.is_some()).count();
        let mut files = HashSet::new();
        let once = rows.iter().filter(|row| files.insert(identity(&row.path)));
        self.bytes = once.map(|row| row.bytes).fold(0, u64::saturating_add);
        let newest = newest(&rows);
        let state = state.unwrap_or_else(|error| {
            self.unreadable.push(chain(&error));
            Value::Null
        });
        self.progress = newest.and_then(|newest| Progress::of(&rows, newest, &state));
        let metadata = newest.and_then(|newest| newest.metadata.as_ref());
        self.tags = RunTags::new(metadata.map_or(&Value::Null, |newest| &newest.trainer_config), &later);
        let reasons = rows.iter().rev().filter_map(|row| row.problem.as_ref().map(reason));
        let because = self.progress.as_ref().and_then(|progress| progress.ended_because.as_deref());
        let said = metadata.map(|metadata| (metadata, &state));
        self.status = Status::of(&self.directory, said, because, reasons.collect());
        self.progress = self.progress.take().or_else(|| logged_progress(&self.directory));
        if self.status.kind == StatusKind::NeverSaved && !self.unreadable.is_empty() {
            self.status = Status::new(StatusKind::Unreadable, self.unreadable.join("; "));
        }
        if newest.is_some_and(|row| row.metadata.as_ref().is_some_and(|metadata| !metadata.is_finite())) {
            self.status.add("its newest state is not finite");
        }
        if newest.is_some() && self.broken > 0 {
            let broken = format!("{} of {} not whole", self.broken, count(self.checkpoints, "checkpoint"));
            self.status.add(&broken);
        }
    }
}

fn newest(rows: &[Row]) -> Option<&Row> {
    rows.iter().rfind(|row| row.problem.is_none() && row.metadata.is_some())
}

/// The state of the training in the newest checkpoint. Null where there is none.
fn state_of_newest(rows: &[Row]) -> Result<Value, Error> {
    newest(rows).map_or(Ok(Value::Null), |row| Checkpoint::open(&row.path)?.trainer_state())
}
