//! The mirror before the first step: its lease, what a start gets from it, and the thread that keeps the
//! lease and sends.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use burn_ckpt::mirror::{MirrorAddress, MirroredRun, Progress, RunMirror, Store, Writer};
use burn_ckpt::{Catalog, MirrorFailure, RunLayout, chain};
use jiff::{SignedDuration, Timestamp};

use super::download::{download_newer, newest_finite};
use super::queue::Queue;
use super::worker::Worker;
use crate::config::{MirrorConfig, TrainerConfig};
use crate::error::{Error, Result};
use crate::process::console::{note, warn};
use crate::process::run_output::OutputHandle;

/// How often a lease is read that a process left which may be dead.
const POLL: Duration = Duration::from_millis(500);
/// How much longer than its time a lease is waited for.
const MARGIN: Duration = Duration::from_secs(2);
/// How long the lease of a run that did not train is given back.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Makes the connection to a store.
pub type Connect = fn(&MirrorAddress) -> burn_ckpt::Result<Store>;

static CONNECT: OnceLock<Connect> = OnceLock::new();

/// Connects to stores by a function of the program's: for tests, whose stores fail. The first call counts.
pub fn connect_by(connect: Connect) {
    let _ = CONNECT.set(connect);
}

/// The mirror of an open run.
#[derive(Debug)]
pub(super) struct OpenMirror {
    pub(super) queue: Arc<Queue>,
    /// Whether checkpoints were downloaded.
    pub(super) has_downloaded: bool,
    /// The mirror's own address of the run, if it has checkpoints of it.
    existing: Option<PathBuf>,
}

impl OpenMirror {
    /// See [`MirrorOfRun::open`](super::MirrorOfRun::open).
    pub(super) fn open(
        settings: &MirrorConfig,
        config: &TrainerConfig,
        layout: &RunLayout,
        present: &Catalog,
    ) -> Result<Self> {
        let address: MirrorAddress = settings.address.parse()?;
        let connect = CONNECT.get().copied().unwrap_or(Store::connect);
        let store = connect(&address)?;
        let lease = SignedDuration::from_secs(settings.lease_timeout_seconds.cast_signed());
        let writer = Writer::of_this_process().with_lease_timeout(lease);
        let has_checkpoints = !present.entries.is_empty();
        let resumes = matches!(config.ckpt_path.as_deref(), Some("auto" | "last" | "best"));
        let download = |progress: Progress<'_>| {
            if !resumes {
                return Ok(false);
            }
            let run = MirroredRun::open(&store, layout.run_id()).map_err(Failed::Reading)?;
            download_newer(&run, config, layout, present, progress).map_err(Failed::Downloading)
        };
        let queue = Arc::new(Queue::new(address.to_string()));
        let (mirror, has_downloaded) = match read(&store, layout.run_id(), &writer, download) {
            Ok((mirror, has_downloaded)) => (Some(mirror), has_downloaded),
            Err(Failed::Reading(error @ burn_ckpt::Error::MirrorInUse { .. })) => return Err(error.into()),
            Err(Failed::Reading(source) | Failed::Downloading(source)) if resumes && !has_checkpoints => {
                return Err(Error::MirrorUnreadable { run_id: layout.run_id().to_owned(), source });
            }
            Err(Failed::Downloading(source)) => {
                let source = Box::new(source);
                return Err(Error::MirrorNotDownloaded { run_id: layout.run_id().to_owned(), source });
            }
            Err(Failed::Reading(error)) if has_checkpoints || is_temporary(&error) => {
                warn(&format!(
                    "the mirror {address} cannot be read: {}. {}, and what it saves is sent when the mirror can be reached",
                    chain(&error),
                    if resumes { "The run resumes from the disk" } else { "The run starts" }
                ));
                queue.failed(chain(&error));
                (None, false)
            }
            // Wrong credentials, or no such bucket: hours of training would not be mirrored.
            Err(Failed::Reading(error)) => return Err(error.into()),
        };
        let existing = mirror.as_ref().filter(|mirror| !mirror.checkpoints().is_empty());
        let existing = existing.map(|mirror| format!("{address}/{}", mirror.run_id()).into());
        let is_said = mirror.is_none();
        let (newest, for_worker) = (newest_finite(present), Arc::clone(&queue));
        let worker = Worker::new(store, writer, mirror, newest, layout.clone(), for_worker, is_said);
        let output = OutputHandle::of_this_thread();
        let thread = thread::Builder::new().name("burn-trainer-mirror".to_owned());
        let work = move || {
            output.set_for_thread();
            worker.run();
        };
        let failed = |source| burn_ckpt::Error::Io {
            action: "start a thread for",
            path: address.to_string().into(),
            source,
        };
        thread.spawn(work).map_err(failed)?;
        Ok(Self { queue, has_downloaded, existing })
    }

    pub(super) fn check_new_run(&self, config: &TrainerConfig, run_id: &str) -> Result<()> {
        let Some(path) = &self.existing else { return Ok(()) };
        if config.overwrite {
            let reason = format!(
                "the mirror has checkpoints of the run {run_id} ({}), and overwrite removes nothing there: choose another run \
                 id, or another address",
                path.display()
            );
            return Err(Error::config("overwrite", reason));
        }
        Err(Error::RunExists { run_id: run_id.to_owned(), path: path.clone() })
    }
}

