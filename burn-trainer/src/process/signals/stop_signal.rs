//! The signals that stop a run: their names, numbers and exit statuses.

use burn::train::Interrupter;

/// A signal that stopped training. A signal that was ignored when the process began stays ignored: SIGHUP
/// under `nohup`, SIGINT in `program &` of a script.
///
/// ```
/// fn ended_by<M>(result: &burn_trainer::FitResult<M>) -> Option<u8> {
///     result.outcome.signal().map(|signal| signal.exit_status())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopSignal {
    /// SIGHUP: the terminal was closed.
    HangUp,
    /// SIGINT: ctrl-c.
    Interrupt,
    /// SIGTERM: what `kill`, service managers and batch systems send, Slurm before it preempts or cancels a
    /// job.
    Terminate,
    /// SIGUSR1: Slurm's warning before a time limit, as `--signal=USR1@180` asks for it.
    User1,
    /// SIGUSR2: the same with `--signal=USR2@180`.
    User2,
}

impl StopSignal {
    pub(super) const ALL: [Self; 5] =
        [Self::HangUp, Self::Interrupt, Self::Terminate, Self::User1, Self::User2];

    /// The signal's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HangUp => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::User1 => "SIGUSR1",
            Self::User2 => "SIGUSR2",
        }
    }

    /// The signal that stopped a run, if one did.
    pub(crate) fn of(interrupter: &Interrupter) -> Option<Self> {
        let reason = interrupter.get_message().filter(|_| interrupter.should_stop())?;
        Self::ALL.into_iter().find(|signal| signal.name() == reason)
    }

    /// The exit status of a program that the signal stopped, by the shells' convention: 128 and the signal's
    /// number, so 130 for SIGINT and 143 for SIGTERM.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        128 + self.number()
    }

    /// Whether a batch system sends it as a warning before a time limit, when the job asks for one.
    pub(crate) fn is_warning(self) -> bool {
        matches!(self, Self::User1 | Self::User2)
    }

    pub(super) fn number(self) -> u8 {
        // POSIX fixes the first three. The others differ between Linux and the BSDs.
        let linux = cfg!(any(target_os = "linux", target_os = "android"));
        match self {
            Self::HangUp => 1,
            Self::Interrupt => 2,
            Self::Terminate => 15,
            Self::User1 => {
                if linux {
                    10
                } else {
                    30
                }
            }
            Self::User2 => {
                if linux {
                    12
                } else {
                    31
                }
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use signal_hook::consts;

    #[test]
    fn the_numbers_are_those_of_the_system() {
        let numbers = StopSignal::ALL.map(|signal| i32::from(signal.number()));
        let expected = [consts::SIGHUP, consts::SIGINT, consts::SIGTERM, consts::SIGUSR1, consts::SIGUSR2];
        assert_eq!(numbers, expected);
        assert_eq!(StopSignal::Interrupt.exit_status(), 130);
        assert_eq!(StopSignal::Terminate.exit_status(), 143);
    }
}
