//! The page that gpu-check prints: Markdown with the figures, and what failed.

use std::fmt::{self, Display};

use bench::{Comparison, Outcome, SaveCost, Table};
use burn_trainer::Result;
use burn_trainer::environment::Environment;
use serde_json::{Value, json};

/// Largest difference of a probability between the device and the CPU that counts as the same prediction.
const SAME: f32 = 1e-4;

/// What one job came to.
pub struct Checked {
    /// The job.
    pub name: String,
    /// Parameters of its model.
    pub parameters: usize,
    /// Optimizer steps of a whole run.
    pub steps: u64,
    /// The step whose checkpoint was resumed from.
    pub stopped_at: u64,
    /// The figures, or what went wrong.
    pub result: Result<Figures>,
}

/// The figures of one job.
pub struct Figures {
    /// The first run.
    pub outcome: Outcome,
    /// What its saves cost, or why that cannot be said.
    pub cost: Result<SaveCost, String>,
    /// Its last state and that of a second run like it.
    pub repeated: Comparison,
    /// Its last state and that of a run that resumed from its middle.
    pub resumed: Comparison,
    /// How far probabilities on the CPU are from those on the device.
    pub on_cpu: Option<f32>,
    /// The peak of this process's memory meanwhile, in bytes, where the system reports it.
    pub host_memory: Option<u64>,
    /// What the metadata of its last state says of the machine.
    pub environment: Environment,
}

/// The page, while it is being filled.
#[derive(Default)]
pub struct Page {
    checked: Vec<Checked>,
}

impl Page {
    /// Adds a job.
    pub fn add(&mut self, checked: Checked) {
        self.checked.push(checked);
    }

    /// Whether every job passed. A device need not compute the same bits twice. Where it does, a resumed run
    /// has to end with the bits of a run that never stopped.
    pub fn succeeded(&self) -> bool {
        self.checked.iter().all(|checked| checked.result.as_ref().is_ok_and(Figures::succeeded))
    }

    fn figures(&self) -> impl Iterator<Item = (&Checked, &Figures)> {
        self.checked.iter().filter_map(|checked| Some((checked, checked.result.as_ref().ok()?)))
    }

    /// A line for each job, of a run on this backend.
    pub fn json_lines(&self, backend: &str) -> String {
        let lines = self.checked.iter().map(|checked| format!("{}\n", checked.json(backend)));
        lines.collect()
    }

    fn training(&self) -> Table {
        let mut table = Table::new(&[
            "training",
            "parameters",
            "steps",
            "seconds",
            "memory of the process, MB",
            "metrics of validation",
        ]);
        for (checked, figures) in self.figures() {
            let metrics = &figures.outcome.metrics;
            let valid = metrics.iter().filter(|(name, _)| name.starts_with("val_"));
            let metrics: Vec<String> = valid.map(|(name, value)| format!("{name} {value:.4}")).collect();
            table.row([
                checked.name.clone(),
                checked.parameters.to_string(),
                checked.steps.to_string(),
                format!("{:.1}", figures.outcome.seconds),
                figures
                    .host_memory
                    .map_or_else(|| "-".to_owned(), |bytes| format!("{:.0}", bytes as f64 / 1e6)),
                metrics.join(", "),
            ]);
        }
        table
    }

    fn saving(&self) -> Table {
        let mut table = Table::new(&[
            "saving (medians)",
            "state MB",
            "step ms",
            "step with the save ms",
            "step beside the writing ms",
            "loop time lost ms",
            "until durable ms",
            "MB/s",
        ]);
        for (checked, figures) in self.figures() {
            let Ok(cost) = &figures.cost else { continue };
            let (times, none) = (cost.times, || "none".to_owned());
            let megabytes = cost.bytes as f64 / 1e6;
            table.row([
                checked.name.clone(),
                format!("{megabytes:.1}"),
                milliseconds(times.step),
                times.step_of_save.map_or_else(none, milliseconds),
                times.step_beside.map_or_else(none, milliseconds),
                milliseconds(times.lost),
                milliseconds(times.durable),
                format!("{:.0}", megabytes / times.durable),
            ]);
        }
        table
    }

