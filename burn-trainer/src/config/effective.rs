//! What follows from a configuration: the strategies that apply, and the values that the trainer fills in.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::batch_limit::{BatchLimit, TrainLimits};
use crate::config::early_stopping::EarlyStopping;
use crate::config::trainer_config::TrainerConfig;
use crate::config::validate_at_start::ValidateAtStart;
use crate::config::validation::Validation;
use crate::process::launcher;
use crate::strategy::{Best, DEFAULT_TIMEOUT_SECONDS, Last, MetricConfig, OnException, StrategyConfig};

/// Fields of the configuration that say where a run is, what it resumes and what it shows. They differ
/// between two starts of one run.
pub(crate) const OF_THE_START: [&str; 7] =
    ["run_id", "root", "logs", "ckpt_path", "overwrite", "rank", "progress"];

impl TrainerConfig {
    /// Whether this process writes checkpoints and metric files: not if `rank` is set, to another one than 0.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.rank.is_none_or(|rank| rank == 0)
    }

    /// The strategies that apply: `strategies` if given, else best, last and on-exception as far as they are
    /// on.
    #[must_use]
    pub fn effective_strategies(&self) -> Vec<StrategyConfig> {
        self.named_strategies().into_iter().map(|(_, strategy)| strategy).collect()
    }

    /// The same, each with the name that it has in the configuration: `best`, `strategies.0`.
    pub(crate) fn named_strategies(&self) -> Vec<(String, StrategyConfig)> {
        if !self.checkpoint_saving {
            return Vec::new();
        }
        if let Some(strategies) = &self.strategies {
            let named = strategies.iter().enumerate();
            return named.map(|(position, it)| (format!("strategies.{position}"), it.clone())).collect();
        }
        let is_on = self.primary_metric.is_some();
        let best = self.best.clone().or_else(|| is_on.then(Best::default)).map(StrategyConfig::Best);
        let last = self.last.clone().or_else(|| is_on.then(Last::default)).map(StrategyConfig::Last);
        let on_exception = self.on_exception.clone().or_else(|| is_on.then(OnException::default));
        let all =
            [("best", best), ("last", last), ("on_exception", on_exception.map(StrategyConfig::OnException))];
        all.into_iter().filter_map(|(name, strategy)| Some((name.to_owned(), strategy?))).collect()
    }

    /// Which batches of an epoch the run trains on.
    pub(crate) fn train_limits(&self) -> TrainLimits {
        TrainLimits { train: self.limit_train_batches, overfit: self.overfit_batches }
    }

    /// The metric that "best" refers to: the primary one, or else that of the first strategy of the
    /// configuration that ranks. Where there is none of these, strategies of the program may rank by the
    /// primary one. `full_name` gives that of a name as it is written.
    pub(crate) fn best_metric(&self, full_name: impl Fn(&str) -> Option<String>) -> Option<String> {
        let primary = self.primary_metric.as_ref();
        let strategies = self.effective_strategies();
        let ranked: Vec<String> = { strategies.iter() }
            .filter_map(|strategy| match strategy {
                StrategyConfig::Best(best) => full_name(&best.metric.as_ref().or(primary)?.name),
                _ => None,
            })
            .collect();
        let primary = primary.and_then(|metric| full_name(&metric.name));
        primary
            .filter(|name| ranked.is_empty() || ranked.contains(name))
            .or_else(|| ranked.into_iter().next())
    }

    /// The same configuration with its strategies spelled out, as it stands in the metadata.
    pub(crate) fn spelled_out(&self) -> Self {
        let mut strategies = self.effective_strategies();
        for strategy in &mut strategies {
            if let StrategyConfig::Best(best) = strategy {
                let metric = best.metric.take().or_else(|| self.primary_metric.clone());
                best.mode = best.mode.or_else(|| metric.as_ref()?.mode);
                best.metric = metric.map(|metric| MetricConfig::new(metric.name));
            }
        }
        let early_stopping = self.early_stopping.clone().map(|settings| EarlyStopping {
            mode: settings.mode.or(settings.metric.mode),
            metric: MetricConfig::new(settings.metric.name),
            ..settings
        });
        let primary_metric = self.primary_metric.clone().map(|metric| MetricConfig::new(metric.name));
        let strategies = Some(strategies);
        let (best, last, on_exception) = (None, None, None);
        Self { primary_metric, best, last, on_exception, strategies, early_stopping, ..self.clone() }
    }

    /// Fills in the run's id where none is given, and under `slurm_requeue` the settings that make a requeued
    /// job resume.
    pub(crate) fn fill_in(&mut self, start: Timestamp) {
        let job = self.slurm_requeue.then(launcher::slurm_job).flatten();
        if job.is_some() {
            self.ckpt_path.get_or_insert_with(|| "auto".to_owned());
        }
        if self.run_id.is_none() {
            self.run_id_is_generated = job.is_none();
            self.run_id = Some(
                job.map_or_else(|| made_up_id(start), |job| run_id_of_job(&job, launcher::rank_in_job())),
            );
        }
    }

    /// A setting that only the trainer's own loop has, by its name, if one is used.
    pub(crate) fn setting_of_own_loop(&self) -> Option<&'static str> {
        let settings = [
            ("fast_dev_run", self.fast_dev_run),
            ("early_stopping", self.early_stopping.is_some()),
            ("max_steps", self.max_steps.is_some()),
            ("max_time", self.max_time.is_some()),
            ("limit_train_batches", self.limit_train_batches.is_some()),
            ("limit_valid_batches", self.limit_valid_batches.is_some()),
            ("overfit_batches", self.overfit_batches.is_some()),
            ("min_epochs", self.min_epochs > 0),
            ("min_steps", self.min_steps > 0),
            ("validate_at_start", self.validate_at_start != ValidateAtStart::Off),
            ("keep_effective_batch", self.keep_effective_batch),
            ("trackers", !self.trackers.is_empty()),
            ("mirror", self.mirror.is_some()),
            ("validation", self.validation != Validation::default()),
        ];
        settings.into_iter().find_map(|(name, is_set)| is_set.then_some(name))
    }

    /// Has the newest state saved at the end of each epoch, in another loop than the trainer's: it can be
    /// saved nowhere else there, and nothing says that the run ends.
    pub(crate) fn save_last_of_each_epoch(&mut self) {
        let of_list = self.strategies.iter_mut().flatten().filter_map(|strategy| match strategy {
            StrategyConfig::Last(last) => Some(last),
            StrategyConfig::Best(_) | StrategyConfig::OnException(_) => None,
        });
        self.last.iter_mut().chain(of_list).for_each(|last| last.every_epoch = true);
    }

    /// The settings that another loop than the trainer's does not have, and that are without effect there: it
    /// saves at the end of each epoch, and after a failure nothing. The strategy for failures that
    /// `primary_metric` turns on is not among them.
    pub(crate) fn without_effect_in_other_loops(&self) -> Vec<String> {
        let is_given = |name: &str| name != "on_exception" || self.on_exception.is_some();
        let named = self.named_strategies().into_iter().filter(|(name, _)| is_given(name));
        let settings = named.flat_map(|(name, strategy)| match strategy {
            StrategyConfig::Last(last) => {
                let of_steps = [
                    ("every_epoch", !last.every_epoch),
                    ("every_n_steps", last.every_n_steps.is_some()),
                    ("save_on_time_interval", last.save_on_time_interval.is_some()),
                ];
                let set = of_steps.into_iter().filter(|(_, is_set)| *is_set);
                set.map(|(field, _)| format!("{name}.{field}")).collect()
            }
            StrategyConfig::OnException(_) if name == "on_exception" => vec![name],
            StrategyConfig::OnException(_) => vec![format!("{name} (on_exception)")],
            StrategyConfig::Best(_) => Vec::new(),
        });
        settings.collect()
    }

    /// Whether a setting excludes each validation.
    pub(crate) fn leaves_validation_out(&self) -> bool {
        self.limit_valid_batches.is_some_and(BatchLimit::is_zero)
    }

    /// The settings of a validation that have no effect, as there is none.
    pub(crate) fn unused_validation_settings(&self) -> Vec<&'static str> {
        let set = [
            ("validate_at_start", self.validate_at_start != ValidateAtStart::Off),
            ("validation", self.validation != Validation::default()),
        ];
        let set = set.into_iter().filter(|(_, is_set)| *is_set && self.leaves_validation_out());
        set.map(|(setting, _)| setting).collect()
    }

    /// Whether a strategy of the configuration saves the state before a failure.
    pub(crate) fn saves_exceptions(&self) -> bool {
        self.effective_strategies().iter().any(|strategy| matches!(strategy, StrategyConfig::OnException(_)))
    }

    /// The longest that the save of a failure may take by any of the strategies.
    pub(crate) fn exception_timeout(&self) -> Duration {
        let seconds = self.effective_strategies().into_iter().filter_map(|strategy| match strategy {
            StrategyConfig::OnException(config) => Some(config.timeout_seconds),
            _ => None,
        });
        // Also without such a strategy: what was handed over before the failure is still to be written.
        let seconds = seconds.reduce(f64::max).unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// How long a device of another machine may take to answer.
    pub(crate) fn device_timeout(&self) -> Duration {
        Duration::try_from_secs_f64(self.device_timeout_seconds).unwrap_or(Duration::MAX)
    }
}

