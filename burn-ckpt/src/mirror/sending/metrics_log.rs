//! Sending a run's log of metrics: what it has more than the mirror.

use std::cell::RefCell;
use std::path::Path;

use crate::disk::storage::StoredFile;
use crate::error::{Error, Result};
use crate::metrics_log::MAX_LINE_BYTES;
use crate::mirror::commit_object::MirroredLog;
use crate::mirror::metrics_pieces::read;
use crate::mirror::sending::run_mirror::RunMirror;
use crate::mirror::store::Listed;

impl RunMirror {
    /// Sends what the run's log of metrics has more than the mirror, up to its last whole line. For the end
    /// of a run: the log up to a checkpoint is sent with the checkpoint.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the log cannot be read; those of [`RunMirror::send`].
    pub fn send_metrics_log(&mut self, log: impl AsRef<Path>) -> Result<()> {
        let log = log.as_ref();
        let file = StoredFile::open(log).map_err(Error::io("open", log))?;
        let size = file.stat().map_err(Error::io("read", log))?.len();
        let start = size.saturating_sub(MAX_LINE_BYTES as u64 + 1);
        let end = read(&file, start, size - start)?;
        let end = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| start + place as u64 + 1);
        if end > 0 {
            self.send_log_up_to(log, end)?;
        }
        Ok(())
    }

    /// Sends the log up to a length, as far as it is not in the mirror.
    pub(super) fn send_log_up_to(&mut self, log: &Path, bytes: u64) -> Result<MirroredLog> {
        let file = StoredFile::open(log).map_err(Error::io("open", log))?;
        self.log.compare(&file)?;
        self.log.join_small_pieces(bytes);
        while self.log.compare(&file)? < bytes {
            self.lease.keep()?;
            let (piece, content) = self.log.next_piece(&file, self.lease.term(), bytes)?;
            let key = piece.key(&self.run_id);
            let lease = RefCell::new(&mut self.lease);
            self.store.put_while(&key, &content, &|| lease.borrow_mut().keep())?;
            let size = content.len() as u64;
            self.store.check_stored(&key, size)?;
            let modified = self.lease.writer().now();
            self.objects.insert(key.clone(), Listed { key, size, modified });
            self.log.add(piece);
        }
        self.log.up_to(&file, bytes)
    }
}
