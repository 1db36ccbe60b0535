//! The mirror before the first step: its lease, what a start gets from it, and the thread that keeps the
//! lease and sends.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use burn_ckpt::mirror::{MirrorAddress, MirroredRun, OnWait, RunMirror, Store, Writer, begin_on_disk};
use burn_ckpt::{Catalog, MirrorFailure, RunLayout, chain};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::download::{DamagedObjects, KeepsLease, download_newer, replace_damaged};
use super::is_final;
use super::queue::Queue;
use super::worker::Worker;
use crate::config::{MirrorConfig, TrainerConfig};
use crate::error::{Error, Result};
use crate::process::console::{note, warn};
use crate::process::run_output::OutputHandle;
use crate::process::signals::{StopSignal, StopView};

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

/// Connects as [`connect_by`] was told to, or as the library does.
pub(super) fn connect(address: &MirrorAddress) -> burn_ckpt::Result<Store> {
    CONNECT.get().copied().unwrap_or(Store::connect)(address)
}

/// This process as the writer of a mirror.
pub(super) fn writer(settings: &MirrorConfig) -> Writer {
    let lease = SignedDuration::from_secs(settings.lease_timeout_seconds.cast_signed());
    Writer::of_this_process().with_lease_timeout(lease)
}

/// The mirror of an open run.
#[derive(Debug)]
pub(super) struct OpenMirror {
    pub(super) queue: Arc<Queue>,
    /// Whether checkpoints were downloaded.
    pub(super) has_downloaded: bool,
    /// The mirror's own address of the run, if it has checkpoints of it.
    existing: Option<PathBuf>,
    /// What a start that resumes has read of the mirror, until it is known whether the disk's newest
    /// checkpoint is whole.
    run: Option<MirroredRun>,
    /// What of that is damaged.
    damaged: DamagedObjects,
}

