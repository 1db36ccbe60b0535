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
            use tokio::signal::unix::{SignalKind, signal};
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            let kinds = kinds.into_iter().filter(|kind| !is_ignored(&status, kind.as_raw_value()));
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

/// Whether a process ignores a signal, as its status in `/proc` says: a mask whose lowest bit is signal 1.
/// Where there is no such file, none is ignored.
#[cfg(unix)]
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let bit = u32::try_from(signal - 1).ok().and_then(|place| 1_u64.checked_shl(place));
    bit.is_some_and(|bit| mask & bit != 0)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_ignored_where_its_bit_is_in_the_mask() {
        // SIGHUP and SIGINT are 1 and 2.
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001003\nSigCgt:\tffff\n";
        let ignored = [1, 2, 15, 13, 0].map(|signal| is_ignored(status, signal));
        assert_eq!(ignored, [true, true, false, true, false]);
        assert!(!is_ignored("", 1));
    }
}
