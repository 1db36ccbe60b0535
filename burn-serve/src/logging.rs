//! The log, on standard error: warnings and errors, or what the variable `RUST_LOG` asks for.
//!
//! burn's own log goes to standard output, where scripts expect nothing but addresses. At the level `trace`
//! it contains the bytes of WebSocket frames, and with them the token.

use std::io::{self, IsTerminal, Write};
use std::panic;

use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// The longest line. Some lines quote what a client sent, and a client needs no token for that.
const LINE: usize = 4096;

/// Installs it.
pub fn install() {
    install_panic_hook();
    let asked_for = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let without_frames = filter_fn(|metadata| {
        // These print what is in a frame.
        !metadata.target().starts_with("tungstenite") || *metadata.level() <= LevelFilter::INFO
    })
    .with_max_level_hint(LevelFilter::TRACE);
    let layer = fmt::layer()
        .with_writer(|| Bounded)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(asked_for.and(without_frames));
    // The only one of the process, as this is its first line.
    let _ = registry().with(layer).try_init();
}

/// A panic in burn's server ends the work for one connection, for instance because of invalid bytes between
/// two servers. It is logged in one line. There is no backtrace, because any client could fill the log with
/// them.
fn install_panic_hook() {
    panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or_default().escape_debug();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // The server continues where standard error is closed.
        let _ = Bounded.write(format!("warning: {message} (a panic in {place})\n").as_bytes());
    }));
}

/// Standard error, of each line the beginning.
struct Bounded;

impl Write for Bounded {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        match line.get(..LINE) {
            Some(beginning) => stderr.write_all(beginning).and_then(|()| stderr.write_all(b"..\n"))?,
            None => stderr.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Raises the limit of open connections to its maximum. With the default limit, a client that opens many idle
/// connections would keep other clients out.
pub fn allow_many_connections() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        // A server with the default number serves as well, if fewer.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// Writes a line to standard error. The server continues where standard error is closed.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
