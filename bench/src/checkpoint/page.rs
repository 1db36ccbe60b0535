//! The page: Markdown, as it can stand in `BENCHMARKS.md`.

use std::fmt::{self, Display};

use crate::page::figure::{self, figure, missing};
use crate::page::head::Head;
use crate::page::table::Table;

use super::case::Case;
use super::contender::{Contender, Phase};
use super::contenders::loading::HPARAMS;
use super::contenders::loop_without_saves::{BURNS, DIGITS, OURS, SMALL, TRACKED};
use super::contenders::machine_limits::{BLAKE3, COPY_FRESH, COPY_WARM, SHA256, WRITE};
use super::measurement::{Measurement, median};
use super::required_ratios::{ratios, turn_by_turn};
use super::results::Results;

/// What is printed.
pub struct Page<'a> {
    /// What was measured.
    pub results: &'a Results,
    /// The page's head.
    pub head: Head,
    /// Threads that computed.
    pub threads: usize,
}

impl Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.head)?;
        let versions = self.results.versions();
        if !versions.is_empty() {
            writeln!(f, "- peers: {}", versions.join(", "))?;
        }
        let threads = match self.threads {
            1 => {
                "1 thread computes, the writer has the others, as on a machine whose GPU computes".to_owned()
            }
            threads => format!("{threads} threads compute"),
        };
        writeln!(f, "- training: {threads}; a state is the parameters and Adam's two moments in f32\n")?;
        self.notes(f)?;
        for case in self.results.cases() {
            let bytes = gigabytes(case.state_bytes());
            let (layers, width) = (case.layers, case.width);
            writeln!(f, "### {case}: {bytes} GB, {layers} matrices of {width}x{width}\n")?;
            let tables = [
                self.saving(case),
                self.steady(case),
                self.loading(case),
                self.limits(case),
                self.after(case),
            ];
            for table in tables.into_iter().flatten() {
                writeln!(f, "{table}\n")?;
            }
        }
        if let Some(table) = self.loops() {
            writeln!(f, "### The loop without saves\n\n{table}\n")?;
        }
        self.ratios(f)?;
        self.absent(f)
    }
}

