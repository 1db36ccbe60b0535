//! The mirror of a run's checkpoints, as the configuration has it.

use std::fmt;
use std::path::Path;

use burn_ckpt::plumbing::is_address;
use burn_ckpt::retention::TopK;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result};

/// How long the end of training waits, unless configured otherwise.
const WAIT_AT_END_SECONDS: f64 = 600.0;
/// How long a lease lasts that is not renewed, unless configured otherwise.
const LEASE_TIMEOUT_SECONDS: u64 = 120;
/// The longest time of both: a week.
const MAX_SECONDS: u64 = 7 * 24 * 3600;

/// A mirror of the run's checkpoints in an object store (`s3://bucket/prefix`, `gs://`, `az://`), or in
/// another directory (`file:///other/disk`).
///
/// In JSON an address, or an object: `"s3://bucket/prefix"`, `{"address": "s3://bucket/prefix", "keep_best":
/// 3}`. Credentials come from the environment, as the store's other programs have them. Needs the feature
/// `mirror`.
///
/// ```
/// use burn_trainer::TrainerConfig;
/// use burn_trainer::config::{FailedMirror, MirrorConfig};
///
/// let mirror = MirrorConfig::new("s3://models/team-a").with_failed_mirror(FailedMirror::FailIfLast);
/// let config = TrainerConfig::new().with_mirror(mirror);
/// let same: TrainerConfig = serde_json::from_str(
///     r#"{"mirror": {"address": "s3://models/team-a", "failed_mirror": "fail_if_last"}}"#,
/// )?;
/// assert_eq!(config, same);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MirrorConfig {
    /// Where the mirror is. The run is below it, under its id.
    pub address: String,
    /// How many of the newest checkpoints stay in the mirror, of each strategy `last`. By default as many as
    /// on disk.
    pub keep_last: Option<TopK>,
    /// How many of the best checkpoints stay in the mirror, of each strategy that saves best ones. By default
    /// as many as on disk.
    pub keep_best: Option<TopK>,
    /// What it means for the exit status if the newest or a best checkpoint is not in the mirror at the end.
    pub failed_mirror: FailedMirror,
    /// How long the end of training waits, in seconds, until the newest and the best checkpoints are in the
    /// mirror. 0 does not wait. A signal ends the wait.
    pub wait_at_end_seconds: f64,
    /// After how many seconds another process may write to the mirror, if this one gives no sign of life. A
    /// run that is started again on another machine, after this one was killed, waits that long.
    pub lease_timeout_seconds: u64,
}

/// What it means for the exit status of a program that the newest or a best checkpoint is not in the mirror
/// at the end, or that a link was not moved.
///
/// ```
/// use burn_trainer::config::{FailedMirror, MirrorConfig};
///
/// let mirror = MirrorConfig::new("file:///mnt/disk").with_failed_mirror(FailedMirror::FailIfLast);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailedMirror {
    /// Nothing: it is said, and the exit status is 0. The default.
    Ignore,
    /// The program fails.
    FailIfLast,
}

impl MirrorConfig {
    /// With the defaults of everything else.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            keep_last: None,
            keep_best: None,
            failed_mirror: FailedMirror::Ignore,
            wait_at_end_seconds: WAIT_AT_END_SECONDS,
            lease_timeout_seconds: LEASE_TIMEOUT_SECONDS,
        }
    }

    /// Sets how many of the newest checkpoints stay in the mirror.
    #[must_use]
    pub fn with_keep_last(mut self, count: impl Into<TopK>) -> Self {
        self.keep_last = Some(count.into());
        self
    }

    /// Sets how many of the best checkpoints stay in the mirror.
    #[must_use]
    pub fn with_keep_best(mut self, count: impl Into<TopK>) -> Self {
        self.keep_best = Some(count.into());
        self
    }

    /// Sets what it means that the newest or a best checkpoint is not in the mirror at the end.
    #[must_use]
    pub fn with_failed_mirror(mut self, failed_mirror: FailedMirror) -> Self {
        self.failed_mirror = failed_mirror;
        self
    }

    /// Sets how long the end of training waits for the mirror, in seconds.
    #[must_use]
    pub fn with_wait_at_end_seconds(mut self, seconds: f64) -> Self {
        self.wait_at_end_seconds = seconds;
        self
    }

    /// Sets after how many seconds another process may write to the mirror.
    #[must_use]
    pub fn with_lease_timeout_seconds(mut self, seconds: u64) -> Self {
        self.lease_timeout_seconds = seconds;
        self
    }

    /// Checks the settings. `can_send`: whether this crate was built with what sends checkpoints.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] that names the setting, or the feature. It does not repeat the address, which can
    /// have a credential.
    pub(super) fn check(&self, can_send: bool) -> Result<()> {
        let wrong = |setting: &str, reason: String| Err(Error::config(format!("mirror.{setting}"), reason));
        if !can_send {
            let reason =
                "it needs the feature `mirror` of burn-trainer, which this program was built without";
            return Err(Error::config("mirror", reason));
        }
        check_address(&self.address)?;
        for (setting, count) in [("keep_last", self.keep_last), ("keep_best", self.keep_best)] {
            if count.is_some_and(TopK::is_zero) {
                return wrong(setting, "it must be above 0, or \"all\"".to_owned());
            }
        }
        if !(0.0..=MAX_SECONDS as f64).contains(&self.wait_at_end_seconds) {
            let seconds = self.wait_at_end_seconds;
            return wrong(
                "wait_at_end_seconds",
                format!("{seconds} is not a number of seconds from 0 to {MAX_SECONDS}"),
            );
        }
        if !(1..=MAX_SECONDS).contains(&self.lease_timeout_seconds) {
            let seconds = self.lease_timeout_seconds;
            return wrong(
                "lease_timeout_seconds",
                format!("{seconds} is not a number of seconds from 1 to {MAX_SECONDS}"),
            );
        }
        Ok(())
    }
}

