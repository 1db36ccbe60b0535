//! The signals that ask a server to stop.

use crate::error::{Error, Result};

/// SIGINT, SIGTERM and SIGHUP, which no longer end the process by themselves. One that was ignored when the
/// process was started stays ignored: SIGHUP under `nohup`, SIGINT in `program &` of a script.
#[derive(Debug)]
pub struct Stop {
    #[cfg(unix)]
    signals: Vec<tokio::signal::unix::Signal>,
}

impl Stop {
    /// Catches the signals from now on. Before this call they end the process.
    pub fn install() -> Result<Self> {
        #[cfg(unix)]
        {
            use burn_trainer::is_ignored;
            use tokio::signal::unix::{SignalKind, signal};

            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            let kinds = kinds.into_iter().filter(|kind| !is_ignored(kind.as_raw_value()));
            let signals = kinds.map(signal).collect::<std::io::Result<_>>();
            let failed = |error| Error::Serve(format!("signals cannot be waited for: {error}"));
            Ok(Self { signals: signals.map_err(failed)? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits until one of them comes.
    pub async fn asked(self) {
        #[cfg(unix)]
        {
            use std::task::Poll;
            let mut signals = self.signals;
            std::future::poll_fn(|context| {
                let came = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
                if came { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