    fn resuming(&self) -> Table {
        let mut table = Table::new(&[
            "resuming",
            "two undisturbed runs",
            "stopped and resumed",
            "failed saves",
            "probabilities on the CPU",
        ]);
        for (checked, figures) in self.figures() {
            table.row([
                checked.name.clone(),
                compared(figures.repeated),
                format!("at step {}: {}", checked.stopped_at, compared(figures.resumed)),
                figures.outcome.failed_saves.to_string(),
                figures
                    .on_cpu
                    .map_or_else(|| "not asked".to_owned(), |most| format!("differ by {most:.1e} at most")),
            ]);
        }
        table
    }
}

/// Markdown.
impl Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((_, Figures { environment, .. })) = self.figures().next() {
            heading(environment, f)?;
        }
        writeln!(f, "{}\n\n{}\n\n{}", self.training(), self.saving(), self.resuming())?;
        for Checked { name, result, .. } in &self.checked {
            match result {
                Err(error) => writeln!(f, "\n{name} failed: {}", burn_ckpt::chain(error))?,
                Ok(Figures { cost: Err(reason), .. }) => {
                    writeln!(f, "\n{name}: what a save costs cannot be said: {reason}")?;
                }
                Ok(_) => {}
            }
        }
        let Some((_, Figures { environment, .. })) = self.figures().next() else { return Ok(()) };
        let hardware = serde_json::to_string_pretty(&environment.hardware).map_err(|_| fmt::Error)?;
        write!(
            f,
            "\nWhat the metadata of these checkpoints says of the hardware:\n\n```json\n{hardware}\n```"
        )
    }
}

/// What was computed on, and by which program.
fn heading(environment: &Environment, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let Environment { hardware, os, rust, .. } = environment;
    let gpu = hardware.gpu_devices.iter().find(|gpu| gpu.used);
    writeln!(f, "## {}\n", known(gpu.map_or(&hardware.cpu_model, |gpu| &gpu.name)))?;
    writeln!(f, "- computed on: {}", hardware.devices_used.join(", "))?;
    if let Some(gpu) = gpu {
        writeln!(f, "- GPU: {gpu}")?;
    }
    let cpus = hardware.cpu_count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    writeln!(f, "- processor: {}, {cpus} logical", known(&hardware.cpu_model))?;
    writeln!(f, "- system: {} {}, kernel {}", known(&os.name), known(&os.version), known(&os.kernel))?;
    writeln!(f, "- program: {} build, {}\n", known(&rust.profile), known(&rust.version))
}

impl Checked {
    fn json(&self, backend: &str) -> Value {
        let figures = self.result.as_ref().ok();
        let cost = figures.and_then(|figures| figures.cost.as_ref().ok());
        json!({
            "check": self.name,
            "backend": backend,
            "parameters": self.parameters,
            "steps": self.steps,
            "failed": self.result.as_ref().err().map(|error| burn_ckpt::chain(error).to_string()),
            "passed": figures.is_some_and(Figures::succeeded),
            "seconds": figures.map(|figures| figures.outcome.seconds),
            "host_memory_bytes": figures.and_then(|figures| figures.host_memory),
            "tensors": figures.map(|figures| figures.repeated.tensors),
            "different_when_repeated": figures.map(|figures| figures.repeated.different),
            "different_when_resumed": figures.map(|figures| figures.resumed.different),
            "failed_saves": figures.map(|figures| figures.outcome.failed_saves),
            "largest_difference_on_the_cpu": figures.and_then(|figures| figures.on_cpu),
            "state_bytes": cost.map(|cost| cost.bytes),
            "step_seconds": cost.map(|cost| cost.times.step),
            "lost_seconds_a_save": cost.map(|cost| cost.times.lost),
            "durable_seconds": cost.map(|cost| cost.times.durable),
            "metrics": figures.map(|figures| &figures.outcome.metrics),
        })
    }
}

impl Figures {
    fn succeeded(&self) -> bool {
        let resumed = self.resumed.identical() || !self.repeated.identical();
        resumed && self.outcome.failed_saves == 0 && self.on_cpu.is_none_or(|most| most <= SAME)
    }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.1}", seconds * 1e3)
}

fn compared(comparison: Comparison) -> String {
    let Comparison { tensors, different } = comparison;
    match different {
        0 => format!("{tensors} tensors, the same to the bit"),
        _ => format!("{different} of {tensors} tensors differ"),
    }
}
