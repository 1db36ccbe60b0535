//! The mirror of an open run, with the feature `mirror` and without it: what the rest of the crate sees.

#[cfg(feature = "cli")]
use std::path::Path;
use std::path::PathBuf;

use burn::train::LearnerModel;
use burn_ckpt::{Catalog, RunLayout};
use jiff::Timestamp;

use super::result::MirrorResult;
use crate::callbacks::registered::Callbacks;
use crate::config::TrainerConfig;
use crate::error::Result;
use crate::process::signals::StopView;

#[cfg(feature = "mirror")]
use super::at_start::OpenMirror;
#[cfg(feature = "mirror")]
use super::callback::MirrorCallback;

/// The mirror of an open run, if it has one. Dropped, it gives back the right to write to it.
#[derive(Debug, Default)]
pub(crate) struct MirrorOfRun {
    #[cfg(feature = "mirror")]
    open: Option<OpenMirror>,
}

/// What tells, after training, what became of it.
pub(crate) struct MirrorHandle {
    #[cfg(feature = "mirror")]
    queue: Option<std::sync::Arc<super::queue::Queue>>,
}

#[cfg(feature = "mirror")]
impl MirrorOfRun {
    /// Takes the lease of the configuration's mirror, and gets from it what the run resumes from, where that
    /// is newer than what is `present` on disk.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) when another process writes to the mirror, or it
    /// cannot be used; [`Error::MirrorUnreadable`](crate::Error::MirrorUnreadable) when it cannot be read,
    /// and the disk has nothing to resume from;
    /// [`Error::MirrorNotDownloaded`](crate::Error::MirrorNotDownloaded) when it has something newer than the
    /// disk that cannot be downloaded; [`Error::StoppedAtStart`](crate::Error::StoppedAtStart) when a signal
    /// comes meanwhile.
    pub(crate) fn open(
        config: &TrainerConfig,
        layout: &RunLayout,
        present: &Catalog,
        signals: &StopView,
    ) -> Result<Self> {
        let settings = config.mirror.as_ref();
        let open = settings.map(|settings| OpenMirror::open(settings, config, layout, present, signals));
        let open = open.transpose()?;
        Ok(Self { open })
    }

    /// Whether checkpoints were downloaded.
    pub(crate) fn has_downloaded(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.has_downloaded)
    }

    /// Downloads what the mirror has in place of the newest checkpoints on disk, where these are damaged.
    /// `resumed` is when the state was saved that a resume would begin with; `None` where there is none.
    /// Returns whether anything was downloaded. The second call does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::MirrorNotDownloaded`](crate::Error::MirrorNotDownloaded).
    pub(crate) fn replace_damaged(
        &mut self,
        config: &TrainerConfig,
        layout: &RunLayout,
        present: &Catalog,
        resumed: Option<Timestamp>,
    ) -> Result<bool> {
        let open = self.open.as_mut();
        open.map_or(Ok(false), |open| open.replace_damaged(config, layout, present, resumed))
    }

    /// Rejects a new run of an id that the mirror has checkpoints of.
    ///
    /// # Errors
    ///
    /// [`Error::RunExists`](crate::Error::RunExists); [`Error::Config`](crate::Error::Config) with
    /// `overwrite`, which removes nothing in a mirror.
    pub(crate) fn check_new_run(&self, config: &TrainerConfig, run_id: &str) -> Result<()> {
        self.open.as_ref().map_or(Ok(()), |open| open.check_new_run(config, run_id))
    }

    /// Adds the callback that sends the run's checkpoints. `own`: the directories of the program's own
    /// strategies.
    pub(crate) fn add_callback<M: LearnerModel>(
        &self,
        config: &TrainerConfig,
        own: &[PathBuf],
        signals: StopView,
        callbacks: &mut Callbacks<M>,
    ) -> MirrorHandle {
        let queue = self.open.as_ref().map(|open| std::sync::Arc::clone(&open.queue));
        if let (Some(queue), Some(settings)) = (&queue, &config.mirror) {
            let queue = std::sync::Arc::clone(queue);
            callbacks.add(Box::new(MirrorCallback::new(queue, settings, config, own, signals)));
        }
        MirrorHandle { queue }
    }
}

#[cfg(feature = "mirror")]
impl MirrorHandle {
    /// What became of the mirror so far.
    pub(crate) fn result(&self) -> Option<MirrorResult> {
        self.queue.as_ref().map(|queue| queue.result())
    }
}

// The check of the configuration says that the feature is needed.
#[cfg(not(feature = "mirror"))]
impl MirrorOfRun {
    #[allow(clippy::unnecessary_wraps, reason = "it fails with the feature")]
    pub(crate) fn open(_: &TrainerConfig, _: &RunLayout, _: &Catalog, _: &StopView) -> Result<Self> {
        Ok(Self {})
    }

    #[allow(clippy::unused_self, reason = "it is needed with the feature")]
    pub(crate) fn has_downloaded(&self) -> bool {
        false
    }

    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "they are needed with the feature")]
    pub(crate) fn replace_damaged(
        &mut self,
        _: &TrainerConfig,
        _: &RunLayout,
        _: &Catalog,
        _: Option<Timestamp>,
    ) -> Result<bool> {
        Ok(false)
    }

    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "they are needed with the feature")]
    pub(crate) fn check_new_run(&self, _: &TrainerConfig, _: &str) -> Result<()> {
        Ok(())
    }

    #[allow(clippy::unused_self, reason = "it is needed with the feature")]
    pub(crate) fn add_callback<M: LearnerModel>(
        &self,
        _: &TrainerConfig,
        _: &[PathBuf],
        _: StopView,
        _: &mut Callbacks<M>,
    ) -> MirrorHandle {
        MirrorHandle {}
    }
}

#[cfg(not(feature = "mirror"))]
impl MirrorHandle {
    #[allow(clippy::unused_self, reason = "it is needed with the feature")]
    pub(crate) fn result(&self) -> Option<MirrorResult> {
        None
    }
}

/// Sends the evaluations that are kept beside a run's checkpoints to its mirror, after training. Says so
/// where that fails.
#[cfg(feature = "cli")]
pub(crate) fn send_evaluations(config: &TrainerConfig, run_dir: &Path) {
    #[cfg(feature = "mirror")]
    super::evaluations::send(config, run_dir);
    #[cfg(not(feature = "mirror"))]
    let _ = (config, run_dir);
}
