//! The library's warnings on standard error.

use log::{LevelFilter, Log, Metadata, Record};

use super::output::say;

struct Warnings;

impl Log for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("burn_ckpt")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            say(format!("warning: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Prints them from now on.
pub fn print_warnings() {
    // Fails only if there is another logger, which then prints them.
    if log::set_logger(&Warnings).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}