impl Drop for OpenMirror {
    /// Gives the lease back, where training has not done so.
    fn drop(&mut self) {
        if !self.queue.has_given_up() {
            self.queue.end(CLOSE_WAIT, &|| false);
        }
    }
}

/// What of a start failed: to read what the mirror has, or to get something of it that is newer than the
/// disk.
enum Failed {
    Reading(burn_ckpt::Error),
    Downloading(burn_ckpt::Error),
}

/// Takes the lease, and downloads. The lease is kept meanwhile, and given back where that fails.
fn read(
    store: &Store,
    run_id: &str,
    writer: &Writer,
    download: impl FnOnce(Progress<'_>) -> std::result::Result<bool, Failed>,
) -> std::result::Result<(RunMirror, bool), Failed> {
    let mirror = RefCell::new(take_lease(store, run_id, writer).map_err(Failed::Reading)?);
    let downloaded = download(&|_| match mirror.borrow_mut().keep_lease() {
        Err(error @ burn_ckpt::Error::MirrorInUse { .. }) => Err(io::Error::other(error)),
        // A lease that is not renewed once is there for the rest of its time.
        _ => Ok(()),
    });
    let mirror = mirror.into_inner();
    match downloaded {
        Ok(has_downloaded) => Ok((mirror, has_downloaded)),
        Err(error) => {
            if let Err(unreleased) = mirror.close() {
                // It ends by itself after its time.
                log::warn!("the lease of the mirror is not given back: {}", chain(&unreleased));
            }
            Err(error)
        }
    }
}

/// Takes the lease. That of a process that gives no sign of life is waited for; that of one which renews it
/// is an error at once.
fn take_lease(store: &Store, run_id: &str, writer: &Writer) -> burn_ckpt::Result<RunMirror> {
    let begun = Instant::now();
    let mut first: Option<(Timestamp, Duration)> = None;
    loop {
        let (error, until) = match RunMirror::open(store, run_id, writer) {
            Err(error @ burn_ckpt::Error::MirrorInUse { until, .. }) => (error, until),
            opened => return opened,
        };
        let (seen, limit) = *first.get_or_insert_with(|| {
            let left = until.duration_since(Timestamp::now());
            let limit = Duration::try_from(left).unwrap_or_default().saturating_add(MARGIN);
            note(&format!("{}; this start waits until then, in case that process is dead", in_short(&error)));
            (until, limit)
        });
        if seen != until || begun.elapsed() >= limit {
            return Err(error);
        }
        thread::sleep(POLL);
    }
}

/// Who holds the lease, without what to do about it.
fn in_short(error: &burn_ckpt::Error) -> String {
    match error {
        burn_ckpt::Error::MirrorInUse { address, holder, until } => {
            format!("the mirror {address} is in use by {holder} until {until}")
        }
        error => chain(error),
    }
}

/// Whether another try can succeed without a change of the settings.
fn is_temporary(error: &burn_ckpt::Error) -> bool {
    use MirrorFailure::{Conflict, Failed, TimedOut, Unreachable};
    matches!(error, burn_ckpt::Error::Mirror { failure: Conflict | Failed | TimedOut | Unreachable, .. })
}
