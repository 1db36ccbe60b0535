//! What is wrong with a configuration, as far as it shows before metrics, data and files are known.

use std::path::Path;

use burn_ckpt::chain;
use burn_ckpt::plumbing::{check_label, check_notes, check_number_of_tags, check_tag};

use crate::config::trainer_config::{EndWith, TrainerConfig};
use crate::config::validate_at_start::ValidateAtStart;
use crate::config::validation::NeverDue;
use crate::config::{mirror, report};
use crate::error::{Error, Result};
use crate::metrics::MAX_EPOCHS;
use crate::strategy::{Last, MAX_TIMEOUT_SECONDS, StrategyConfig};

/// The names of the trackers, each with whether its feature of the same name is on.
const TRACKERS: [(&str, bool); 3] = [
    ("csv", cfg!(feature = "csv")),
    ("mlflow", cfg!(feature = "mlflow")),
    ("tensorboard", cfg!(feature = "tensorboard")),
];

impl TrainerConfig {
    /// Checks what can be checked before anything is made.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the first setting that cannot be used.
    pub(crate) fn check(&self) -> Result<()> {
        check_timeout("device_timeout_seconds", self.device_timeout_seconds)?;
        let wait = std::time::Duration::try_from_secs_f64(self.trackers_wait_seconds);
        if wait.is_err() {
            let reason = format!("{} is not a number of seconds", self.trackers_wait_seconds);
            return Err(Error::config("trackers_wait_seconds", reason));
        }
        if !(1..=MAX_EPOCHS).contains(&self.max_epochs) {
            let reason = format!("{} is not a number of epochs from 1 to {MAX_EPOCHS}", self.max_epochs);
            return Err(Error::config("max_epochs", reason));
        }
        if self.slurm_requeue && !self.handle_signals {
            let reason = "Slurm tells by a signal that the time is up, and handle_signals is off: leave out one of the two";
            return Err(Error::config("slurm_requeue", reason));
        }
        if self.max_file_bytes == Some(0) {
            return Err(Error::config("max_file_bytes", "no file has 0 bytes: leave it out for 100 GiB"));
        }
        report::check(self.report, cfg!(feature = "report"))?;
        if let Some(mirror) = &self.mirror {
            mirror.check(cfg!(feature = "mirror"))?;
        }
        if let Some(early_stopping) = &self.early_stopping {
            early_stopping.check()?;
        }
        self.check_limits()?;
        self.check_validation()?;
        check_directory("root", &self.root)?;
        check_directory("logs", Path::new(&self.logs))?;
        check_trackers(&self.trackers)?;
        if let Some(init_from) = &self.init_from {
            init_from.options().map_err(|reason| Error::config("init_from.remap", reason))?;
            // It can be an address: nothing is written there.
            check_path("init_from", &init_from.checkpoint)?;
        }
        let ckpt_path = self.ckpt_path.as_deref().unwrap_or_default();
        mirror::reject_address("ckpt_path", ckpt_path)?;
        check_home("ckpt_path", Path::new(ckpt_path))?;
        let adjusted = [
            ("best", self.best.is_some()),
            ("last", self.last.is_some()),
            ("on_exception", self.on_exception.is_some()),
        ];
        if let (Some(_), Some((name, _))) = (&self.strategies, adjusted.iter().find(|(_, given)| *given)) {
            let reason = format!(
                "it replaces all three strategies, so that {name} has no effect: leave out one of the two"
            );
            return Err(Error::config("strategies", reason));
        }
        for (name, strategy) in self.named_strategies() {
            self.check_strategy(&name, &strategy)?;
        }
        self.check_end()?;
        self.check_words()
    }

    /// Each checkpoint carries these texts, and a terminal shows them. The rules are those of `burn-ckpt
    /// tag`.
    fn check_words(&self) -> Result<()> {
        let wrong = |setting: &'static str| move |error| Error::config(setting, chain(&error));
        for (setting, label) in [("name", &self.name), ("project", &self.project)] {
            label.iter().try_for_each(|label| check_label("the text", label)).map_err(wrong(setting))?;
        }
        check_number_of_tags(self.tags.len()).map_err(wrong("tags"))?;
        self.tags.iter().try_for_each(|tag| check_tag(tag)).map_err(wrong("tags"))?;
        check_notes(self.notes.as_deref().unwrap_or_default()).map_err(wrong("notes"))
    }

