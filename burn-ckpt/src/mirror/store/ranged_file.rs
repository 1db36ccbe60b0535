//! An object that is read by ranges, as a file is: for a checkpoint of which only a part is needed.
//!
//! A large read is one request. Small ones, as those of a header or of many small tensors, are answered from
//! blocks that are kept.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::format::container::open_file::ReadRange;
use crate::mirror::store::connection::Store;

/// What a small read gets at once. A larger one is read as it is.
const BLOCK_BYTES: u64 = 256 * 1024;
/// How many blocks are kept: a few threads read, each at its own place.
const MAX_BLOCKS: usize = 4;

/// An object of a known size.
#[derive(Debug)]
pub(crate) struct RangedFile {
    store: Store,
    key: String,
    size: u64,
    /// Where each begins, and its bytes. The last one is the newest.
    blocks: Mutex<Vec<(u64, Arc<Vec<u8>>)>>,
}

impl RangedFile {
    pub(crate) fn new(store: Store, key: String, size: u64) -> Self {
        Self { store, key, size, blocks: Mutex::default() }
    }

    fn get(&self, start: u64, end: u64) -> io::Result<Vec<u8>> {
        self.store.get_range(&self.key, start..end).map_err(io::Error::other)
    }

    /// A block that has these bytes. Others that want one wait: it may be the one that they need.
    fn block(&self, start: u64, end: u64) -> io::Result<(u64, Arc<Vec<u8>>)> {
        let mut blocks = self.blocks.lock();
        let has =
            |(first, bytes): &&(u64, Arc<Vec<u8>>)| *first <= start && end <= first + bytes.len() as u64;
        if let Some(block) = blocks.iter().find(has) {
            return Ok(block.clone());
        }
        // At the end of the object the block ends with it: the ending of a checkpoint is read backwards.
        let first =
            if self.size - start < BLOCK_BYTES { self.size.saturating_sub(BLOCK_BYTES) } else { start };
        let block = (first, Arc::new(self.get(first, self.size.min(first + BLOCK_BYTES))?));
        if blocks.len() == MAX_BLOCKS {
            blocks.remove(0);
        }
        blocks.push(block.clone());
        Ok(block)
    }
}

impl ReadRange for RangedFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        if end > self.size {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the object ends at byte {}", self.size),
            ));
        }
        if buffer.is_empty() {
            return Ok(());
        }
        if buffer.len() as u64 >= BLOCK_BYTES {
            buffer.copy_from_slice(&self.get(offset, end)?);
            return Ok(());
        }
        let (first, block) = self.block(offset, end)?;
        let start = (offset - first) as usize;
        buffer.copy_from_slice(&block[start..start + buffer.len()]);
        Ok(())
    }
}
