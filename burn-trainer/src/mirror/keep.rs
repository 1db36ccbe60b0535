//! Which checkpoints stay in the mirror: those that stay on disk, unless configured otherwise.

use std::path::{Path, PathBuf};

use burn::train::LearnerModel;
use burn_ckpt::RunLayout;
use burn_ckpt::mirror::{MirrorKeep, OUTSIDE_DIR};
use burn_ckpt::retention::{MetricMode, TopK};

use crate::callbacks::{CallbackContext, CallbackResult};
use crate::config::{MirrorConfig, TrainerConfig};
use crate::strategy::{MetricConfig, StrategyConfig};

/// The rules of the strategies before the metrics' full names are known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeepSettings {
    rules: Vec<Rule>,
    /// The directories of the program's own strategies. What these keep is not known.
    own: Vec<PathBuf>,
}

/// The rule of a strategy, for its directory.
#[derive(Debug, Clone, PartialEq)]
struct Rule {
    directory: PathBuf,
    keep: Keep,
}

#[derive(Debug, Clone, PartialEq)]
enum Keep {
    Newest(TopK),
    Best(MetricConfig, Option<MetricMode>, TopK),
}

impl KeepSettings {
    /// `own`: the directories of the program's own strategies.
    pub(super) fn new(mirror: &MirrorConfig, config: &TrainerConfig, own: &[PathBuf]) -> Self {
        let keep = |strategy: &StrategyConfig| match strategy {
            StrategyConfig::Best(best) => {
                let metric = best.metric.clone().or_else(|| config.primary_metric.clone())?;
                Some(Keep::Best(metric, best.mode, mirror.keep_best.unwrap_or(best.topk)))
            }
            StrategyConfig::Last(last) => Some(Keep::Newest(mirror.keep_last.unwrap_or(last.topk))),
            StrategyConfig::OnException(on_exception) => Some(Keep::Newest(on_exception.topk)),
        };
        let strategies = config.effective_strategies();
        let rule = |strategy: &StrategyConfig| {
            Some(Rule { directory: strategy.files().directory(), keep: keep(strategy)? })
        };
        Self { rules: strategies.iter().filter_map(rule).collect(), own: own.to_vec() }
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
        let mut keep = MirrorKeep::all();
        for (directory, rule) in self.by_directory(&RunLayout::at(&context.run().run_dir))? {
            keep = match rule {
                Keep::Newest(count) => keep.and_newest_in(directory, *count),
                Keep::Best(metric, mode, count) => {
                    let (name, own) = context.find_metric(&metric.name)?;
                    // The strategy needs it as well, and says if there is none.
                    let Some(mode) = mode.or(metric.mode).or(own) else { continue };
                    keep.and_best_in(directory, name, mode, *count)
                }
            };
        }
        Ok(keep)
    }

    /// The rules with their directories in the mirror. Where several strategies save in one directory, of
    /// which one keeps the newest, the names do not say what is whose: all of them stay.
    fn by_directory(&self, layout: &RunLayout) -> burn_ckpt::Result<Vec<(String, &Keep)>> {
        let own = self.own.iter().map(|directory| in_mirror(layout, directory));
        let own = own.collect::<burn_ckpt::Result<Vec<String>>>()?;
        let rules = self.rules.iter().map(|rule| Ok((in_mirror(layout, &rule.directory)?, &rule.keep)));
        let rules = rules.collect::<burn_ckpt::Result<Vec<(String, &Keep)>>>()?;
        let is_clear = |directory: &str| {
            let there: Vec<&Keep> =
                rules.iter().filter(|(other, _)| other == directory).map(|(_, keep)| *keep).collect();
            let has_newest = there.iter().any(|keep| matches!(keep, Keep::Newest(_)));
            !own.iter().any(|other| other == directory) && (there.len() == 1 || !has_newest)
        };
        Ok(rules.iter().filter(|(directory, _)| is_clear(directory)).cloned().collect())
    }
}

/// A strategy's directory in the mirror.
fn in_mirror(layout: &RunLayout, directory: &Path) -> burn_ckpt::Result<String> {
    let directory = layout.strategy_dir(directory)?;
    let below = directory.strip_prefix(layout.checkpoint_dir());
    Ok(below.map_or(OUTSIDE_DIR.to_owned(), |below| {
        below.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::{Best, Last, OnException};

    fn shown(mirror: &MirrorConfig, config: &TrainerConfig, own: &[PathBuf]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let layout = RunLayout::at(directory.path());
        let settings = KeepSettings::new(mirror, config, own);
        let rules = settings.by_directory(&layout).unwrap();
        let shown = rules.iter().map(|(directory, keep)| match keep {
            Keep::Newest(count) => format!("{directory}: newest {count:?}"),
            Keep::Best(metric, _, count) => format!("{directory}: best {} {count:?}", metric.name),
        });
        shown.collect()
    }

    fn config(strategies: impl IntoIterator<Item = StrategyConfig>) -> TrainerConfig {
        TrainerConfig::new().with_primary_metric("val_loss").with_strategies(strategies)
    }

    #[test]
    fn each_strategy_keeps_as_many_as_on_disk_unless_the_mirror_says_otherwise() {
        let config = config([
            StrategyConfig::Best(Best::new().with_topk(3)),
            StrategyConfig::Last(Last::new().with_topk(2)),
            StrategyConfig::Last(Last::new().with_dirpath("steps").with_topk(4)),
            StrategyConfig::OnException(OnException::new()),
        ]);
        let mirror = MirrorConfig::new("file:///mnt/disk");
        let as_on_disk = [
            "best: best val_loss Count(3)",
            "last: newest Count(2)",
            "steps: newest Count(4)",
            "on_exception: newest Count(3)",
        ];
        assert_eq!(shown(&mirror, &config, &[]), as_on_disk);
        assert_eq!(shown(&mirror, &config, &["own".into()]), as_on_disk);
        let other = mirror.with_keep_last(5).with_keep_best(TopK::All);
        assert_eq!(
            shown(&other, &config, &[]),
            [
                "best: best val_loss All",
                "last: newest Count(5)",
                "steps: newest Count(5)",
                "on_exception: newest Count(3)",
            ]
        );
    }

    #[test]
    fn all_stay_in_a_directory_of_several_strategies_of_which_one_keeps_the_newest() {
        let mirror = MirrorConfig::new("file:///mnt/disk");
        let best = |metric: &str| StrategyConfig::Best(Best::new().with_metric(metric));
        let last = |directory: &str| StrategyConfig::Last(Last::new().with_dirpath(directory));
        let two_best = config([best("val_loss"), best("val_acc"), last("last")]);
        assert_eq!(
            shown(&mirror, &two_best, &[]),
            ["best: best val_loss Count(1)", "best: best val_acc Count(1)", "last: newest Count(1)"]
        );
        assert_eq!(shown(&mirror, &config([best("val_loss"), last("best")]), &[]), [""; 0]);
        assert_eq!(
            shown(&mirror, &config([best("val_loss"), last("last")]), &["best".into()]),
            ["last: newest Count(1)"]
        );
        // Both are outside of the run, and in one directory of the mirror.
        let outside = [std::env::temp_dir().join("one"), std::env::temp_dir().join("two")];
        let outside = outside.map(|directory| last(&directory.display().to_string()));
        assert_eq!(shown(&mirror, &config(outside.clone()), &[]), [""; 0]);
        assert_eq!(shown(&mirror, &config([outside[0].clone()]), &[]), ["outside: newest Count(1)"]);
    }
}