    fn check_end(&self) -> Result<()> {
        let saves_best = |strategy: &StrategyConfig| matches!(strategy, StrategyConfig::Best(_));
        if self.end_with == EndWith::Best && !self.effective_strategies().iter().any(saves_best) {
            let reason = "it is \"best\", and no strategy saves best checkpoints: set primary_metric, or end_with to \"last\"";
            return Err(Error::config("end_with", reason));
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<()> {
        let wrong = |setting: &str, reason: String| Err(Error::config(setting, reason));
        if self.min_epochs > self.max_epochs {
            let (min, max) = (self.min_epochs, self.max_epochs);
            return wrong("min_epochs", format!("{min} is more than max_epochs, which is {max}"));
        }
        if let Some(max) = self.max_steps.filter(|max| self.min_steps > *max) {
            return wrong("min_steps", format!("{} is more than max_steps, which is {max}", self.min_steps));
        }
        if self.max_steps == Some(0) {
            return wrong("max_steps", "it must be above 0".to_owned());
        }
        if self.max_time.is_some_and(|time| time.0.is_zero()) {
            return wrong("max_time", "it must be above 0".to_owned());
        }
        let limits = [
            ("limit_train_batches", self.limit_train_batches),
            ("limit_valid_batches", self.limit_valid_batches),
            ("overfit_batches", self.overfit_batches),
        ];
        for (setting, limit) in limits {
            let Some(limit) = limit else { continue };
            if let Some(reason) = limit.wrong() {
                return wrong(setting, reason);
            }
            if limit.is_zero() && setting != "limit_valid_batches" {
                return wrong(setting, "it must be above 0: there would be nothing to train on".to_owned());
            }
            if self.overfit_batches.is_some() && setting != "overfit_batches" {
                return wrong(setting, "overfit_batches sets it: leave out one of the two".to_owned());
            }
        }
        if self.leaves_validation_out()
            && let Some(metric) = self.metric_of_validation()
        {
            let reason = format!(
                "it leaves validation out, and a strategy or early stopping looks at {metric}: take a metric of the training, or \
                 validate on some batches"
            );
            return wrong("limit_valid_batches", reason);
        }
        Ok(())
    }

    fn check_validation(&self) -> Result<()> {
        if let Some((setting, reason)) = self.validation.wrong() {
            return Err(Error::config(setting, reason));
        }
        if self.validate_at_start == ValidateAtStart::Batches(0) {
            return Err(Error::config(
                "validate_at_start",
                "it must be true, false, or a number of batches above 0",
            ));
        }
        match (self.never_validates(), self.metric_of_validation()) {
            (Some(never), Some(metric)) => {
                let NeverDue { field, value, limit, max } = never;
                let reason = format!(
                    "it is {value}, and {limit} is {max}: the run would never validate, and a strategy or early stopping looks at \
                     {metric}"
                );
                Err(Error::config(format!("validation.{field}"), reason))
            }
            _ => Ok(()),
        }
    }

    /// That the run ends before its first validation, as far as the configuration says it. One that validates
    /// the state that it begins with does not.
    pub(crate) fn never_validates(&self) -> Option<NeverDue> {
        let never = self.validation.never_due(self.max_epochs as u64, self.max_steps, self.max_time);
        never.filter(|_| self.validate_at_start != ValidateAtStart::Whole)
    }

    /// A metric of the validation that a strategy or early stopping looks at, as it is written.
    fn metric_of_validation(&self) -> Option<String> {
        self.metrics_of_strategies().into_iter().find(|name| name.to_lowercase().starts_with("val"))
    }

    /// The metrics that strategies and early stopping look at, as they are written.
    fn metrics_of_strategies(&self) -> Vec<String> {
        let best = self.effective_strategies().into_iter().filter_map(|strategy| match strategy {
            StrategyConfig::Best(best) => best.metric.or_else(|| self.primary_metric.clone()),
            _ => None,
        });
        let early_stopping = self.early_stopping.iter().map(|settings| settings.metric.clone());
        best.chain(early_stopping).map(|metric| metric.name).collect()
    }

    fn check_strategy(&self, name: &str, strategy: &StrategyConfig) -> Result<()> {
        let wrong = |field: &str, reason: &str| Err(Error::config(format!("{name}.{field}"), reason));
        let files = strategy.files();
        if files.topk.is_zero() {
            return wrong("topk", "it must be above 0, or \"all\"");
        }
        if let Some(dirpath) = files.dirpath {
            let setting = format!("{name}.dirpath");
            check_directory(&setting, dirpath)?;
            if self.mirror.is_some() {
                mirror::check_mirrored_directory(&setting, dirpath)?;
            }
        }
        match strategy {
            StrategyConfig::Best(best) if best.metric.is_none() && self.primary_metric.is_none() => {
                wrong("metric", "it is not set, and neither is primary_metric")
            }
            StrategyConfig::Last(last) => match wrong_trigger(last) {
                Some((field, reason)) => wrong(field, reason),
                None => Ok(()),
            },
            StrategyConfig::OnException(on_exception) => {
                check_timeout(&format!("{name}.timeout_seconds"), on_exception.timeout_seconds)
            }
            StrategyConfig::Best(best) => {
                let metric = best.metric.as_ref().or(self.primary_metric.as_ref());
                match metric.map(|metric| metric.mode_with(best.mode)) {
                    Some(Err(reason)) => wrong("mode", &reason),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// A setting by which the newest checkpoints would be saved at every step, or never.
fn wrong_trigger(last: &Last) -> Option<(&'static str, &'static str)> {
    let Last { every_epoch, every_n_steps, save_on_time_interval, .. } = last;
    if *every_n_steps == Some(0) {
        return Some(("every_n_steps", "it must be above 0"));
    }
    if save_on_time_interval.is_some_and(|interval| interval.0.is_zero()) {
        return Some(("save_on_time_interval", "it must be above 0"));
    }
    let has_trigger = *every_epoch || every_n_steps.is_some() || save_on_time_interval.is_some();
    (!has_trigger).then_some((
        "every_epoch",
        "it is false, and neither every_n_steps nor save_on_time_interval is set: no training that reaches its end would \
         be saved",
    ))
}

/// Checks the path of a directory that the run writes to.
///
/// # Errors
///
/// [`Error::Config`] for the setting, as for any other path, and where it is an address. It can have a
/// credential, and is not repeated.
pub(crate) fn check_directory(setting: &str, path: &Path) -> Result<()> {
    mirror::reject_address_of_directory(setting, path)?;
    check_path(setting, path)
}

/// Checks a path that a person may have written for a shell, and that files of the run will have as text.
///
/// # Errors
///
/// [`Error::Config`] for the setting, where the path begins with `~` or is not UTF-8.
fn check_path(setting: &str, path: &Path) -> Result<()> {
    check_home(setting, path)?;
    match path.to_str() {
        Some(_) => Ok(()),
        None => {
            let reason = format!(
                "{} is not UTF-8, and checkpoints have paths as text: choose a directory whose path is",
                path.display()
            );
            Err(Error::config(setting, reason))
        }
    }
}

fn check_home(setting: &str, path: &Path) -> Result<()> {
    let first = path.components().next();
    if first.is_some_and(|first| first.as_os_str().as_encoded_bytes().starts_with(b"~")) {
        let reason = format!(
            "only a shell replaces ~ by the home directory, and it leaves \"{0}\" as it is within quotes and \
             after \"=\": give an absolute path, or ./{0} if the name is meant",
            path.display()
        );
        return Err(Error::config(setting, reason));
    }
    Ok(())
}

fn check_timeout(setting: &str, seconds: f64) -> Result<()> {
    if seconds > 0.0 && seconds <= MAX_TIMEOUT_SECONDS {
        return Ok(());
    }
    let reason = format!("{seconds} is not a number of seconds above 0, up to {MAX_TIMEOUT_SECONDS}");
    Err(Error::config(setting, reason))
}

/// Checks the names of trackers.
///
/// # Errors
///
/// [`Error::Config`] for an unknown name, or one whose feature is off.
fn check_trackers(names: &[String]) -> Result<()> {
    for name in names {
        let reason = match TRACKERS.iter().find(|(known, _)| known == name) {
            Some((_, true)) => continue,
            Some((known, false)) => {
                format!("{known} is not compiled in: build burn-trainer with its feature `{known}`")
            }
            None => {
                let known = TRACKERS.map(|(known, _)| known).join(", ");
                format!("{name:?} is not a tracker; the trackers are {known}")
            }
        };
        return Err(Error::config("trackers", reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
