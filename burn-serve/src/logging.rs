//! The log, on standard error: warnings and errors, or what the variable `RUST_LOG` asks for.
//!
//! burn's own writes to standard output, where addresses are all that scripts expect, and at `trace` the bytes that
//! WebSocket carries, the token among them.

use std::io::{self, IsTerminal, Write};
use std::panic;

use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// The longest line. What a client sent is quoted in some, and it need not have shown a token for that.
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

/// What panics in burn's server is the work for one connection, for instance because of what came over it where servers
/// send each other tensors. That is worth a line, and no backtrace each time somebody wants one.
fn install_panic_hook() {
    panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or_default().escape_debug();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // Nobody may be reading it any more, which is no reason to stop.
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

/// Lets the process have as many connections as it may, and not the few that it may by default: who opens many and says
/// nothing keeps others out.
pub fn allow_many_connections() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        // A server with the default number serves as well, if fewer.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// Writes a line to standard error. It does not fail where nobody reads that any more.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
