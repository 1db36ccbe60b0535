//! What the three configurations have in common: the settings of their files.

use std::path::{Path, PathBuf};

use burn_ckpt::retention::TopK;

use super::StrategyConfig;

/// Where a strategy saves, how much, and how many stay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileSettings<'a> {
    pub(crate) topk: TopK,
    pub(crate) dirpath: Option<&'a Path>,
    pub(crate) weights_only: bool,
    /// The directory where `dirpath` is not set.
    pub(super) default_directory: &'static str,
}

impl FileSettings<'_> {
    /// The directory: relative to the run's `checkpoint` directory, or absolute.
    pub(crate) fn directory(&self) -> PathBuf {
        self.dirpath.map_or_else(|| self.default_directory.into(), Path::to_path_buf)
    }
}

impl StrategyConfig {
    /// Its name in the configuration.
    #[cfg(feature = "cli")]
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Best(_) => "best",
            Self::Last(_) => "last",
            Self::OnException(_) => "on_exception",
        }
    }

    pub(crate) fn files(&self) -> FileSettings<'_> {
        match self {
            Self::Best(best) => best.files(),
            Self::Last(last) => last.files(),
            Self::OnException(on_exception) => on_exception.files(),
        }
    }

    pub(crate) fn dirpath_mut(&mut self) -> &mut Option<PathBuf> {
        match self {
            Self::Best(best) => &mut best.dirpath,
            Self::Last(last) => &mut last.dirpath,
            Self::OnException(on_exception) => &mut on_exception.dirpath,
        }
    }
}

/// The methods of a configuration for these settings. Its files are in `$directory` by default.
macro_rules! file_settings {
    ($config:ident, $directory:expr) => {
        impl $config {
            /// The defaults.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }

            /// Sets how many checkpoints stay: a number above 0, or
            /// [`TopK::All`](burn_ckpt::retention::TopK::All).
            #[must_use]
            pub fn with_topk(mut self, topk: impl Into<burn_ckpt::retention::TopK>) -> Self {
                self.topk = topk.into();
                self
            }

            /// Sets the template of the file names.
            #[must_use]
            pub fn with_filename(mut self, filename: impl Into<String>) -> Self {
                self.filename = filename.into().into();
                self
            }

            /// Sets another directory: relative to the run's `checkpoint` directory, or absolute.
            #[must_use]
            pub fn with_dirpath(mut self, dirpath: impl Into<std::path::PathBuf>) -> Self {
                self.dirpath = Some(dirpath.into());
                self
            }

            /// Sets whether a link leads to the foremost checkpoint.
            #[must_use]
            pub fn with_save_symlink(mut self, save_symlink: bool) -> Self {
                self.save_symlink = save_symlink;
                self
            }

            /// Sets whether optimizer and scheduler are left out.
            #[must_use]
            pub fn with_save_weights_only(mut self, save_weights_only: bool) -> Self {
                self.save_weights_only = save_weights_only;
                self
            }

            pub(super) fn files(&self) -> super::file_settings::FileSettings<'_> {
                super::file_settings::FileSettings {
                    topk: self.topk,
                    dirpath: self.dirpath.as_deref(),
                    weights_only: self.save_weights_only,
                    default_directory: $directory,
                }
            }

            /// Where its checkpoints go. `link` is the name of the link, if one is kept.
            fn output(&self, link: impl Into<String>) -> super::CheckpointOutput {
                super::CheckpointOutput {
                    directory: self.files().directory(),
                    filename: self.filename.clone().into(),
                    link: self.save_symlink.then(|| link.into()),
                    weights_only: self.save_weights_only,
                }
            }
        }
    };
}