#[cfg(feature = "mirror")]
fn check_address(address: &str) -> Result<()> {
    use burn_ckpt::mirror::MirrorAddress;
    let parsed = address.parse::<MirrorAddress>();
    parsed.map(drop).map_err(|error| Error::config("mirror.address", reason(error)))
}

/// Checks that a mirror can have the checkpoints of a strategy's directory.
#[cfg(feature = "mirror")]
pub(super) fn check_mirrored_directory(setting: &str, dirpath: &Path) -> Result<()> {
    burn_ckpt::mirror::check_dirpath(dirpath).map_err(|error| {
        let dirpath = dirpath.display();
        Error::config(setting, format!("the mirror cannot have checkpoints in {dirpath}: {}", reason(error)))
    })
}

/// What is wrong with a name, which the error does not repeat.
#[cfg(feature = "mirror")]
fn reason(error: burn_ckpt::Error) -> String {
    match error {
        burn_ckpt::Error::Name { reason, .. } => reason,
        error => error.to_string(),
    }
}

// The check of the feature comes first.
#[cfg(not(feature = "mirror"))]
fn check_address(_: &str) -> Result<()> {
    Ok(())
}

#[cfg(not(feature = "mirror"))]
pub(super) fn check_mirrored_directory(_: &str, _: &Path) -> Result<()> {
    Ok(())
}

/// Rejects an address of a mirror in the place of a path, which nothing would be found at. It can have a
/// credential, and is not repeated.
pub(super) fn reject_address(setting: &str, path: &str) -> Result<()> {
    if is_address(Path::new(path)) {
        let reason = "it is an address: set mirror to the address of the run's mirror, and this to \"auto\", \"last\" or \"best\"; or get a \
                      checkpoint with burn-ckpt cp, and give its path";
        return Err(Error::config(setting, reason));
    }
    Ok(())
}

/// Rejects an address in the place of a directory that a run writes to, which would be one named `s3:`.
pub(super) fn reject_address_of_directory(setting: &str, path: &Path) -> Result<()> {
    if is_address(path) {
        let reason = "it is an address, and a run writes to the disk: give the path of a directory, and set mirror \
                      (--mirror) to the address, to which the checkpoints are sent";
        return Err(Error::config(setting, reason));
    }
    Ok(())
}

impl<S: Into<String>> From<S> for MirrorConfig {
    fn from(address: S) -> Self {
        Self::new(address)
    }
}

impl<'de> Deserialize<'de> for MirrorConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AddressOrObject)
    }
}

/// Reads both forms, so that a wrong field is reported by its name.
struct AddressOrObject;

