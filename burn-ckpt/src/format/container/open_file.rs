//! A checkpoint's open file. Everything of a checkpoint is read from the handle that opening made, so that it
//! stays readable, and stays the same, when its name is deleted or given to another file.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::disk::storage::{self, StoredFile};
use crate::error::{Error, Result};
use crate::format::container::placeholder::{MAX_PLACEHOLDER_BYTES, placeholder};
use crate::format::digest::sha256_of_pieces;

/// An open file, with the size that it had when it was opened.
#[derive(Debug)]
pub(crate) struct OpenFile {
    path: PathBuf,
    source: Source,
    size: u64,
}

/// Where the bytes are.
#[derive(Debug)]
enum Source {
    Disk(StoredFile),
    /// In a mirror.
    #[cfg_attr(not(feature = "mirror"), allow(dead_code))]
    Ranges(Box<dyn ReadRange>),
}

/// Bytes that are not in a file of this machine.
pub(crate) trait ReadRange: std::fmt::Debug + Send + Sync {
    /// Reads bytes at a position. Where they end before is [`ErrorKind::UnexpectedEof`].
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl OpenFile {
    /// Opens a regular file. Anything else is [`Error::NotACheckpoint`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        // For the message: opening something else than a file fails, too.
        if let Some(stat) = storage::stat(path).map_err(Error::io("open", path))?
            && !stat.is_file()
        {
            let what = if stat.is_dir() { "it is a directory" } else { "it is not a regular file" };
            return Err(Error::not_a_checkpoint(path, what));
        }
        let file = StoredFile::open(path).map_err(Error::io("open", path))?;
        let size = file.stat().map_err(Error::io("read", path))?.len();
        Ok(Self { path: path.to_path_buf(), source: Source::Disk(file), size })
    }

    /// Something that is read by ranges, with an address in place of a path.
    #[cfg(feature = "mirror")]
    pub(crate) fn of_ranges(address: PathBuf, size: u64, ranges: Box<dyn ReadRange>) -> Self {
        Self { path: address, source: Source::Ranges(ranges), size }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's size in bytes when it was opened.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Reads bytes at a position. A file that ends before is [`ErrorKind::UnexpectedEof`].
    pub(crate) fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let file = match &self.source {
            Source::Disk(file) => file,
            Source::Ranges(ranges) => return ranges.read_exact_at(buffer, offset),
        };
        while !buffer.is_empty() {
            match file.read_at(buffer, offset) {
                Ok(0) => {
                    let text = format!("the file ends at byte {offset}: it was cut off while it was read");
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
                }
                Ok(read) => {
                    buffer = &mut buffer[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the file's name still stands for this file. A run can remove or replace a checkpoint while it
    /// is opened.
    pub(crate) fn has_its_name(&self) -> Result<bool> {
        let file = match &self.source {
            Source::Disk(file) => file,
            // An object of content is never replaced.
            Source::Ranges(_) => return Ok(true),
        };
        let Some(there) = storage::stat(&self.path).map_err(Error::io("read", &self.path))? else {
            return Ok(false);
        };
        let own = file.stat().map_err(Error::io("read", &self.path))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Ok((own.dev(), own.ino()) == (there.dev(), there.ino()))
        }
        #[cfg(not(unix))]
        {
            Ok(own.len() == there.len() && own.modified().ok() == there.modified().ok())
        }
    }

    /// What the file is a placeholder of.
    pub(crate) fn placeholder(&self) -> Result<Option<String>> {
        if self.size > MAX_PLACEHOLDER_BYTES {
            return Ok(None);
        }
        let mut text = vec![0; self.size as usize];
        self.read_exact_at(&mut text, 0).map_err(Error::io("read", &self.path))?;
        Ok(placeholder(&self.path, &text))
    }

    /// `sha256:` and the SHA-256 of the file. `progress` gets the number of bytes that have just been hashed;
    /// its error ends the work.
    pub(crate) fn sha256(&self, progress: &dyn Fn(u64) -> io::Result<()>) -> Result<String> {
        let mut position = 0;
        sha256_of_pieces(|piece| {
            let length = (self.size - position).min(piece.len() as u64);
            let piece = &mut piece[..length as usize];
            self.read_exact_at(piece, position).map_err(Error::io("read", &self.path))?;
            position += length;
            progress(length).map_err(Error::io("read", &self.path))?;
            Ok(piece.len())
        })
    }
}
