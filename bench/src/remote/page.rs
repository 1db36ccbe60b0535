//! The page: Markdown, as it can stand in `BENCHMARKS.md`.

use std::fmt::{self, Display};

use char_lm::CharLmConfig;

use crate::measure::timing::median;
use crate::page::figure::{self, figure, missing};
use crate::page::head::Head;
use crate::page::table::Table;

use super::contender::Contender;
use super::figures::{ContenderRuns, Steps};
use super::loopback::Load;
use super::step_plan::{StepPlan, WARM_UP};

/// What is printed.
pub struct Page {
    /// The page's head.
    pub head: Head,
    /// The job's name.
    pub name: String,
    /// What is trained.
    pub hparams: CharLmConfig,
    /// The steps of a run.
    pub plan: StepPlan,
    /// What it sends over the loopback interface.
    pub load: Load,
    /// The runs of each contender.
    pub measured: Vec<ContenderRuns>,
    /// Bytes a second over the loopback interface while nothing trains.
    pub idle: Option<f64>,
    /// Seconds that a plain copy took of what two servers send each other in a step.
    pub copies: Vec<f64>,
}

impl Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.head)?;
        let StepPlan { steps, saves, apart } = self.plan;
        let rounds = self.measured.iter().map(|runs| runs.runs.len()).max().unwrap_or_default();
        writeln!(
            f,
            "- training: {}, {:.1} million parameters, batches of {} windows of {} bytes, one for each device in every step",
            self.name,
            self.load.parameters as f64 / 1e6,
            self.hparams.batch_size,
            self.hparams.shape().context,
        )?;
        writeln!(
            f,
            "- a run: {WARM_UP} steps that are not counted, {steps} without a save, then {saves} saves, {apart} steps apart; \
             {rounds} runs of each, in turns"
        )?;
        let idle = self.idle.map_or_else(missing, |bytes| format!("{:.1}", bytes / 1e3));
        writeln!(f, "- the loopback interface while nothing trains: {idle} kB/s, which are subtracted\n")?;
        writeln!(f, "{NOTES}\n")?;
        for table in [self.training(), self.loopback(), self.saving()] {
            writeln!(f, "{table}\n")?;
        }
        writeln!(f, "### What bounds them\n\n{}\n\n{}\n", self.bounds(), self.copying())?;
        for runs in &self.measured {
            // The last run's: those before it say the same.
            if let Some(trouble) = runs.troubles().last() {
                writeln!(f, "- {}: {trouble}", runs.contender.title())?;
            }
        }
        Ok(())
    }
}

const NOTES: &str = "\
Every device and its server are this machine's: all of them share its processors, so that two devices cannot be faster\n\
than one here, and what a remote device costs is seen. Two local devices are burn's one CPU taking two batches in turn.\n\
Bytes are the kernel's count of what the loopback interface received, headers included, from any sender: the\n\
machine has to be quiet otherwise. *Must cross* is arithmetic: 16 bytes for each byte of text in a batch (it and the\n\
one after it, as 64-bit integers), and for a second device the parameters there and their gradients back, in f32.\n\
*Lost* is the time that the steps from a save until it is durable, and one more, took longer than as many undisturbed\n\
ones of the same run, the nearest, as for `bench checkpoint`; below 0, noise is more than the cost.";

impl Page {
    fn training(&self) -> Table {
        let mut table = Table::new(&[
            "training",
            "steps",
            "step ms, median",
            "a tenth below",
            "a tenth above",
            "longest",
            "steps / s",
            "windows / s",
            "windows / s, to one local device",
        ]);
        let windows = |contender: Contender, steps: &Steps| {
            steps.per_second * (contender.devices() * self.hparams.batch_size) as f64
        };
        let local = self.local().map(|steps| windows(Contender::Local, &steps));
        for runs in &self.measured {
            let Some(steps) = runs.steps() else { continue };
            let windows = windows(runs.contender, &steps);
            table.row([
                runs.contender.title().to_owned(),
                steps.count.to_string(),
                milliseconds(Some(steps.median)),
                milliseconds(Some(steps.low)),
                milliseconds(Some(steps.high)),
                milliseconds(Some(steps.longest)),
                figure(Some(steps.per_second), 3),
                figure(Some(windows), 3),
                figure(local.map(|local| windows / local), 3),
            ]);
        }
        table
    }

    fn loopback(&self) -> Table {
        let mut table = Table::new(&["over the loopback interface", "MB a step", "must cross, MB", "ratio"]);
        for runs in &self.measured {
            let Some(bytes) = runs.loopback_bytes_per_step(self.idle.unwrap_or_default()) else { continue };
            let must = self.load.bytes_per_step(runs.contender) as f64;
            table.row([
                runs.contender.title().to_owned(),
                figure(Some(bytes.max(0.0) / 1e6), 3),
                figure(Some(must / 1e6), 3),
                figure((must > 0.0).then(|| bytes / must), 3),
            ]);
        }
        table
    }

    fn saving(&self) -> Table {
        let mut table = Table::new(&[
            "saving (medians)",
            "saves",
            "state MB",
            "step ms",
            "lost ms a save",
            "until durable ms",
        ]);
        for runs in &self.measured {
            let Some(saves) = runs.saves() else { continue };
            table.row([
                runs.contender.title().to_owned(),
                saves.count.to_string(),
                figure(Some(saves.bytes as f64 / 1e6), 1),
                milliseconds(Some(saves.step)),
                milliseconds(Some(saves.lost)),
                milliseconds(Some(saves.durable)),
            ]);
        }
        table
    }

    /// Where the time of a step goes: the devices' batches one after the other, as this machine computes
    /// them, and the rest, beside what the bytes would take alone.
    fn bounds(&self) -> Table {
        let mut table = Table::new(&[
            "a step",
            "ms",
            "computing it here, ms",
            "the rest, ms",
            "a plain copy of its bytes, ms",
            "processors busy, %",
        ]);
        for runs in &self.measured {
            let Some(steps) = runs.steps() else { continue };
            let step = 1.0 / steps.per_second;
            let computing = self.local().map(|local| runs.contender.devices() as f64 / local.per_second);
            let bytes = runs.loopback_bytes_per_step(self.idle.unwrap_or_default());
            table.row([
                runs.contender.title().to_owned(),
                milliseconds(Some(step)),
                milliseconds(computing),
                milliseconds(computing.map(|computing| step - computing)),
                milliseconds(bytes.zip(self.bytes_per_second()).map(|(bytes, speed)| bytes.max(0.0) / speed)),
                figure(runs.busy().map(|busy| busy * 100.0), 0),
            ]);
        }
        table
    }

    fn copying(&self) -> Table {
        let mut table =
            Table::new(&["a plain TCP copy over the loopback interface", "MB", "median ms", "GB/s"]);
        table.row([
            "parameters there and gradients back".to_owned(),
            figure(Some(self.load.bytes_between_devices() as f64 / 1e6), 1),
            milliseconds(median(&self.copies)),
            figure(self.bytes_per_second().map(|speed| speed / 1e9), 2),
        ]);
        table
    }

    fn bytes_per_second(&self) -> Option<f64> {
        median(&self.copies).map(|seconds| self.load.bytes_between_devices() as f64 / seconds)
    }

    fn local(&self) -> Option<Steps> {
        self.measured.iter().find(|runs| runs.contender == Contender::Local)?.steps()
    }
}

fn milliseconds(seconds: Option<f64>) -> String {
    figure::milliseconds(seconds, 1)
}
