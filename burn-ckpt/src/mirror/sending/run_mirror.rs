//! The writer of a run's mirror: it holds the lease, and knows what is there.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::mirror_failure::WrongMirror;
use crate::error::{Error, Result};
use crate::mirror::commit_object::{MirroredCheckpoint, newest_finite};
use crate::mirror::lease::Lease;
use crate::mirror::metrics_pieces::{SentLog, parts_up_to, term_of_piece};
use crate::mirror::object_names::{below_checkpoints, term_of_content};
use crate::mirror::reading::mirrored_run::MirroredRun;
use crate::mirror::store::{Listed, Store};
use crate::mirror::writer::Writer;
use crate::run_dir::layout::check_run_id;

/// The mirror of a run, for its only writer. It holds the run's lease: see [`RunMirror::keep_lease`].
///
/// See the [module's example](crate::mirror).
#[derive(Debug)]
pub struct RunMirror {
    pub(super) store: Store,
    pub(super) run_id: String,
    pub(super) lease: Lease,
    /// The objects that were there when the lease was taken, and those written since.
    pub(super) objects: BTreeMap<String, Listed>,
    /// The complete checkpoints.
    pub(super) checkpoints: Vec<MirroredCheckpoint>,
    /// Those whose commit object is there, and not all of their objects: what is left of them stays.
    pub(super) incomplete: Vec<MirroredCheckpoint>,
    /// Those whose removal has begun.
    pub(super) being_removed: Vec<MirroredCheckpoint>,
    /// The names of commit objects that cannot be read.
    pub(super) unreadable: BTreeSet<String>,
    /// What this writer has sent and deleted, by the names of the objects.
    pub(super) own: BTreeMap<String, OwnObject>,
    pub(super) log: SentLog,
    /// Link -> checkpoint.
    pub(super) links: BTreeMap<String, String>,
}

/// What the writer of a mirror has done with an object.
#[derive(Debug)]
pub(super) enum OwnObject {
    /// It has begun to send content of this digest, which may be there.
    Begun(String),
    /// The content of this digest is there.
    Sent(String),
    /// It is gone, or is being deleted. Its name is not used again.
    Retired,
}

impl OwnObject {
    /// Whether it has, or is to have, the content of this digest.
    pub(super) fn has(&self, digest: &str) -> bool {
        match self {
            Self::Begun(own) | Self::Sent(own) => own == digest,
            Self::Retired => false,
        }
    }
}

impl RunMirror {
    /// Takes the lease of a run, and looks at what is there.
    ///
    /// # Errors
    ///
    /// [`Error::MirrorInUse`](crate::Error::MirrorInUse) when another writer holds the lease;
    /// [`Error::NewerFormat`](crate::Error::NewerFormat) when a checkpoint is there that this version cannot
    /// read, and so could not rank; [`Error::WrongMirror`] when what is there is of a run of another id;
    /// [`Error::Mirror`](crate::Error::Mirror) when the store cannot be read or
    /// written.
    pub fn open(store: &Store, run_id: &str, writer: &Writer) -> Result<Self> {
        Ok(Self::open_and_read(store, run_id, writer)?.0)
    }

    /// The same, with the run as a reader has it: for a writer that downloads too, before it sends.
    ///
    /// # Errors
    ///
    /// As for [`RunMirror::open`].
    #[doc(hidden)]
    pub fn open_and_read(store: &Store, run_id: &str, writer: &Writer) -> Result<(Self, MirroredRun)> {
        let least_term = || Ok(greatest_term(&MirroredRun::open(store, run_id)?).map_or(1, |term| term + 1));
        check_run_id(run_id)?;
        let mut lease = Lease::acquire(store, run_id, writer, &least_term)?;
        // After the lease was taken: no other process writes from now on. A run of many checkpoints can take
        // longer than the lease.
        let (run, links) = match read_mirror(store, run_id, &mut || lease.keep()) {
            Ok(there) => there,
            Err(error) => return Err(lease.release_after(error)),
        };
        let unreadable = run.unreadable().map(str::to_owned).collect();
        let objects = run.objects.clone();
        // Those that lack an object are sent again, if they are on disk.
        let lacks = |there: &MirroredCheckpoint| run.without_metadata().any(|name| name == there.name);
        let (lacking, checkpoints): (Vec<_>, Vec<_>) = run.checkpoints().iter().cloned().partition(lacks);
        let incomplete = run.incomplete().iter().cloned().chain(lacking).collect();
        let (own, log) = (BTreeMap::new(), SentLog::of(parts_up_to(run_id, run.objects.values(), None)));
        let (store, run_id) = (store.clone(), run_id.to_owned());
        let mirror = Self {
            store,
            run_id,
            lease,
            objects,
            checkpoints,
            incomplete,
            being_removed: Vec::new(),
            unreadable,
            own,
            log,
            links,
        };
        Ok((mirror, run))
    }

    /// The run's id.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The complete checkpoints that are there, in the order in which their states were saved.
    #[must_use]
    pub fn checkpoints(&self) -> &[MirroredCheckpoint] {
        &self.checkpoints
    }

    /// The newest of them without values that are NaN or infinite.
    #[must_use]
    pub fn newest_finite(&self) -> Option<&MirroredCheckpoint> {
        newest_finite(&self.checkpoints)
    }

    /// Renews the lease if a third of its time is over. A writer that waits calls this more often than that.
    ///
    /// # Errors
    ///
    /// [`Error::MirrorInUse`](crate::Error::MirrorInUse) when another writer has taken it over: then nothing
    /// more can be sent.
    pub fn keep_lease(&mut self) -> Result<()> {
        self.lease.keep()
    }

    /// Gives the lease back, so that the next writer need not wait until its time is over.
    ///
    /// # Errors
    ///
    /// As for [`RunMirror::keep_lease`].
    pub fn close(self) -> Result<()> {
        self.lease.release()
    }

    /// Notes that an object is gone. Its name is not used again.
    pub(super) fn retire(&mut self, key: &str) {
        self.objects.remove(key);
        self.own.insert(key.to_owned(), OwnObject::Retired);
    }
}

/// What is there for a writer: the run, and the targets of its links. `reads` is called after each request.
fn read_mirror(
    store: &Store,
    run_id: &str,
    reads: &mut dyn FnMut() -> Result<()>,
) -> Result<(MirroredRun, BTreeMap<String, String>)> {
    let run = MirroredRun::open_while(store, run_id, reads)?;
    if let Some(error) = run.newer_format() {
        return Err(error);
    }
    if let Some(other) = run.renamed_from() {
        let (address, run_id) = (store.address().to_string(), run_id.to_owned());
        return Err(Error::WrongMirror(WrongMirror::Renamed { address, run_id, other: other.to_owned() }));
    }
    let mut links = BTreeMap::new();
    for name in run.links() {
        if let Some(target) = run.link_target(name)? {
            links.insert(name.to_owned(), target);
        }
        reads()?;
    }
    Ok((run, links))
}

/// The greatest term of which something is there.
fn greatest_term(run: &MirroredRun) -> Option<u64> {
    let committed = run.checkpoints().iter().chain(run.incomplete()).map(|checkpoint| checkpoint.term);
    let objects = run.objects.keys().filter_map(|key| {
        term_of_piece(run.run_id(), key)
            .or_else(|| below_checkpoints(run.run_id(), key).map(|_| term_of_content(key)))
    });
    committed.chain(objects).max()
}