impl Page<'_> {
    fn notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Each figure is a median over the saves of a run, in a process of its own. *Lost* is the time that the steps from\n\
             a save until it is durable, and one more, took longer than as many undisturbed ones of the same run, those that are\n\
             nearest; below 0, noise is more than the cost. *Call* is the time until the loop continued. torch, Lightning,\n\
             safetensors and burn sync nothing: for the first three a thread of its own calls fsync, which is not part of the\n\
             call; burn's files are complete then, and not durable. When burn-trainer's and burn's files were complete is what\n\
             the file system says, to some milliseconds. *No save* is what the machine's disk costs any loop: a thread writes as\n\
             many bytes beside it and syncs them, and no snapshot is taken. Loading ends when every value of the model was\n\
             read; all files are in the page cache.\n"
        )
    }

    fn saving(&self, case: &Case) -> Option<Table> {
        use Contender::{Burn, Lightning, Orbax, Ours, OursOpaque, PlainWrite, Safetensors, Torch};
        let mut table = Table::new(&[
            "saving",
            "step ms",
            "lost ms",
            "call ms",
            "durable, training ms",
            "durable, idle ms",
            "GB/s, idle",
            "file / state",
            "written / state",
            "peak GB",
            "without saves GB",
            "peak / state",
        ]);
        let mut rows = 0;
        for contender in [Ours, OursOpaque, Burn, Torch, Lightning, Orbax, Safetensors, PlainWrite] {
            let Some(measured) = self.results.of(case, contender, Phase::Train) else { continue };
            let cost = self.results.cost(case, contender);
            let idle = self.results.idle(case, contender);
            let quiet = self.results.of(case, contender, Phase::Quiet).and_then(|measured| measured.peak);
            let state = case.state_bytes();
            let share = |bytes: Option<u64>| figure(bytes.map(|bytes| bytes as f64 / state as f64), 3);
            rows += 1;
            table.row([
                contender.title().to_owned(),
                milliseconds(cost.map(|cost| cost.step)),
                milliseconds(cost.map(|cost| cost.lost)),
                milliseconds(cost.map(|cost| cost.call)),
                milliseconds(cost.map(|cost| cost.durable)),
                milliseconds(idle),
                figure(idle.zip(measured.bytes).map(|(idle, bytes)| bytes as f64 / 1e9 / idle), 2),
                share(measured.bytes),
                share(measured.written),
                measured.peak.map_or_else(missing, gigabytes),
                quiet.map_or_else(missing, gigabytes),
                share(measured.peak),
            ]);
        }
        (rows > 0).then_some(table)
    }

    fn steady(&self, case: &Case) -> Option<Table> {
        use Contender::{BurnSteady, OursReplace, OursSkip, OursSteady};
        let mut table = Table::new(&[
            "saving every few steps",
            "steps",
            "saves",
            "let go",
            "step ms",
            "lost ms a save",
            "peak / state",
        ]);
        let mut rows = 0;
        for contender in [OursSteady, OursSkip, OursReplace, BurnSteady] {
            let Some(measured) = self.results.of(case, contender, Phase::Train) else { continue };
            let Some(steady) = measured.steady else { continue };
            rows += 1;
            table.row([
                contender.title().to_owned(),
                steady.every.to_string(),
                steady.saves.to_string(),
                steady.skipped.to_string(),
                milliseconds(Some(steady.step)),
                milliseconds(Some(steady.lost)),
                figure(measured.peak.map(|peak| peak as f64 / case.state_bytes() as f64), 2),
            ]);
        }
        (rows > 0).then_some(table)
    }

    /// Every time to load that was measured.
    fn loading(&self, case: &Case) -> Option<Table> {
        let mut table = Table::new(&["loading", "what", "median ms", "best ms", "GB/s of the model"]);
        let mut rows = 0;
        let loading =
            self.results.all().filter(|process| process.case == *case && process.phase == Phase::Load);
        for process in loading {
            let Ok(measured) = &process.outcome else { continue };
            for name in measured.times.keys() {
                let median = self.results.time(case, process.contender, Phase::Load, name);
                let speed = median.filter(|_| name != HPARAMS);
                rows += 1;
                // A file of another library, loaded for comparison.
                let (who, what) = name.split_once(": ").unwrap_or((process.contender.title(), name));
                table.row([
                    who.to_owned(),
                    what.to_owned(),
                    milliseconds(median),
                    milliseconds(self.results.best_time(case, process.contender, Phase::Load, name)),
                    figure(speed.map(|seconds| case.model_bytes() as f64 / 1e9 / seconds), 2),
                ]);
            }
        }
        (rows > 0).then_some(table)
    }

    fn limits(&self, case: &Case) -> Option<Table> {
        let measured = self.results.of(case, Contender::Limits, Phase::Train)?;
        let mut table = Table::new(&["the machine, same bytes", "median ms", "best ms", "GB/s"]);
        for name in [COPY_FRESH, COPY_WARM, WRITE, SHA256, BLAKE3] {
            let median = median(measured.times.get(name)?);
            table.row([
                name.to_owned(),
                milliseconds(median),
                milliseconds(self.results.best_time(case, Contender::Limits, Phase::Train, name)),
                figure(median.map(|seconds| case.state_bytes() as f64 / 1e9 / seconds), 2),
            ]);
        }
        Some(table)
    }

    fn after(&self, case: &Case) -> Option<Table> {
        let mut table = Table::new(&[
            "allocator",
            "step ms",
            "first step after the first save / step",
            "after later ones / step",
        ]);
        let system = self.results.cost(case, Contender::SystemAllocator)?;
        let rows = [("mimalloc", self.results.cost(case, Contender::Ours)), ("the system's", Some(system))];
        for (name, cost) in rows {
            table.row([
                name.to_owned(),
                milliseconds(cost.map(|cost| cost.step)),
                figure(cost.and_then(|cost| cost.step_after_first), 2),
                figure(cost.and_then(|cost| cost.step_after_later), 2),
            ]);
        }
        Some(table)
    }

    fn loops(&self) -> Option<Table> {
        let measured: &Measurement = self.results.loops()?;
        let mut table = Table::new(&[
            "job",
            "runs of each",
            "trainer, step ms",
            "burn's loop, step ms",
            "ratio",
            "with trackers, step ms",
            "to without",
        ]);
        for job in [DIGITS, SMALL] {
            let of = |kind: &str| measured.times.get(&format!("{job}{kind}"));
            let (ours, burns, tracked) = (of(OURS)?, of(BURNS)?, of(TRACKED)?);
            table.row([
                job.to_owned(),
                ours.len().to_string(),
                figure(median(ours).map(|step| step * 1e3), 3),
                figure(median(burns).map(|step| step * 1e3), 3),
                figure(turn_by_turn(ours, burns), 4),
                figure(median(tracked).map(|step| step * 1e3), 3),
                figure(turn_by_turn(tracked, ours), 4),
            ]);
        }
        Some(table)
    }

    fn ratios(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&["what must hold", "case", "figure", "bound", ""]);
        let ratios = ratios(self.results);
        for ratio in &ratios {
            table.row([
                ratio.what.clone(),
                ratio.case.clone(),
                if ratio.figure.is_nan() { "noise".to_owned() } else { figure(Some(ratio.figure), 3) },
                ratio.bound.to_string(),
                match ratio.holds() {
                    true => "holds",
                    false if ratio.figure.is_nan() => "cannot be said",
                    false => "does not hold",
                }
                .to_owned(),
            ]);
        }
        if ratios.is_empty() {
            Ok(())
        } else {
            writeln!(f, "### What must hold, of states of 100 MB and more\n\n{table}\n")
        }
    }

    /// Who did not take part, and what has to be said of those who did.
    fn absent(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for process in self.results.all() {
            let (case, name) = (&process.case, process.contender.title());
            match &process.outcome {
                Err(why) => writeln!(f, "- {case} {name}, {}: no figures: {why}", process.phase.title())?,
                Ok(measured) => {
                    for note in &measured.notes {
                        writeln!(f, "- {case} {name}: {note}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / 1e9)
}

fn milliseconds(seconds: Option<f64>) -> String {
    figure::milliseconds(seconds, 2)
}
