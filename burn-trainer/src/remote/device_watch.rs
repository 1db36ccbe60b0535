//! Finding out that a device of another machine is gone, or does not answer, and which one.
//!
//! burn notices that a server has closed a session, and fails what is read from then on, with a message that names no
//! device; a machine that has stopped, or a network that swallows everything, leaves whoever reads waiting for ever. So
//! each of these devices is asked for a small sum every now and then, on a thread of its own, which may hang. A device's
//! work is done in the order in which it was handed over: that a device answers means that it has come so far, and one
//! that is busy for longer than the timeout counts as lost too.

use std::collections::HashSet;
use std::fmt::{self, Display};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use burn_ckpt::plumbing::panic_message;
use burn_environment::device_name;

use crate::error::{Error, Result};
use crate::process::start_device::answer;
use crate::remote::device_names::{IROH, REMOTE};

/// A device is asked four times as often as it may be silent, and every so often at least.
const ASK_AT_LEAST_EVERY: Duration = Duration::from_secs(5);
/// How long a server may take to say something to a stranger, at most.
const KNOCK: Duration = Duration::from_secs(1);

/// Devices that are lost, and what was seen of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) devices: Vec<String>,
    pub(crate) reason: String,
}

impl From<Lost> for Error {
    fn from(Lost { devices, reason }: Lost) -> Self {
        Self::DeviceLost { devices, reason, newest: None }
    }
}

impl Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lost: {}", self.devices.join(", "), self.reason)
    }
}

/// Watches the devices of other machines until it and its clones are dropped.
#[derive(Clone)]
pub(crate) struct DeviceWatch(Arc<Ending>);

/// Ends the watch when nobody holds it any more.
struct Ending {
    shared: Arc<Shared>,
    #[cfg(feature = "remote")]
    _nudge: Option<crate::remote::WakeTransfers>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

struct Shared {
    /// How long a device may be silent.
    silence: Duration,
    /// How long a server may take to say something.
    knock: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    devices: Vec<Watched>,
    /// How often all were asked out of turn.
    asked: u64,
    ended: bool,
}

struct Watched {
    name: String,
    /// When it last answered.
    answered: Instant,
    /// The last asking out of turn that it has answered.
    answers: u64,
    /// What it failed with.
    failed: Option<String>,
}

impl DeviceWatch {
    /// Watches those of the devices that are of other machines. `None` when there are none. A device may be silent for three
    /// quarters of `timeout`; what has to be done then has to fit into the rest.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the system gives no thread.
    pub(crate) fn start(devices: &[Device], timeout: Duration) -> Result<Option<Self>> {
        let mut seen = HashSet::new();
        let remote: Vec<(String, Device)> = devices
            .iter()
            .map(|device| (device_name(device), device.clone().without_autodiff()))
            .filter(|(name, _)| name.starts_with(REMOTE) && seen.insert(name.clone()))
            .collect();
        if remote.is_empty() {
            return Ok(None);
        }
        let watched = |(name, _): &(String, Device)| Watched {
            name: name.clone(),
            answered: Instant::now(),
            answers: 0,
            failed: None,
        };
        let state = State { devices: remote.iter().map(watched).collect(), asked: 0, ended: false };
        let shared = Arc::new(Shared {
            silence: timeout / 4 * 3,
            knock: KNOCK.min(timeout / 16),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        for (position, (_, device)) in remote.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("burn-trainer-watch-{position}"))
                .spawn(move || shared.ask_one(position, &device))
                .map_err(|error| Error::config("the devices", format!("no thread to watch them: {error}")))?;
        }
        #[cfg(feature = "remote")]
        let _nudge = crate::remote::WakeTransfers::start(&shared.names());
        Ok(Some(Self(Arc::new(Ending {
            shared,
            #[cfg(feature = "remote")]
            _nudge,
        }))))
    }

    /// The devices that are known to be lost.
    pub(crate) fn lost(&self) -> Option<Lost> {
        let shared = &self.0.shared;
        let (failed, silent) = {
            let state = shared.lock();
            let failed: Vec<(String, String)> = state
                .devices
                .iter()
                .filter_map(|device| Some((device.name.clone(), device.failed.clone()?)))
                .collect();
            let silent = state.silent(|device| device.answered.elapsed() >= shared.silence);
            (failed, silent)
        };
        of_failed(&failed)
            .or_else(|| of_silent(silent, shared.silence))
            .map(|lost| named_by_their_servers(lost, &shared.names(), shared.knock))
    }

    /// Counts silence from now on: this process has stood still itself (ctrl-z, a debugger), and nobody asked meanwhile.
    pub(crate) fn begin_anew(&self) {
        self.0.shared.lock().devices.iter_mut().for_each(|device| device.answered = Instant::now());
    }

    /// How long a device may be silent.
    pub(crate) fn silence(&self) -> Duration {
        self.0.shared.silence
    }

