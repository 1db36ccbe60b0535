//! The page: a table for each network.

use std::fmt::{self, Display};

use crate::page::figure::{figure, milliseconds};
use crate::page::head::Head;
use crate::page::table::Table;

use super::contender::Arm;
use super::network::{Name, Network};
use super::results::{Case, Results};

/// The columns behind the network's name.
const COLUMNS: [&str; 11] = [
    "threads",
    "step, ms",
    "fastest",
    "slowest",
    "steps / s",
    "items / s",
    "step / PyTorch's",
    "CPU ms a step",
    "first step, s",
    "memory, MB",
    "mean loss",
];

/// What is printed.
pub(crate) struct Page<'a> {
    /// All measurements.
    pub(crate) results: &'a Results,
    /// Who took part.
    pub(crate) arms: &'a [Arm],
    /// What stands above.
    pub(crate) head: Head,
    /// Processes of each.
    pub(crate) rounds: usize,
}

impl Page<'_> {
    fn table(&self, name: Name) -> Table {
        let on_device = self.results.cases().iter().any(|case| case.backend != backend::Backend::Flex);
        let mut columns = vec![name.title()];
        columns.extend(COLUMNS);
        if on_device {
            columns.push("device memory, MB");
        }
        let mut table = Table::new(&columns);
        let without_saves = |case: &&Case| case.name == name && case.save_every == 0;
        for case in self.results.cases().into_iter().filter(without_saves) {
            for arm in self.arms {
                if let Some(mut cells) = self.cells(case, arm) {
                    cells.truncate(columns.len());
                    table.row(cells);
                }
            }
        }
        table
    }

    /// What saving costs, where it was asked for.
    fn saving(&self, name: Name) -> Option<Table> {
        let title = format!("{}, saving", name.title());
        let mut table = Table::new(&[
            title.as_str(),
            "threads",
            "a save every",
            "step, ms",
            "steps / s to those without saves",
            "saves",
            "left out",
        ]);
        let mut is_empty = true;
        let saving = |case: &&Case| case.name == name && case.save_every > 0;
        for case in self.results.cases().into_iter().filter(saving) {
            for arm in self.arms {
                let Some(figures) = self.results.figures(case, arm) else { continue };
                let without = self.results.step_without_saves(case, arm);
                is_empty = false;
                table.row([
                    arm.title(),
                    case.threads.to_string(),
                    case.save_every.to_string(),
                    milliseconds(Some(figures.step), 2),
                    figure(without.map(|without| without / figures.step), 3),
                    figure(figures.saves, 0),
                    figure(figures.skipped_saves, 0),
                ]);
            }
        }
        (!is_empty).then_some(table)
    }

    fn cells(&self, case: &Case, arm: &Arm) -> Option<Vec<String>> {
        let figures = self.results.figures(case, arm)?;
        let megabytes = |bytes: Option<f64>| figure(bytes.map(|bytes| bytes / 1e6), 0);
        let ratio = self.results.torch_step(case).map(|torch| figures.step / torch);
        Some(vec![
            arm.title(),
            case.threads.to_string(),
            milliseconds(Some(figures.step), 2),
            milliseconds(Some(figures.fastest), 2),
            milliseconds(Some(figures.slowest), 2),
            figure(Some(1.0 / figures.step), 3),
            figure(Some(case.batch as f64 / figures.step), 2),
            figure(ratio, 2),
            milliseconds(Some(figures.cpu), 1),
            figure(Some(figures.first_step), 2),
            megabytes(figures.peak),
            figure(figures.loss, 3),
            megabytes(figures.device_peak),
        ])
    }
}

/// What a network's batch is, and how it was measured.
fn described(case: &Case, parameters: &[u64]) -> String {
    let items = match case.name.network() {
        Network::Digits { .. } => "images of 8x8".to_owned(),
        Network::CharLm { context, .. } => format!("windows of {context} bytes"),
    };
    let counts: Vec<String> = parameters.iter().map(ToString::to_string).collect();
    format!(
        "{}: {} parameters in all contenders, batches of {} {items}; {} steps of each process after {} that are not counted.",
        case.name.title(),
        counts.join(" and "),
        case.batch,
        case.steps,
        case.warm_up
    )
}

/// Markdown.
impl Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.head)?;
        let versions = self.results.versions();
        if !versions.is_empty() {
            writeln!(f, "Peers: {}.", versions.join(", "))?;
        }
        writeln!(
            f,
            "Each figure is the median of {} processes, which take turns with those of the other contenders. All compute in f32 with \
             the same data, batches and optimizer (Adam for digits, AdamW for char-lm, at a constant rate), log the mean of the loss, \
             and save nothing, but where a table says how often. There the trainer leaves out a save while the one before is still \
             written (`when_busy` is `skip`), and the peers' loops wait for theirs, which sync nothing. Gradients of char-lm are shortened: by burn each parameter's, by the peers all together. *dev* is the \
             profile of `cargo xtask train`. The first step is timed from the start of the process. Memory is the peak of the process.",
            self.rounds
        )?;
        let mut names: Vec<Name> = Vec::new();
        for case in self.results.cases() {
            if !names.contains(&case.name) {
                names.push(case.name);
                let parameters = self.results.parameters(case.name);
                writeln!(f, "\n{}\n\n{}", described(case, &parameters), self.table(case.name))?;
                if let Some(saving) = self.saving(case.name) {
                    writeln!(f, "\n{saving}")?;
                }
            }
        }
        for (case, arm, why) in self.results.failures() {
            writeln!(f, "\n{case}, {}: {why}", arm.title())?;
        }
        Ok(())
    }
}