/// `slurm-42`, or `slurm-42-3` for the process of rank 3 in a job of several: each has a run of its own.
fn run_id_of_job(job: &str, rank: Option<u64>) -> String {
    match rank.filter(|rank| *rank > 0) {
        Some(rank) => format!("slurm-{job}-{rank}"),
        None => format!("slurm-{job}"),
    }
}

/// `2024-01-15T10-30-00-3f2a`: sorts by time, and two started in one second differ.
fn made_up_id(start: Timestamp) -> String {
    let mixed = start.subsec_nanosecond().cast_unsigned() ^ std::process::id().wrapping_mul(0x9E37_79B9);
    format!("{}-{:04x}", start.strftime("%Y-%m-%dT%H-%M-%S"), (mixed ^ (mixed >> 16)) & 0xFFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(config: &TrainerConfig) -> Vec<String> {
        config.named_strategies().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn adjusting_one_strategy_leaves_the_others_on() {
        let config = TrainerConfig::new().with_primary_metric("val_loss").with_best(Best::new().with_topk(3));
        assert_eq!(kinds(&config), ["best", "last", "on_exception"]);
        let StrategyConfig::Best(best) = &config.effective_strategies()[0] else { panic!("not best") };
        assert_eq!(best.topk, 3.into());
    }

    #[test]
    fn each_setting_is_of_the_result_or_named_as_one_that_is_not() {
        use burn_ckpt::plumbing::{NAMES_AND_PLACES, NOT_OF_THE_RESULT, STRATEGY_KINDS, is_of_result};
        let json = serde_json::to_value(TrainerConfig::new().spelled_out()).unwrap();
        let fields = json.as_object().unwrap().keys().map(String::as_str);
        let settings: Vec<&str> = fields.chain(STRATEGY_KINDS).collect();
        for named in NAMES_AND_PLACES.iter().chain(&NOT_OF_THE_RESULT) {
            assert!(settings.contains(named), "there is no setting {named}");
        }
        let of_result: Vec<&str> = settings.into_iter().filter(|setting| is_of_result(setting)).collect();
        let expected = [
            "primary_metric",
            "min_epochs",
            "min_steps",
            "early_stopping",
            "max_steps",
            "max_time",
            "limit_train_batches",
            "limit_valid_batches",
            "overfit_batches",
            "fast_dev_run",
            "validation",
            "validate_at_start",
            "seed",
            "init_from",
            "keep_effective_batch",
            "gradient_checkpointing",
        ];
        assert_eq!(of_result, expected);
    }

    #[test]
    fn a_list_replaces_the_three_and_an_empty_one_saves_nothing() {
        let config = |json: &str| serde_json::from_str::<TrainerConfig>(json).unwrap();
        let primary = r#""primary_metric": "val_loss""#;
        assert_eq!(kinds(&config(&format!("{{{primary}}}"))).len(), 3);
        assert!(kinds(&config(&format!("{{{primary}, \"strategies\": []}}"))).is_empty());
        let one = format!("{{{primary}, \"strategies\": [{{\"kind\": \"last\"}}]}}");
        assert_eq!(kinds(&config(&one)), ["strategies.0"]);
        assert!(kinds(&config("{}")).is_empty());
        assert_eq!(kinds(&config(r#"{"last": {}}"#)), ["last"], "given without a primary metric");
    }

    #[test]
    fn a_metric_is_a_name_or_a_name_with_a_mode_and_the_metadata_spells_it_out() {
        let json = r#"{"primary_metric": {"name": "val_acc", "mode": "max"}}"#;
        let config: TrainerConfig = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_value(&config).unwrap()["primary_metric"]["mode"], "max");
        let described = serde_json::to_value(config.spelled_out()).unwrap();
        assert_eq!(described["primary_metric"], "val_acc");
        assert_eq!(described["strategies"][0]["metric"], "val_acc");
        assert_eq!(described["strategies"][0]["mode"], "max");
    }
}
