//! A worker's side: reads a changed file whenever a line arrives, and prints what came of it.

use std::io::BufRead;
use std::path::Path;

use super::outcome::Outcome;
use super::readers::Readers;
use super::target::Target;
use crate::peak_memory::peak_memory;

/// The changed file, in the worker's directory.
pub(super) const INPUT: &str = "input";

/// Reads the changed file in a directory once for each line of standard input, until it ends.
///
/// # Errors
///
/// When the files beside the changed one cannot be made, or the changed one cannot be read.
pub fn serve(target: Target, directory: &Path) -> Result<(), String> {
    let mut readers = Readers::new(target, directory)?;
    println!("{}", Outcome::READY);
    for line in std::io::stdin().lock().lines() {
        line.map_err(|error| error.to_string())?;
        let bytes = std::fs::read(directory.join(INPUT)).map_err(|error| error.to_string())?;
        let before = peak_memory(true);
        let mut outcome = readers.read(&bytes);
        let more = peak_memory(false).saturating_sub(before);
        if more > target.most_memory() && !matches!(outcome, Outcome::Bad(_)) {
            let mib = 1 << 20;
            outcome = Outcome::Bad(format!("takes {} MiB of memory for {} bytes", more / mib, bytes.len()));
        }
        println!("{}", outcome.line());
    }
    Ok(())
}
