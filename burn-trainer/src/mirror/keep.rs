//! Which checkpoints stay in the mirror: as many as on disk, unless configured otherwise.

use burn::train::LearnerModel;
use burn_ckpt::mirror::MirrorKeep;
use burn_ckpt::retention::{MetricMode, TopK};

use crate::callbacks::{CallbackContext, CallbackResult};
use crate::config::{MirrorConfig, TrainerConfig};
use crate::strategy::{MetricConfig, StrategyConfig};

/// A rule before the metrics' full names are known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeepSettings {
    last: TopK,
    best: Vec<(MetricConfig, Option<MetricMode>, TopK)>,
}

impl KeepSettings {
    /// `has_own`: the program has strategies of its own, and what these keep is not known.
    pub(super) fn new(mirror: &MirrorConfig, config: &TrainerConfig, has_own: bool) -> Self {
        let strategies = config.effective_strategies();
        let counts = strategies.iter().filter_map(|strategy| match strategy {
            StrategyConfig::Last(last) => Some(last.topk),
            _ => None,
        });
        let last = if has_own { TopK::All } else { counts.fold(1.into(), larger) };
        let best = strategies.iter().filter_map(|strategy| match strategy {
            StrategyConfig::Best(best) => {
                let metric = best.metric.clone().or_else(|| config.primary_metric.clone())?;
                Some((metric, best.mode, mirror.keep_best.unwrap_or(best.topk)))
            }
            _ => None,
        });
        Self { last: mirror.keep_last.unwrap_or(last), best: best.collect() }
    }

    /// The rule, with the full names of the metrics.
    ///
    /// # Errors
    ///
    /// For a name that no metric has.
    pub(super) fn rule<M: LearnerModel>(
        &self,
        context: &CallbackContext<'_, M>,
    ) -> CallbackResult<MirrorKeep> {
        let mut keep = MirrorKeep::last(self.last);
        for (metric, mode, count) in &self.best {
            let (name, own) = context.find_metric(&metric.name)?;
            // The strategy needs it as well, and says if there is none.
            let Some(mode) = mode.or(metric.mode).or(own) else { continue };
            keep = keep.and_best(name, mode, *count);
        }
        Ok(keep)
    }
}

fn larger(one: TopK, other: TopK) -> TopK {
    match (one, other) {
        (TopK::Count(one), TopK::Count(other)) => TopK::Count(one.max(other)),
        _ => TopK::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::{Best, Last};

    #[test]
    fn as_many_stay_as_on_disk_unless_the_mirror_says_otherwise() {
        let config = TrainerConfig::new().with_primary_metric("val_loss");
        let config = config.with_best(Best::new().with_topk(3)).with_last(Last::new().with_topk(2));
        let mirror = MirrorConfig::new("file:///mnt/disk");
        let counts = |mirror: &MirrorConfig, has_own| {
            let settings = KeepSettings::new(mirror, &config, has_own);
            (settings.last, settings.best.iter().map(|(_, _, count)| *count).collect::<Vec<_>>())
        };
        assert_eq!(counts(&mirror, false), (2.into(), vec![3.into()]));
        assert_eq!(counts(&mirror, true), (TopK::All, vec![3.into()]));
        let other = mirror.with_keep_last(5).with_keep_best(TopK::All);
        assert_eq!(counts(&other, true), (5.into(), vec![TopK::All]));
    }
}
