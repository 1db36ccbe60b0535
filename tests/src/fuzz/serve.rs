//! A worker's side: reads a changed file whenever a line arrives, and prints what came of it.

use std::io::BufRead;
use std::path::Path;

use super::outcome::Outcome;
use super::readers::Readers;
use super::target::Target;

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
        let before = memory(true);
        let mut outcome = readers.read(&bytes);
        let more = memory(false).saturating_sub(before);
        if more > target.most_memory() && !matches!(outcome, Outcome::Bad(_)) {
            let mib = 1 << 20;
            outcome = Outcome::Bad(format!("takes {} MiB of memory for {} bytes", more / mib, bytes.len()));
        }
        println!("{}", outcome.line());
    }
    Ok(())
}

/// The most memory of this process at once so far, in bytes, or since `anew` was last true. 0 where the system does not tell.
fn memory(anew: bool) -> u64 {
    if anew && std::fs::write("/proc/self/clear_refs", "5").is_err() {
        return 0;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
