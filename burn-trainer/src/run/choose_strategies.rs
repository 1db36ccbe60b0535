//! The strategies of a run: those of its configuration, with their metrics looked up, and the program's own.

mod read_at_end;

use burn_ckpt::plumbing::FilenameTemplate;
use burn_ckpt::retention::MetricMode;
use indexmap::IndexSet;

use crate::config::{TrainerConfig, check_directory};
use crate::error::{Error, Result};
use crate::metrics::MetricTable;
use crate::process::console::warn;
use crate::strategy::{
    Best, BestStrategy, LastStrategy, MetricConfig, OnExceptionStrategy, Strategy, StrategyConfig,
};

pub(super) use self::read_at_end::check as check_read_at_end;

/// The strategies of a run, and the metrics that they rank or name checkpoints by, which must be logged.
pub(crate) struct ChosenStrategies {
    pub(crate) strategies: Vec<Box<dyn Strategy>>,
    pub(crate) needed_metrics: IndexSet<String>,
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

/// Looks up the metrics of the configuration's strategies, and adds the program's own strategies.
///
/// # Errors
///
/// [`Error::UnknownMetric`] for a metric that is not registered, [`Error::Config`] for a strategy without
/// metric or direction, [`Error::Checkpoint`] for a file name that cannot be.
pub(crate) fn choose_strategies(
    config: &TrainerConfig,
    custom: Vec<Box<dyn Strategy>>,
    metrics: &MetricTable,
) -> Result<ChosenStrategies> {
    let find = |setting: &str, name: &str| {
        metrics.find(name).ok_or_else(|| Error::UnknownMetric {
            setting: setting.to_owned(),
            name: name.to_owned(),
            known: metrics.numeric_names(),
        })
    };
    let mut strategies: Vec<Box<dyn Strategy>> = Vec::new();
    let mut needed_metrics = IndexSet::new();
    if let Some(primary) = &config.primary_metric {
        needed_metrics.insert(find("primary_metric", &primary.name)?.0);
    }
    for (setting_of, strategy) in config.named_strategies() {
        match strategy {
            StrategyConfig::Best(best) => {
                let (metric, mode) = ranking(&best, &setting_of, config.primary_metric.as_ref(), find)?;
                needed_metrics.insert(metric.clone());
                strategies.push(Box::new(BestStrategy::new(best, metric, mode)));
            }
            StrategyConfig::Last(last) => strategies.push(Box::new(LastStrategy::new(last))),
            StrategyConfig::OnException(config) => {
                strategies.push(Box::new(OnExceptionStrategy::new(config)))
            }
        }
    }
    if config.checkpoint_saving {
        for strategy in custom {
            check_directory(
                &format!("the directory of the strategy {}", strategy.name()),
                &strategy.output().directory,
            )?;
            strategies.push(strategy);
        }
    }
    let names = metrics.names();
    for template in strategies.iter().filter_map(|strategy| strategy.output().filename) {
        needed_metrics.extend(FilenameTemplate::parse(&template, &names)?.metrics().map(str::to_owned));
    }
    Ok(ChosenStrategies { strategies, needed_metrics })
}

/// The metric by which a strategy ranks, and its direction: its own, or else those of `primary_metric`. A
/// direction that no setting states is the one that the metric itself states.
fn ranking(
    best: &Best,
    setting_of: &str,
    primary: Option<&MetricConfig>,
    find: impl Fn(&str, &str) -> Result<(String, Option<MetricMode>)>,
) -> Result<(String, MetricMode)> {
    let setting = format!("{setting_of}.metric");
    let (setting, metric) = match (&best.metric, primary) {
        (Some(metric), _) => (setting.as_str(), metric),
        (None, Some(metric)) => ("primary_metric", metric),
        (None, None) => return Err(Error::config(setting, "neither it nor primary_metric is set")),
    };
    let (name, stated) = find(setting, &metric.name)?;
    match best.mode.or(metric.mode).or(stated) {
        Some(mode) => Ok((name, mode)),
        None => {
            let reason =
                format!("{name} does not say whether higher or lower is better; set \"min\" or \"max\"");
            Err(Error::config(format!("{setting_of}.mode"), reason))
        }
    }
}
