//! Which strategies a run has: those of its configuration, with their metrics looked up, and the user's own.

use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::metrics::MetricTable;
use crate::strategy::{BestStrategy, LastStrategy, OnExceptionStrategy, Strategy, StrategyConfig};

/// The strategies of a run, and the metrics that have to show up.
pub(crate) struct Chosen {
    pub(crate) strategies: Vec<Box<dyn Strategy>>,
    pub(crate) watched: Vec<String>,
}

/// The strategies of the configuration, with their metrics looked up, and the user's own.
pub(crate) fn chosen_strategies(
    config: &TrainerConfig,
    custom: Vec<Box<dyn Strategy>>,
    metrics: &MetricTable,
) -> Result<Chosen> {
    let find = |setting: &str, name: &str| {
        metrics.find(name).ok_or_else(|| Error::UnknownMetric {
            setting: setting.to_owned(),
            name: name.to_owned(),
            known: metrics.names(),
        })
    };
    let mut strategies: Vec<Box<dyn Strategy>> = Vec::new();
    let mut watched = Vec::new();
    if let Some(primary) = &config.primary_metric {
        watched.push(find("primary_metric", &primary.name)?.0);
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
                watched.push(metric.clone());
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
    Ok(Chosen { strategies, watched })
}