impl OpenMirror {
    /// See [`MirrorOfRun::open`](super::MirrorOfRun::open).
    pub(super) fn open(
        settings: &MirrorConfig,
        config: &TrainerConfig,
        layout: &RunLayout,
        present: &Catalog,
        signals: &StopView,
    ) -> Result<Self> {
        let address: MirrorAddress = settings.address.parse()?;
        address.check_is_apart_from(layout)?;
        let starts = Arc::new(AtomicBool::new(true));
        let store = connect(&address)?.with_on_wait(on_wait(&starts, signals));
        let writer = writer(settings);
        let has_checkpoints = !present.entries.is_empty();
        let resumes = matches!(config.ckpt_path.as_deref(), Some("auto" | "last" | "best"));
        let begin = begin_on_disk(layout, present);
        let mut damaged = DamagedObjects::default();
        let download = |run: MirroredRun, progress: KeepsLease<'_>| {
            run.check_is_run_on_disk(begin).map_err(|error| match error {
                // It is not known whether what the mirror has is newer.
                error @ burn_ckpt::Error::Mirror { .. } if resumes => Failed::Downloading(error),
                error => Failed::Reading(error),
            })?;
            if !resumes {
                return Ok(None);
            }
            let has_downloaded = download_newer(&run, config, layout, present, &mut damaged, progress);
            Ok(Some((run, has_downloaded.map_err(Failed::Downloading)?)))
        };
        let queue = Arc::new(Queue::new(format!("{address}/{}", layout.run_id())));
        let read = read(&store, layout.run_id(), &writer, signals, download);
        // From now on a signal leaves the mirror's thread the time to send the last state.
        starts.store(false, Ordering::Relaxed);
        let (mirror, downloaded) = match read {
            Ok((mirror, downloaded)) => (Some(mirror), downloaded),
            // What the start was interrupted in says nothing of the mirror.
            Err(_) if signals.received().is_some() => return Err(stopped(signals, &address)),
            Err(failed) => {
                let error = begin_without(failed, &address, layout, resumes, has_checkpoints)?;
                queue.failed(chain(&error));
                if is_final(&error) {
                    queue.finish(None);
                    let (existing, run, has_downloaded) = (None, None, false);
                    return Ok(Self { queue, has_downloaded, existing, run, damaged });
                }
                (None, None)
            }
        };
        let has_downloaded = downloaded.as_ref().is_some_and(|(_, has_downloaded)| *has_downloaded);
        let existing = mirror.as_ref().filter(|mirror| !mirror.checkpoints().is_empty());
        let existing = existing.map(|mirror| format!("{address}/{}", mirror.run_id()).into());
        let is_said = mirror.is_none();
        queue.is_in_mirror(mirror.as_ref().map(digests).unwrap_or_default());
        let worker = Worker::new(store, writer, mirror, begin, layout.clone(), Arc::clone(&queue), is_said);
        let output = OutputHandle::of_this_thread();
        let thread = thread::Builder::new().name("burn-trainer-mirror".to_owned());
        let work = move || {
            output.set_for_thread();
            worker.run();
        };
        thread.spawn(work).map_err(burn_ckpt::Error::io("start a thread for", address.to_string()))?;
        Ok(Self { queue, has_downloaded, existing, run: downloaded.map(|(run, _)| run), damaged })
    }

    /// See [`MirrorOfRun::replace_damaged`](super::MirrorOfRun::replace_damaged).
    pub(super) fn replace_damaged(
        &mut self,
        config: &TrainerConfig,
        layout: &RunLayout,
        present: &Catalog,
        resumed: Option<Timestamp>,
    ) -> Result<bool> {
        let Some(run) = self.run.take() else { return Ok(false) };
        // The thread keeps the lease meanwhile.
        replace_damaged(&run, config, layout, present, &mut self.damaged, resumed).map_err(|source| {
            let (run_id, source) = (layout.run_id().to_owned(), Box::new(source));
            Error::MirrorNotDownloaded { run_id, source }
        })
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
        Err(Error::RunExists { run_id: run_id.to_owned(), path: path.clone(), missing: Vec::new() })
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

/// What a wait for the store does: at the start it is said, and a signal ends it.
fn on_wait(starts: &Arc<AtomicBool>, signals: &StopView) -> OnWait {
    let (output, saying, ending) = (OutputHandle::of_this_thread(), Arc::clone(starts), Arc::clone(starts));
    let signals = signals.clone();
    let say = move |line: &str| match saying.load(Ordering::Relaxed) {
        true => {
            output.set_for_thread();
            warn(line);
        }
        false => log::warn!("{line}"),
    };
    OnWait::new(say, move || ending.load(Ordering::Relaxed) && signals.received().is_some())
}

fn stopped(signals: &StopView, address: &MirrorAddress) -> Error {
    let signal = signals.received().unwrap_or(StopSignal::Terminate);
    let (signal, exit_status) = (signal.name(), signal.exit_status());
    Error::StoppedAtStart { signal, exit_status, mirror: address.to_string() }
}

/// The checkpoints that are in the mirror, by name, with the SHA-256 of their files.
fn digests(mirror: &RunMirror) -> BTreeMap<String, String> {
    let checkpoints = mirror.checkpoints().iter();
    checkpoints.map(|checkpoint| (checkpoint.name.clone(), checkpoint.sha256().to_owned())).collect()
}

/// What of a start failed: to read what the mirror has, or to get something of it that is newer than the
/// disk.
enum Failed {
    Reading(burn_ckpt::Error),
    Downloading(burn_ckpt::Error),
}

/// Lets the run begin without its mirror, which is said, and returns why.
///
/// # Errors
///
/// The error that the start ends with.
fn begin_without(
    failed: Failed,
    address: &MirrorAddress,
    layout: &RunLayout,
    resumes: bool,
    has_checkpoints: bool,
) -> Result<burn_ckpt::Error> {
    let run_id = layout.run_id().to_owned();
    let error = match failed {
        Failed::Reading(
            error @ (burn_ckpt::Error::MirrorInUse { .. } | burn_ckpt::Error::WrongMirror(_)),
        ) => return Err(error.into()),
        Failed::Reading(source) | Failed::Downloading(source) if resumes && !has_checkpoints => {
            return Err(Error::MirrorUnreadable { run_id, source });
        }
        Failed::Downloading(source) => {
            return Err(Error::MirrorNotDownloaded { run_id, source: Box::new(source) });
        }
        Failed::Reading(error) => error,
    };
    // Wrong credentials, no such bucket, or a store that no mirror can be in: hours of training would not be
    // mirrored.
    let is_unsupported =
        matches!(error, burn_ckpt::Error::Mirror { failure: MirrorFailure::Unsupported, .. });
    if is_unsupported || !(has_checkpoints || is_temporary(&error)) {
        return Err(error.into());
    }
    warn(&format!(
        "the mirror {address} cannot be read: {}. {}, and {}",
        chain(&error),
        if resumes { "The run resumes from the disk" } else { "The run starts" },
        match is_final(&error) {
            true => "nothing is sent to the mirror",
            false if !is_temporary(&error) => "what it saves is sent once that is set right",
            false => "what it saves is sent when the mirror can be reached",
        }
    ));
    Ok(error)
}

/// Takes the lease, and downloads. The lease is kept meanwhile, and given back where that fails.
fn read<T>(
    store: &Store,
    run_id: &str,
    writer: &Writer,
    signals: &StopView,
    download: impl FnOnce(MirroredRun, KeepsLease<'_>) -> std::result::Result<T, Failed>,
) -> std::result::Result<(RunMirror, T), Failed> {
    store.check_is_not_a_run().map_err(Failed::Reading)?;
    let (mirror, run) = take_lease(store, run_id, writer, signals).map_err(Failed::Reading)?;
    // A verification calls it on several threads.
    let mirror = Mutex::new(mirror);
    let downloaded = download(run, &|_| match mirror.lock().keep_lease() {
        Err(error @ burn_ckpt::Error::MirrorInUse { .. }) => Err(io::Error::other(error)),
        // A lease that is not renewed once is there for the rest of its time.
        _ => Ok(()),
    });
    let mirror = mirror.into_inner();
    match downloaded {
        Ok(downloaded) => Ok((mirror, downloaded)),
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
/// is an error at once. Returns what the mirror has, too: it is read once.
fn take_lease(
    store: &Store,
    run_id: &str,
    writer: &Writer,
    signals: &StopView,
) -> burn_ckpt::Result<(RunMirror, MirroredRun)> {
    let begun = Instant::now();
    let mut first: Option<(Timestamp, Duration)> = None;
    loop {
        let (error, until) = match RunMirror::open_and_read(store, run_id, writer) {
            Err(error @ burn_ckpt::Error::MirrorInUse { until, .. }) => (error, until),
            opened => return opened,
        };
        let (seen, limit) = *first.get_or_insert_with(|| {
            let left = until.duration_since(Timestamp::now());
            let limit = Duration::try_from(left).unwrap_or_default().saturating_add(MARGIN);
            note(&format!("{}; this start waits until then, in case that process is dead", in_short(&error)));
            (until, limit)
        });
        if seen != until || begun.elapsed() >= limit || signals.received().is_some() {
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
