//! `cargo xtask new DIR`: writes a project with a model, a training program and an inference program, which
//! stands outside of this workspace and uses its crates.
//!
//! `package_name` checks the name, `template` has the files, this file writes them.

mod error;
mod package_name;
mod template;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cargo;
use error::Error;

/// Exit status for wrong usage.
const USAGE: u8 = 2;
/// Versions of all packages: written in the workspace and in the project.
const LOCK: &str = "Cargo.lock";

/// Where the project goes, and its name.
#[derive(clap::Args)]
pub struct Args {
    /// The directory to write, which must not exist or be empty
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The package's name, in place of the directory's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Writes it, and says what was written and what to do next.
pub fn run(args: &Args) -> ExitCode {
    let written = package_name::checked(args.name.as_deref(), &args.directory)
        .and_then(|name| write(&args.directory, &name, &cargo::root()));
    match written {
        Ok(files) => {
            println!("{}", summary(&args.directory, &files));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", error.with_causes());
            if error.is_wrong_usage() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Writes the files, and returns their paths in the directory. After an error some of them may be there.
fn write(directory: &Path, name: &str, workspace: &Path) -> Result<Vec<&'static str>, Error> {
    check_empty(directory)?;
    let lock = workspace.join(LOCK);
    let lock =
        fs::read_to_string(&lock).map_err(|source| Error::Io { action: "read", path: lock, source })?;
    let workspace = workspace.to_str().ok_or_else(|| Error::Io {
        action: "write the path of",
        path: workspace.to_path_buf(),
        source: io::Error::new(io::ErrorKind::InvalidData, "the path is not UTF-8, as a Cargo.toml is"),
    })?;
    let mut written = Vec::new();
    for (path, text) in template::FILES {
        write_file(&directory.join(path), &template::filled_in(path, text, name, workspace))?;
        written.push(path);
    }
    // The versions that this workspace is tested with. Cargo removes what the project does not need.
    write_file(&directory.join(LOCK), &lock)?;
    written.push(LOCK);
    Ok(written)
}

/// A repository without files is as good as nothing.
fn check_empty(directory: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { action: "read", path: directory.to_path_buf(), source };
    let entries = match directory.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        if entry.map_err(failed)?.file_name() != ".git" {
            return Err(Error::NotEmpty { directory: directory.to_path_buf() });
        }
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).and_then(|()| fs::write(path, text)).map_err(|source| Error::Io {
        action: "write",
        path: path.to_path_buf(),
        source,
    })
}

fn summary(directory: &Path, files: &[&str]) -> String {
    let command = shell_word(&directory.to_string_lossy());
    let directory = directory.display();
    format!(
        "wrote to {directory}: {}

    cd {command}
    cargo run --bin train -- --run-id first                             trains; the first build takes minutes
    cargo run --bin predict -- burn_trainer_logs/first/best 0.5 -0.2    uses the best checkpoint

README.md says how to resume, and how to compute on a GPU.",
        files.join(", ")
    )
}

/// Text as one word of a shell.
fn shell_word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_./=:@%+-,".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
