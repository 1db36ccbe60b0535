//! How long processors have worked: unlike the time on the clock, other tests beside this one do not change
//! it.

use std::time::Duration;

/// Linux's unit of a process's times, on all of its machines.
const TICKS_PER_SECOND: u64 = 100;

/// What the calling thread has computed so far.
///
/// # Panics
///
/// Where the system does not tell.
#[must_use]
pub fn of_thread() -> Duration {
    let text = read("/proc/thread-self/schedstat");
    let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_else(|| panic!("schedstat: {text}")))
}

/// What all threads of this process have computed so far.
///
/// # Panics
///
/// As for [`of_thread`].
#[must_use]
pub fn of_process() -> Duration {
    let text = read("/proc/self/stat");
    // The name of the program, in brackets, can have spaces.
    let (_, fields) = text.rsplit_once(") ").unwrap_or_else(|| panic!("stat: {text}"));
    let ticks: Vec<u64> =
        fields.split(' ').skip(11).take(2).filter_map(|number| number.parse().ok()).collect();
    let [user, system] = ticks[..] else { panic!("stat: {text}") };
    Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_what_is_computed() {
        let (thread, process) = (of_thread(), of_process());
        let least = Duration::from_millis(50);
        while of_thread() - thread < least {
            std::hint::black_box((0..1000_u64).sum::<u64>());
        }
        assert!(of_process() - process >= least - Duration::from_millis(1000 / TICKS_PER_SECOND));
    }
}