    /// Asks all of them now, and waits for the answers, no longer than `limit` or the timeout. For when something has
    /// failed, and the question is whether a device is the reason.
    pub(crate) fn ask(&self, limit: Duration) -> Option<Lost> {
        let shared = &self.0.shared;
        let limit = limit.min(shared.silence);
        let deadline = Instant::now() + limit;
        let mut state = shared.lock();
        state.asked += 1;
        let asked = state.asked;
        shared.changed.notify_all();
        // One that ends a session can take the others along, whose end comes to light a little later: all are heard.
        while state.devices.iter().any(|device| device.failed.is_none() && device.answers < asked) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let silent = state.silent(|device| device.failed.is_none() && device.answers < asked);
        drop(state);
        self.lost().or_else(|| {
            of_silent(silent, limit).map(|lost| named_by_their_servers(lost, &shared.names(), shared.knock))
        })
    }
}

impl State {
    fn silent(&self, is_silent: impl Fn(&Watched) -> bool) -> Vec<String> {
        self.devices.iter().filter(|device| is_silent(device)).map(|device| device.name.clone()).collect()
    }
}

impl Shared {
    /// Asks one device until it fails, or all is over.
    fn ask_one(&self, position: usize, device: &Device) {
        let interval = (self.silence / 4).min(ASK_AT_LEAST_EVERY);
        loop {
            let asked = self.lock().asked;
            let answer = catch_unwind(AssertUnwindSafe(|| answer(device)))
                .unwrap_or_else(|panic| Err(panic_message(&*panic)));
            let mut state = self.lock();
            let watched = &mut state.devices[position];
            match answer {
                Ok(()) => (watched.answered, watched.answers) = (Instant::now(), asked),
                Err(reason) => watched.failed = Some(reason),
            }
            let has_failed = watched.failed.is_some();
            self.changed.notify_all();
            let next = Instant::now() + interval;
            while !has_failed && !state.ended && state.asked == asked {
                let left = next.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            if has_failed || state.ended {
                return;
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.lock().devices.iter().map(|device| device.name.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whatever panicked has left the state whole: each change is a single step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_silent(devices: Vec<String>, since: Duration) -> Option<Lost> {
    let reason = format!(
        "no answer for {since:?}; see that the machine and the network are up, or allow more with device_timeout_seconds \
         where a step takes that long"
    );
    (!devices.is_empty()).then_some(Lost { devices, reason })
}

fn of_failed(devices: &[(String, String)]) -> Option<Lost> {
    let (_, reason) = devices.first()?;
    let reason = format!("its session has ended ({})", reason.replace('\n', " "));
    Some(Lost { devices: devices.iter().map(|(name, _)| name.clone()).collect(), reason })
}

/// A server that goes takes others along that were about to fetch a tensor from it. Where it can be seen of all devices
/// which ones' servers are gone, those are named in place of the ones in which it came to light.
fn named_by_their_servers(lost: Lost, all: &[String], knock: Duration) -> Lost {
    let problems: Vec<Option<String>> = thread::scope(|scope| {
        let knocking: Vec<_> =
            all.iter().map(|name| scope.spawn(move || problem_of_server(name, knock))).collect();
        knocking.into_iter().map(|problem| problem.join().ok().flatten()).collect()
    });
    let gone: Vec<(&String, String)> =
        all.iter().zip(problems).filter_map(|(name, problem)| Some((name, problem?))).collect();
    match gone.first() {
        Some((_, reason)) => {
            Lost { devices: gone.iter().map(|(name, _)| (*name).clone()).collect(), reason: reason.clone() }
        }
        None => lost,
    }
}

/// What is wrong with the server of a device, as far as somebody sees who only knocks. `None` where nothing is, and
/// where nobody knows where to knock.
fn problem_of_server(name: &str, within: Duration) -> Option<String> {
    if name.starts_with(IROH) {
        #[cfg(feature = "remote")]
        return crate::remote::problem_of_iroh_server(name, within);
        #[cfg(not(feature = "remote"))]
        return None;
    }
    let (server, _) = name.split_once("://")?.1.rsplit_once('#')?;
    knock(server, within).err().map(|error| match error.kind() {
        // A stopped process, too: the system takes connections for it.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("its server does not answer within {within:?}")
        }
        _ => format!("its server is gone ({error})"),
    })
}

/// Has a WebSocket server say anything at all: it is one of HTTP first.
fn knock(server: &str, within: Duration) -> std::io::Result<()> {
    let address = server.to_socket_addrs()?.next().ok_or(ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    stream.read(&mut [0]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn devices_of_this_machine_are_not_watched() {
        assert!(DeviceWatch::start(&[Device::default()], Duration::from_secs(1)).unwrap().is_none());
    }

    #[test]
    fn of_several_the_ones_are_named_whose_servers_are_gone_or_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Nobody accepts, as with a process that was stopped.
        let stopped = format!("remote:ws://{}#0", listener.local_addr().unwrap());
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let gone = format!("remote:ws://{closed}#1");
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = format!("remote:ws://{}#0", alive.local_addr().unwrap());
        let server = thread::spawn(move || {
            for _ in 0..3 {
                alive.accept().unwrap().0.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n").unwrap();
            }
        });
        let within = Duration::from_secs(1);
        let named = |all: &[&String]| {
            let lost = of_failed(&[(there.clone(), "closed".to_owned())]).unwrap();
            named_by_their_servers(lost, &all.iter().map(|name| (*name).clone()).collect::<Vec<_>>(), within)
        };
        let lost = named(&[&there, &stopped]);
        assert_eq!(
            (lost.devices, lost.reason.as_str()),
            (vec![stopped], "its server does not answer within 1s")
        );
        let lost = named(&[&there, &gone]);
        assert!(lost.reason.starts_with("its server is gone"), "{lost}");
        assert_eq!(lost.devices, [gone]);
        // Of servers that are all there, nobody can tell.
        let lost = named(&[&there]);
        assert_eq!(
            (lost.devices, lost.reason.as_str()),
            (vec![there.clone()], "its session has ended (closed)")
        );
        server.join().unwrap();
    }

    #[test]
    fn of_a_server_that_was_connected_by_somebody_else_nothing_is_known() {
        assert_eq!(problem_of_server("remote:iroh:aa#0", Duration::from_secs(1)), None);
    }
}
