//! The curves of runs: what each has logged of the metrics that are drawn.

use std::collections::HashMap;

use burn_ckpt::metrics_log::Scope;
use burn_ckpt::metrics_log::csv::RowPlace;
use indexmap::{IndexMap, IndexSet};

use crate::metrics::names;
use crate::metrics::values::Values;
use crate::plot::find_metrics::{meant, quantity};
use crate::verb_result::Failure;

/// What curves are drawn along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Along {
    /// Optimizer steps
    Step,
    /// Epochs, counted from 0
    Epoch,
}

/// One value of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// `None` in a history that does not say it.
    pub step: Option<u64>,
    pub epoch: u64,
    pub value: f64,
}

impl Point {
    /// Where along the axis it is.
    pub fn at(&self, along: Along) -> f64 {
        match along {
            Along::Step => self.step.unwrap_or(self.epoch) as f64,
            Along::Epoch => self.epoch as f64,
        }
    }
}

/// The points of a metric of a run, in the order in which they were logged.
#[derive(Debug)]
pub struct Curve {
    pub run: String,
    pub metric: String,
    pub quantity: String,
    pub scope: Scope,
    pub points: Vec<Point>,
}

impl Curve {
    /// What it is of, with the run's name or without it.
    pub fn label(&self, names_run: bool) -> String {
        let run = if names_run { format!("{}: ", self.run) } else { String::new() };
        let batches = if self.scope == Scope::Batch { " (batches)" } else { "" };
        format!("{run}{}{batches}", self.metric)
    }
}

/// Everything that a run has logged.
#[derive(Debug)]
pub struct RunCurves {
    name: String,
    known: IndexSet<String>,
    of: HashMap<(String, Scope), Vec<Point>>,
}

impl RunCurves {
    pub fn new(name: String) -> Self {
        Self { name, known: IndexSet::new(), of: HashMap::new() }
    }

    /// # Errors
    ///
    /// For more metrics than a table has columns for.
    pub fn add(&mut self, values: Values) -> Result<(), Failure> {
        names::add(&mut self.known, &values)?;
        let Values { place: RowPlace { step, epoch, scope, .. }, metrics, .. } = values;
        for (name, value) in metrics {
            self.of.entry((name, scope)).or_default().push(Point { step, epoch, value });
        }
        Ok(())
    }

    /// The curve of a metric: that of the epochs or validations, or of the single batches.
    fn curve(&self, metric: &str, batches: bool, along: Along) -> Option<(Scope, &Vec<Point>)> {
        let of = |scope| Some((scope, self.of.get(&(metric.to_owned(), scope))?));
        let wholes = [Scope::Epoch, Scope::Validation].into_iter().find_map(of);
        let single = of(Scope::Batch);
        match (wholes, single) {
            (Some(_), Some(single)) if batches => Some(single),
            // A run of one epoch, or in its first one.
            (Some((_, points)), Some(single)) if points.len() < 2 && along == Along::Step => Some(single),
            (Some(wholes), _) => Some(wholes),
            (None, single) => single,
        }
    }
}

/// The curves that these words mean, those of one quantity after each other.
///
/// # Errors
///
/// For a word that none of the runs has a metric for, and for a metric without a value.
pub fn wanted(
    runs: &[RunCurves],
    words: &[String],
    batches: bool,
    along: Along,
) -> Result<Vec<Curve>, Failure> {
    let known: IndexSet<String> = runs.iter().flat_map(|run| run.known.iter().cloned()).collect();
    let mut found: IndexMap<(&str, usize), Curve> = IndexMap::new();
    for word in words {
        for metric in meant(word, &known)? {
            for (place, run) in runs.iter().enumerate() {
                let Some((scope, points)) = run.curve(metric, batches, along) else { continue };
                found.entry((metric, place)).or_insert_with(|| Curve {
                    run: run.name.clone(),
                    metric: metric.to_owned(),
                    quantity: quantity(metric, &known).to_owned(),
                    scope,
                    points: points.clone(),
                });
            }
        }
    }
    Ok(found.into_values().collect())
}
