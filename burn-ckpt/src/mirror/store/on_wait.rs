//! What is done while a store does not answer: where that is said, and what ends the wait early.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What the wait for a store's answer does. The default writes one line to the log, and waits.
#[doc(hidden)]
#[derive(Clone)]
pub struct OnWait {
    pub(super) say: Arc<dyn Fn(&str) + Send + Sync>,
    pub(super) is_stopped: Arc<dyn Fn() -> bool + Send + Sync>,
    pub(super) is_said: Arc<AtomicBool>,
}

impl OnWait {
    /// `say` gets one line for all waits. A wait ends with an error once it `is_stopped`.
    #[must_use]
    pub fn new(
        say: impl Fn(&str) + Send + Sync + 'static,
        is_stopped: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { say: Arc::new(say), is_stopped: Arc::new(is_stopped), is_said: Arc::default() }
    }
}

impl Default for OnWait {
    fn default() -> Self {
        Self::new(|line| log::warn!("{line}"), || false)
    }
}

impl fmt::Debug for OnWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnWait")
    }
}
