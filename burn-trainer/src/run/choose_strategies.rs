//! The strategies of a run: those of its configuration, with their metrics looked up, and the program's own.

use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::metrics::MetricTable;
use crate::strategy::{BestStrategy, LastStrategy, OnExceptionStrategy, Strategy, StrategyConfig};

/// The strategies of a run, and the metrics that they rank by, which must be logged.
pub(crate) struct ChosenStrategies {
    pub(crate) strategies: Vec<Box<dyn Strategy>>,
    pub(crate) ranking_metrics: Vec<String>,
}

/// Looks up the metrics of the configuration's strategies, and adds the program's own strategies.
///
/// # Errors
///
/// [`Error::UnknownMetric`] for a metric that is not registered, [`Error::Config`] for a strategy without metric or direction.
pub(crate) fn choose_strategies(
    config: &TrainerConfig,
    custom: Vec<Box<dyn Strategy>>,
    metrics: &MetricTable,
) -> Result<ChosenStrategies> {
    let find = |setting: &str, name: &str| {
        metrics.find(name).ok_or_else(|| Error::UnknownMetric {
            setting: setting.to_owned(),
            name: name.to_owned(),
            known: metrics.names(),
        })
    };
    let mut strategies: Vec<Box<dyn Strategy>> = Vec::new();
    let mut ranking_metrics = Vec::new();
    if let Some(primary) = &config.primary_metric {
        ranking_metrics.push(find("primary_metric", &primary.name)?.0);
    }
    for (setting_of, strategy) in config.named_strategies() {
        match strategy {
            StrategyConfig::Best(best) => {
                let setting = format!("{setting_of}.metric");
                let (setting, metric) = match (&best.metric, &config.primary_metric) {
                    (Some(metric), _) => (setting.as_str(), metric.clone()),
                    (None, Some(metric)) => ("primary_metric", metric.clone()),
                    (None, None) => {
                        return Err(Error::config(setting, "neither it nor primary_metric is set"));
                    }
                };
                let chosen = best.mode.or(metric.mode);
                let (metric, stated) = find(setting, &metric.name)?;
                let Some(mode) = chosen.or(stated) else {
                    let reason = format!(
                        "{metric} does not say whether higher or lower is better; set \"min\" or \"max\""
                    );
                    return Err(Error::config(format!("{setting_of}.mode"), reason));
                };
                ranking_metrics.push(metric.clone());
                strategies.push(Box::new(BestStrategy::new(best, metric, mode)));
            }
            StrategyConfig::Last(last) => strategies.push(Box::new(LastStrategy::new(last))),
            StrategyConfig::OnException(config) => {
                strategies.push(Box::new(OnExceptionStrategy::new(config)))
            }
        }
    }
    if config.checkpoint_saving {
        strategies.extend(custom);
    }
    Ok(ChosenStrategies { strategies, ranking_metrics })
}
