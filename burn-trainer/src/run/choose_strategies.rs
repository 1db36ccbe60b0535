//! The strategies of a run: those of its configuration, with their metrics looked up, and the program's own.

mod read_at_end;

use burn_ckpt::plumbing::FilenameTemplate;
use burn_ckpt::retention::MetricMode;
use indexmap::IndexMap;

use crate::callbacks::registered::WatchedMetric;
use crate::config::{EarlyStopping, TrainerConfig, check_directory};
use crate::error::{Error, Result};
use crate::metrics::{MetricTable, is_of_validation};
use crate::process::console::warn;
use crate::saving::run_saves::NeededBy;
use crate::strategy::{
    Best, BestStrategy, LastStrategy, MetricConfig, OnExceptionStrategy, Strategy, StrategyConfig,
};

pub(super) use self::read_at_end::check as check_read_at_end;

/// The strategies of a run, and the metrics that must be logged: those that strategies rank or name
/// checkpoints by, and those that early stopping and callbacks look at.
pub(crate) struct ChosenStrategies {
    pub(crate) strategies: Vec<Box<dyn Strategy>>,
    pub(crate) needed_metrics: IndexMap<String, NeededBy>,
}

/// Warns of a configuration that saves nothing and does not say that it is meant so.
pub(crate) fn warn_if_nothing_is_saved(config: &TrainerConfig, has_own_strategies: bool) {
    let is_off = !config.checkpoint_saving || config.strategies.is_some() || !config.writes();
    if !is_off && !has_own_strategies && config.named_strategies().is_empty() {
        warn(
            "no checkpoint will be saved: set primary_metric (\"val_loss\"), last or on_exception. checkpoint_saving = \
             false says that it is meant so",
        );
    }
}

/// Looks up the metrics that the configuration names, and those that callbacks look at, and adds the
/// program's own strategies.
///
/// # Errors
///
/// [`Error::UnknownMetric`] for a metric that is not registered, [`Error::Config`] for a strategy without
/// metric or direction, and for one that needs a validation where there is none, [`Error::Checkpoint`] for a
/// file name that cannot be.
pub(crate) fn choose_strategies(
    config: &TrainerConfig,
    custom: Vec<Box<dyn Strategy>>,
    watched: &[WatchedMetric],
    metrics: &MetricTable,
) -> Result<ChosenStrategies> {
    let mut needed = IndexMap::new();
    if let Some(primary) = &config.primary_metric {
        // It need not be logged where nothing ranks by it.
        find(metrics, "primary_metric", &primary.name)?;
    }
    let strategies = named_strategies(config, custom, metrics, &mut needed)?;
    let names = metrics.names();
    for (setting, strategy) in &strategies {
        let Some(template) = strategy.output().filename else { continue };
        for metric in FilenameTemplate::parse(&template, &names)?.metrics() {
            need(&mut needed, metric.to_owned(), format!("{setting}.filename"), true);
        }
    }
    // Before what early stopping and callbacks need is added: that is checked elsewhere.
    check_validated(config, &needed)?;
    if let Some(EarlyStopping { metric, mode, .. }) = &config.early_stopping {
        let setting = "early_stopping.metric";
        let (name, stated) = find(metrics, setting, &metric.name)?;
        if mode.or(metric.mode).or(stated).is_none() {
            return Err(without_direction("early_stopping.mode", &name));
        }
        need(&mut needed, name, setting.to_owned(), false);
    }
    for WatchedMetric { callback, metric } in watched {
        let setting = format!("the callback {callback}");
        need(&mut needed, find(metrics, &setting, metric)?.0, setting, false);
    }
    let strategies = strategies.into_iter().map(|(_, strategy)| strategy).collect();
    Ok(ChosenStrategies { strategies, needed_metrics: needed })
}

/// The strategies with what errors call them. Notes the metrics that they rank by.
fn named_strategies(
    config: &TrainerConfig,
    custom: Vec<Box<dyn Strategy>>,
    metrics: &MetricTable,
    needed: &mut IndexMap<String, NeededBy>,
) -> Result<Vec<(String, Box<dyn Strategy>)>> {
    let mut strategies: Vec<(String, Box<dyn Strategy>)> = Vec::new();
    for (setting_of, strategy) in config.named_strategies() {
        let strategy: Box<dyn Strategy> = match strategy {
            StrategyConfig::Best(best) => {
                let Ranking { setting, metric, mode } =
                    ranking(&best, &setting_of, config.primary_metric.as_ref(), metrics)?;
                need(needed, metric.clone(), setting, true);
                Box::new(BestStrategy::new(best, metric, mode))
            }
            StrategyConfig::Last(last) => Box::new(LastStrategy::new(last)),
            StrategyConfig::OnException(config) => Box::new(OnExceptionStrategy::new(config)),
        };
        strategies.push((setting_of, strategy));
    }
    for strategy in custom.into_iter().filter(|_| config.checkpoint_saving) {
        let setting = format!("the strategy {}", strategy.name());
        check_directory(&format!("the directory of {setting}"), &strategy.output().directory)?;
        strategies.push((setting, strategy));
    }
    Ok(strategies)
}

fn need(needed: &mut IndexMap<String, NeededBy>, metric: String, setting: String, is_strategy: bool) {
    needed.entry(metric).or_insert(NeededBy { setting, is_strategy });
}

fn find(metrics: &MetricTable, setting: &str, name: &str) -> Result<(String, Option<MetricMode>)> {
    metrics.find(name).ok_or_else(|| Error::UnknownMetric {
        setting: setting.to_owned(),
        name: name.to_owned(),
        known: metrics.numeric_names(),
    })
}

/// Checks that the run validates, as far as the configuration says it, where a strategy needs that. What
/// settings name directly was checked before.
fn check_validated(config: &TrainerConfig, needed: &IndexMap<String, NeededBy>) -> Result<()> {
    let why = match config.never_validates() {
        _ if config.leaves_validation_out() => "limit_valid_batches leaves validation out".to_owned(),
        Some(never) => format!("the run would never validate: {never}"),
        None => return Ok(()),
    };
    match needed.iter().find(|(name, _)| is_of_validation(name)) {
        Some((name, NeededBy { setting, .. })) => {
            let reason = format!("it names the metric {name}, and {why}. Take a metric of the training");
            Err(Error::config(setting.clone(), reason))
        }
        None => Ok(()),
    }
}

fn without_direction(setting: &str, metric: &str) -> Error {
    let reason = format!("{metric} does not say whether higher or lower is better; set \"min\" or \"max\"");
    Error::config(setting, reason)
}

/// By what a strategy ranks.
struct Ranking {
    /// What names the metric.
    setting: String,
    metric: String,
    mode: MetricMode,
}

/// The metric by which a strategy ranks, and its direction: its own, or else those of `primary_metric`. A
/// direction that no setting states is the one that the metric itself states.
fn ranking(
    best: &Best,
    setting_of: &str,
    primary: Option<&MetricConfig>,
    metrics: &MetricTable,
) -> Result<Ranking> {
    let setting = format!("{setting_of}.metric");
    let (setting, metric) = match (&best.metric, primary) {
        (Some(metric), _) => (setting, metric),
        (None, Some(metric)) => ("primary_metric".to_owned(), metric),
        (None, None) => return Err(Error::config(setting, "neither it nor primary_metric is set")),
    };
    let (name, stated) = find(metrics, &setting, &metric.name)?;
    match best.mode.or(metric.mode).or(stated) {
        Some(mode) => Ok(Ranking { setting, metric: name, mode }),
        None => Err(without_direction(&format!("{setting_of}.mode"), &name)),
    }
}
