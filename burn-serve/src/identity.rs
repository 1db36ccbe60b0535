//! The secret key by which clients know an Iroh server, in a file that is its alone.
//!
//! A client tells servers apart by their keys, so two servers with one key would be one server to it. A lock
//! on the file keeps a second one of this machine away, and the default file has the machine's name for where
//! several machines share a home directory.

use std::env;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use burn::server::IrohIdentity;
use burn_trainer::remote::check_secret;

use crate::error::{Error, Result};
use crate::logging::say;

/// An identity, this process's as long as this lives.
#[derive(Debug)]
pub struct Identity {
    /// The secret key.
    pub key: IrohIdentity,
    _locked: File,
}

impl Identity {
    /// That of the file, or of this machine's default one; made where there is none.
    pub fn load_or_create(path: Option<&Path>) -> Result<Self> {
        let path = match path {
            Some(path) => path.to_path_buf(),
            None => default_path()?,
        };
        Self::load(&path).map_err(|reason| Error::Identity { path, reason })
    }

    fn load(path: &Path) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(text)?;
        }
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => return Err("it is not a file".to_owned()),
            Ok(metadata) => check_secret(&metadata)?,
            // burn makes it, for its owner alone.
            Err(_) => {}
        }
        let key = IrohIdentity::load_or_create(path).map_err(text)?;
        // NFS locks only what is open for writing (flock(2)).
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(text)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { key, _locked: file }),
            Err(TryLockError::WouldBlock) => {
                Err("another server has it, and clients would take the two for one: give each its own with --identity"
                    .to_owned())
            }
            // A file system without locks.
            Err(TryLockError::Error(error)) => {
                let path = path.display();
                say(&format!(
                    "warning: {path} cannot be locked ({error}): no other server may use it, as clients would take the two for one"
                ));
                Ok(Self { key, _locked: file })
            }
        }
    }
}

/// In the user's directory for what programs keep, as the XDG base directory specification has it.
fn default_path() -> Result<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")));
    let state = state.ok_or_else(|| {
        Error::Usage(
            "there is no home directory to keep the server's identity in: name a file with --identity"
                .to_owned(),
        )
    })?;
    let machine = gethostname::gethostname();
    Ok(state.join("burn-serve").join(format!("identity-{}", machine.to_string_lossy())))
}
