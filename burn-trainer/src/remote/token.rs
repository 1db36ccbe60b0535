//! The secret that a server asks for.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use burn_ckpt::plumbing::storage::StoredFile;

use crate::error::{Error, Result};

/// The variable that holds it where no file is given.
const VARIABLE: &str = "BURN_REMOTE_TOKEN";
/// The longest token, so that a file named by mistake is an error.
const MAX_BYTES: u64 = 4096;

/// The secret that a program sends to a server. It is never printed or saved.
///
/// [`connect`](crate::remote::connect) has an example.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Reads the token from the file, or without one from the variable `BURN_REMOTE_TOKEN`. `None` with
    /// neither. White space around the token is removed.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a file that cannot be read, that others may read, or that holds no token.
    pub fn from_file_or_env(file: Option<&Path>) -> Result<Option<Self>> {
        match file {
            Some(path) => Self::from_file(path).map(Some),
            None => match std::env::var_os(VARIABLE) {
                Some(value) => Self::parse(value.to_str().unwrap_or_default(), VARIABLE).map(Some),
                None => Ok(None),
            },
        }
    }

    fn from_file(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let wrong = |reason: String| Error::config("--token-file", format!("{name}: {reason}"));
        let unreadable = |error: io::Error| wrong(error.to_string());
        // Does not wait for a pipe's other end.
        let file = StoredFile::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => wrong("it is not a file".to_owned()),
            _ => unreadable(error),
        })?;
        let metadata = file.stat().map_err(unreadable)?;
        if metadata.len() > MAX_BYTES {
            return Err(wrong(format!("it has {} bytes, and a token up to {MAX_BYTES}", metadata.len())));
        }
        check_secret(&metadata).map_err(wrong)?;
        let mut text = String::new();
        // The limit holds also if the file grows while it is read.
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&text, &name)
    }

    fn parse(text: &str, source: &str) -> Result<Self> {
        let token = text.trim();
        if token.is_empty() || token.contains(char::is_control) {
            let reason =
                format!("{source} holds no token: one line of text, such as `openssl rand -hex 32` makes");
            return Err(Error::config("the token", reason));
        }
        Ok(Self(token.to_owned()))
    }

    /// The token's bytes, for a server's authorizer.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Checks that only its owner may read a file, as ssh does with its keys.
///
/// # Errors
///
/// What the file's mode is, and what to do.
///
/// ```no_run
/// let metadata = std::fs::metadata("key")?;
/// if let Err(reason) = burn_trainer::remote::check_secret(&metadata) {
///     eprintln!("key: {reason}");
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg(unix)]
pub fn check_secret(metadata: &fs::Metadata) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(format!("its mode is {mode:03o}, so that others may read the secret in it: chmod 600 it")),
    }
}

/// Accepts every file: this system has no file modes.
///
/// # Errors
///
/// None.
///
/// ```no_run
/// let metadata = std::fs::metadata("key")?;
/// assert!(burn_trainer::remote::check_secret(&metadata).is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg(not(unix))]
pub fn check_secret(_: &fs::Metadata) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_token_is_removed() {
        assert_eq!(Token::parse(" hunter2\n", "f").unwrap().as_bytes(), b"hunter2");
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_and_a_large_file_are_errors_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let [pipe, large] = ["pipe", "large"].map(|name| directory.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::write(&large, "x".repeat(5000)).unwrap();
        let error = |path: &Path| Token::from_file(path).unwrap_err().to_string();
        assert!(error(&pipe).contains("it is not a file"));
        assert!(error(&large).contains("it has 5000 bytes"));
    }

    #[test]
    fn a_token_is_not_printed_nor_an_invalid_one_repeated() {
        assert_eq!(format!("{:?}", Token("hunter2".to_owned())), "Token(..)");
        for text in ["", " \n", "hunter2\nhunter3"] {
            let error = Token::parse(text, "f").unwrap_err().to_string();
            assert!(!error.contains("hunter") && error.contains('f'), "{error}");
        }
    }
}
