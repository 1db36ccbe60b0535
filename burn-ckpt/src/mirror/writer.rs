//! Who writes to a run's mirror.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// How long a lease lasts, unless configured otherwise.
const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_mins(5);

/// Who writes to a mirror: the name in the error of a second writer, a number that no other writer has, how
/// long a lease lasts without being renewed, and the clock.
///
/// ```
/// use burn_ckpt::mirror::Writer;
/// use jiff::SignedDuration;
///
/// let writer = Writer::of_this_process().with_lease_timeout(SignedDuration::from_mins(2));
/// assert!(writer.name().starts_with("process "));
/// ```
#[derive(Clone)]
pub struct Writer {
    name: String,
    token: u64,
    timeout: SignedDuration,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// The lease of another writer that was seen last, and when it was seen first.
    seen: Arc<Mutex<Option<(String, Timestamp)>>>,
}

impl Writer {
    /// This process, with a lease of 5 minutes and the system's clock.
    #[must_use]
    pub fn of_this_process() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let host = gethostname::gethostname();
        let name = format!("process {} on host {}", std::process::id(), host.to_string_lossy());
        // The keys of each `RandomState` are other random numbers: they come from the system.
        Self::new(name, RandomState::new().hash_one(std::process::id()), Timestamp::now)
    }

    /// A writer of this name, with a number that no other writer has.
    pub fn new(
        name: impl Into<String>,
        token: u64,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            token,
            timeout: DEFAULT_TIMEOUT,
            clock: Arc::new(clock),
            seen: Arc::default(),
        }
    }

    /// How long the lease lasts when it is not renewed. After that another writer can take it over.
    #[must_use]
    pub fn with_lease_timeout(mut self, timeout: SignedDuration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The name in the error of a second writer.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn token(&self) -> u64 {
        self.token
    }

    pub(crate) fn timeout(&self) -> SignedDuration {
        self.timeout
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// When this writer has seen another one's lease first, which is told from others by this text. It keeps
    /// the one that it has seen last.
    pub(crate) fn first_seen(&self, lease: &str) -> Timestamp {
        let mut seen = self.seen.lock();
        match &*seen {
            Some((last, first)) if last == lease => *first,
            _ => {
                let now = self.now();
                *seen = Some((lease.to_owned(), now));
                now
            }
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