impl<'de> Visitor<'de> for AddressOrObject {
    type Value = MirrorConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address (\"s3://bucket/prefix\"), or an object with an address")
    }

    fn visit_str<E>(self, address: &str) -> Result<MirrorConfig, E> {
        Ok(MirrorConfig::new(address))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MirrorConfig, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Object {
            address: String,
            #[serde(default)]
            keep_last: Option<TopK>,
            #[serde(default)]
            keep_best: Option<TopK>,
            failed_mirror: Option<FailedMirror>,
            wait_at_end_seconds: Option<f64>,
            lease_timeout_seconds: Option<u64>,
        }
        let given = Object::deserialize(MapAccessDeserializer::new(map))?;
        let default = MirrorConfig::new(given.address);
        Ok(MirrorConfig {
            keep_last: given.keep_last,
            keep_best: given.keep_best,
            failed_mirror: given.failed_mirror.unwrap_or(default.failed_mirror),
            wait_at_end_seconds: given.wait_at_end_seconds.unwrap_or(default.wait_at_end_seconds),
            lease_timeout_seconds: given.lease_timeout_seconds.unwrap_or(default.lease_timeout_seconds),
            ..default
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrainerConfig;
    use crate::strategy::{Best, Last, OnException};

    fn parsed(json: &str) -> std::result::Result<MirrorConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn it_is_an_address_or_an_object_and_comes_back_from_the_metadata() {
        let plain = parsed(r#""file:///mnt/disk""#).unwrap();
        assert_eq!(plain, MirrorConfig::new("file:///mnt/disk"));
        let full = parsed(
            r#"{"address": "s3://b/p", "keep_last": 2, "keep_best": "all", "failed_mirror": "fail_if_last",
                "wait_at_end_seconds": 5, "lease_timeout_seconds": 9}"#,
        )
        .unwrap();
        let expected = MirrorConfig::new("s3://b/p").with_keep_last(2).with_keep_best(TopK::All);
        let expected = expected.with_failed_mirror(FailedMirror::FailIfLast).with_wait_at_end_seconds(5.0);
        assert_eq!(full, expected.with_lease_timeout_seconds(9));
        for config in [plain, full] {
            assert_eq!(parsed(&serde_json::to_string(&config).unwrap()).unwrap(), config);
        }
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (json, named) in [
            (r#"{"address": "s3://b", "kep_best": 3}"#, "kep_best"),
            (r#"{"keep_best": 3}"#, "address"),
            (r#"{"address": "s3://b", "failed_mirror": "stop"}"#, "fail_if_last"),
            ("5", "an address"),
        ] {
            let error = parsed(json).unwrap_err().to_string();
            assert!(error.contains(named), "{json}: {error}");
        }
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named() {
        let mirror = || MirrorConfig::new("file:///mnt/disk");
        for (config, setting) in [
            (mirror().with_keep_last(0), "mirror.keep_last"),
            (mirror().with_keep_best(0), "mirror.keep_best"),
            (mirror().with_wait_at_end_seconds(-1.0), "mirror.wait_at_end_seconds"),
            (mirror().with_wait_at_end_seconds(f64::NAN), "mirror.wait_at_end_seconds"),
            (mirror().with_lease_timeout_seconds(0), "mirror.lease_timeout_seconds"),
        ] {
            let error = config.check(true).unwrap_err();
            assert!(matches!(&error, Error::Config { setting: found, .. } if found == setting), "{error:?}");
        }
        mirror().with_wait_at_end_seconds(0.0).check(true).unwrap();
    }

    #[test]
    fn a_program_without_the_feature_says_which_one_it_needs() {
        let error = MirrorConfig::new("s3://b").check(false).unwrap_err().to_string();
        assert!(error.contains("feature `mirror` of burn-trainer"), "{error}");
    }

    #[test]
    fn an_address_in_the_place_of_a_path_is_an_error_that_does_not_repeat_it() {
        for address in ["s3://user:hunter2@b/p/r1/last", "file:///hunter2", "az://c/p?sig=hunter2"] {
            let error = TrainerConfig::new().with_ckpt_path(address).check().unwrap_err();
            assert!(matches!(&error, Error::Config { setting, .. } if setting == "ckpt_path"), "{error:?}");
            let error = error.to_string();
            assert!(!error.contains("hunter2") && error.contains("burn-ckpt cp"), "{error}");
        }
    }

    #[test]
    fn an_address_of_a_directory_to_write_to_is_an_error_that_does_not_repeat_it() {
        let config = || TrainerConfig::new().with_primary_metric("val_loss");
        for address in ["s3://hunter2@b/p", "gs://hunter2", "file:///hunter2", "https://hunter2/p"] {
            for (config, named) in [
                (config().with_root(address), "root"),
                (config().with_logs(address), "logs"),
                (config().with_best(Best::new().with_dirpath(address)), "best.dirpath"),
                (config().with_last(Last::new().with_dirpath(address)), "last.dirpath"),
                (
                    config().with_on_exception(OnException::new().with_dirpath(address)),
                    "on_exception.dirpath",
                ),
            ] {
                let error = config.check().unwrap_err();
                assert!(matches!(&error, Error::Config { setting, .. } if setting == named), "{error:?}");
                let error = error.to_string();
                assert!(error.contains("--mirror") && !error.contains("hunter2"), "{error}");
            }
            // Weights are read from there.
            config().with_init_from(address).check().unwrap();
        }
    }

    #[cfg(feature = "mirror")]
    #[test]
    fn an_address_that_could_have_a_credential_is_an_error_that_does_not_repeat_it() {
        for address in ["s3://user:hunter2@b/p", "hunter2", "az://c?sig=hunter2", "file://hunter2"] {
            let error = MirrorConfig::new(address).check(true).unwrap_err();
            assert!(
                matches!(&error, Error::Config { setting, .. } if setting == "mirror.address"),
                "{error:?}"
            );
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
