//! Where the time of a step goes, by operation: `perf` samples this program's own processes, and PyTorch has
//! a profiler.
//!
//! A sample counts for the module whose code it is in: `burn_flex::ops::softmax`, `gemm_f32::microkernel`.
//! That is burn's own division into operations, and nothing has to be added to the loop for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::child_process::measurement;
use crate::page::figure::{figure, milliseconds};
use crate::page::table::Table;
use crate::program::Result;

use super::contender::Arm;
use super::results::Case;
use super::task::{Measured, Task};

/// What stands above the tables.
pub(crate) const EXPLANATION: &str = "\
Times are of all processors together. `perf` samples the whole process, with the steps that are not counted and its start; \
its shares are applied to the processor time of a counted step. A row is a module of burn or of a library below it; PyTorch's rows are \
its operations, by their own time.\n";
/// Rows of a table; what is left is one row more.
const ROWS: usize = 16;
/// Samples a second: no multiple of a usual clock's rate.
const SAMPLES: &str = "397";
/// Crates whose modules are looked for first in a name: others, such as rayon's, only call them.
const COMPUTING: [&str; 4] = ["gemm", "burn_flex", "burn_", "macerator"];
/// Names that are parts of a path without a meaning of their own.
const MODULES: usize = 3;

/// The table of one contender in one case, or a line that says why there is none.
pub(crate) fn table(case: &Case, arm: &Arm, task: &Task, dir: &Path, limit: u64) -> String {
    let measured = if arm.is_own() { sampled(arm, task, dir, limit) } else { arm.run(task, dir, limit) };
    match measured {
        Ok(measured) => rows(case, arm, measured).to_string() + "\n",
        Err(error) => format!("{}, {}: {error}\n", case.name.title(), arm.title()),
    }
}

fn rows(case: &Case, arm: &Arm, measured: Measured) -> Table {
    let title = format!("{}, {}, {} threads", case.name.title(), arm.title(), case.threads);
    let mut table = Table::new(&[title.as_str(), "share, %", "CPU ms a step"]);
    let mut operations = measured.operations;
    operations.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let all: f64 = operations.iter().map(|(_, seconds)| seconds).sum();
    let mut row = |name: &str, seconds: f64| {
        let step = seconds / case.steps as f64;
        table.row([name.to_owned(), figure(Some(100.0 * seconds / all), 1), milliseconds(Some(step), 2)]);
    };
    operations.iter().take(ROWS).for_each(|(name, seconds)| row(name, *seconds));
    let rest: f64 = operations.iter().skip(ROWS).map(|(_, seconds)| seconds).sum();
    row("all others", rest);
    row("together", all);
    table
}

/// Runs a process of this program under `perf`, and adds the seconds of its modules.
fn sampled(arm: &Arm, task: &Task, dir: &Path, limit: u64) -> Result<Measured> {
    let samples = dir.join("perf.data");
    let own = arm.command(task, dir)?;
    let mut command = Command::new("perf");
    command.args(["record", "--quiet", "--freq", SAMPLES, "--output"]).arg(&samples).arg("--");
    command.arg(own.get_program()).args(own.get_args());
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let measured: Result<Measured> = measurement(command, dir, limit);
    std::fs::remove_dir_all(&task.run_dir)?;
    let mut measured = measured.map_err(|error| format!("{error} (Debian's package linux-perf has perf)"))?;
    let mut report = Command::new("perf");
    report.args([
        "report",
        "--stdio",
        "--no-children",
        "--percent-limit",
        "0",
        "--fields",
        "overhead,dso,symbol",
    ]);
    let report = report.args(["--field-separator", "|", "--input"]).arg(&samples).output()?;
    if !report.status.success() {
        return Err(format!("perf report: {}", String::from_utf8_lossy(&report.stderr).trim()).into());
    }
    let shares = shares(&String::from_utf8_lossy(&report.stdout));
    measured.operations =
        shares.into_iter().map(|(name, share)| (name, share * measured.cpu_seconds)).collect();
    Ok(measured)
}

/// The shares of modules in a report of `perf`.
fn shares(report: &str) -> BTreeMap<String, f64> {
    let mut shares = BTreeMap::new();
    for line in report.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.splitn(3, '|').map(str::trim);
        let (Some(share), Some(object), Some(symbol)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let Ok(share) = share.trim_end_matches('%').parse::<f64>() else { continue };
        *shares.entry(module(object, symbol)).or_default() += share / 100.0;
    }
    shares
}

/// The module of a symbol, such as `[.] <burn_flex::ops::unary::Op as core::ops::Fn>::call`.
fn module(object: &str, symbol: &str) -> String {
    let (place, name) = symbol.split_once("] ").unwrap_or(("", symbol));
    if place.contains('k') {
        return "the kernel".to_owned();
    }
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let paths = name.split(|letter| !is_name(letter)).map(|path| path.trim_matches(':'));
    let paths: Vec<&str> = paths.filter(|path| path.contains("::")).collect();
    let computing = COMPUTING.iter().find_map(|prefix| paths.iter().find(|path| path.starts_with(prefix)));
    let Some(path) = computing.or_else(|| paths.first()) else {
        return match object.starts_with("lib") {
            true => format!("{}: {}", object.split('.').next().unwrap_or(object), plain(name)),
            false => plain(name).to_owned(),
        };
    };
    let is_module = |part: &&str| part.starts_with(|letter: char| letter.is_ascii_lowercase());
    path.split("::").take_while(is_module).take(MODULES).collect::<Vec<_>>().join("::")
}

/// A name without the parts that say how it was compiled.
fn plain(name: &str) -> &str {
    name.split(['.', '@']).next().unwrap_or(name).trim_start_matches('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_count_for_the_module_that_computes() {
        let report = "# comment\n\n\
            40.00%|bench-train|[.] gemm_f32::microkernel::avx512f::f32::x2x6\n\
            10.00%|bench-train|[.] <gemm_f32::microkernel::avx512f::f32::Other as core::ops::Fn>::call\n\
            20.00%|bench-train|[.] rayon::iter::plumbing::bridge<burn_flex::ops::softmax::rows::{closure}>\n\
            15.00%|[kernel.kallsyms]|[k] clear_page_erms\n\
            10.00%|libc.so.6|[.] __memmove_avx512_unaligned_erms\n\
            5.00%|bench-train|[.] mi_free\n";
        let shares: Vec<(String, i64)> =
            shares(report).into_iter().map(|(name, share)| (name, (share * 100.0).round() as i64)).collect();
        let expected = [
            ("burn_flex::ops::softmax", 20),
            ("gemm_f32::microkernel::avx512f", 50),
            ("libc: memmove_avx512_unaligned_erms", 10),
            ("mi_free", 5),
            ("the kernel", 15),
        ];
        assert_eq!(shares, expected.map(|(name, share)| (name.to_owned(), share)));
    }
}
