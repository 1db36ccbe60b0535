//! A file that a tracker writes again when a run resumes. The earlier one stays until the new one has all
//! lines from before the resume: until then the new one is beside it.

use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::storage::{ExistingContent, StoredFile};
#[cfg(feature = "csv")]
use burn_ckpt::plumbing::write_whole;
use burn_ckpt::plumbing::{Existing, Staged, StagingOwner};

use crate::run_files::line_file::{LineFile, Open};
use crate::run_files::regular_file;

/// The file.
pub(super) struct RewrittenFile {
    path: PathBuf,
    /// Where it is until it has its name.
    staged: Option<Staged>,
    lines: LineFile,
}

impl RewrittenFile {
    /// A file at its place, where there is no earlier one to keep. `beginning` opens it with its first lines,
    /// and `again` where it was removed while it is open.
    pub(super) fn at_its_place(path: PathBuf, beginning: Open, again: Open) -> Self {
        let lines = LineFile::new(path.clone(), beginning).beginning_again(again);
        Self { path, staged: None, lines }
    }

    /// A file beside its place, which is not there under its name before [`publish`](Self::publish). Its
    /// staging name is one for `staged_as`.
    pub(super) fn beside(
        path: PathBuf,
        staged_as: &Path,
        beginning: Open,
        again: Open,
    ) -> burn_ckpt::Result<Self> {
        let (staged, _) = Staged::create(staged_as, &StagingOwner::default())?;
        let lines = LineFile::new(staged.path().to_path_buf(), beginning).beginning_again(again);
        Ok(Self { staged: Some(staged.with_destination(path.clone())), path, lines })
    }

    /// Whether it has no name of its own yet.
    #[cfg(feature = "csv")]
    pub(super) fn is_beside(&self) -> bool {
        self.staged.is_some()
    }

    /// Where it is now.
    #[cfg(feature = "csv")]
    pub(super) fn path(&self) -> &Path {
        self.lines.path()
    }

    /// The bytes of the lines that are in it.
    #[cfg(feature = "csv")]
    pub(super) fn length(&self) -> u64 {
        self.lines.length()
    }

    /// Appends whole lines: all of these bytes, or none.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.lines.write(bytes).map_err(|error| regular_file::with_path(self.lines.path(), &error))
    }

    /// Replaces its content. A reader sees the earlier one or the new one. It is opened by the next write.
    #[cfg(feature = "csv")]
    pub(super) fn replace(
        &mut self,
        write: impl FnOnce(&mut StoredFile) -> burn_ckpt::Result<()>,
        again: Open,
    ) -> burn_ckpt::Result<()> {
        if self.staged.is_some() {
            let (staged, mut file) = Staged::create(&self.path, &StagingOwner::default())?;
            write(&mut file)?;
            // What was beside it before is removed.
            self.staged = Some(staged);
        } else {
            write_whole(&self.path, Existing::Replace, write)?;
        }
        self.continue_with(again);
        Ok(())
    }

    /// Gives it its name. `again` opens it where it is removed later. After an error it can be tried again.
    pub(super) fn publish(&mut self, existing: Existing, again: Open) -> burn_ckpt::Result<()> {
        let Some(staged) = &mut self.staged else { return Ok(()) };
        let path = staged.path();
        // Without a sync, a loss of power could leave nothing of either file.
        let handle = self.lines.second_handle().map_err(burn_ckpt::Error::io("open", path))?;
        handle.map_or(Ok(()), |file| file.sync_data()).map_err(burn_ckpt::Error::io("sync", path))?;
        staged.try_publish(existing)?;
        self.staged = None;
        self.continue_with(again);
        // Opened at once: another file can take its name later.
        self.write(&[]).map_err(burn_ckpt::Error::io("open", &self.path))
    }

    /// Continues the file that is there now.
    fn continue_with(&mut self, again: Open) {
        let path = self.staged.as_ref().map_or(self.path.as_path(), Staged::path).to_path_buf();
        self.lines = LineFile::new(path, Box::new(opened_at_its_end)).beginning_again(again);
    }
}

fn opened_at_its_end(path: &Path) -> io::Result<(StoredFile, u64)> {
    let mut file = regular_file::continued(path, ExistingContent::Keep)?;
    let length = file.seek(SeekFrom::End(0))?;
    Ok((file, length))
}
