//! [`Repository`]: the commands that git is asked with, and the settings that keep it from starting other
//! programs.

use std::ffi::OsStr;
use std::fmt::Write;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::subprocess;

/// Most bytes of the names of all settings together.
pub(super) const MAX_SETTINGS_BYTES: u64 = 1 << 20;

/// Variables that make git answer for another repository than the one around the directory it runs
/// in (those that `git rev-parse --local-env-vars` lists and that hold no settings), or answer in
/// another way. A program that a git hook starts inherits them.
pub(super) const REDIRECTIONS: [&str; 16] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_ATTR_SOURCE",
    "GIT_COMMON_DIR",
    "GIT_DIFF_OPTS",
    "GIT_DIR",
    "GIT_EXTERNAL_DIFF",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// The diff that is digested; [`Git::diff_sha256`](super::Git::diff_sha256) has the command as a user writes
/// it.
///
/// `diff-index` and not `diff`: the latter goes by the user's settings for how a diff looks, and it
/// writes to the index. Changes of binary files are in it with the hashes of their contents; their
/// bytes, which `--binary` adds, depend on how git was built.
const DIFF: [&str; 9] = [
    "diff-index",
    "--patch",
    "--full-index",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-renames",
    "--ignore-submodules=dirty",
    "HEAD",
];

/// A repository that git is asked about. `None` stands for every missing answer: no program, no repository,
/// no such thing in it, no answer before the deadline.
pub(super) struct Repository<'a> {
    pub(super) program: &'a OsStr,
    pub(super) directory: &'a Path,
    pub(super) deadline: Instant,
}

impl Repository<'_> {
    fn ask(&self, question: &[&str]) -> Option<Vec<u8>> {
        subprocess::output_of(self.command(&[], question), self.deadline).ok()
    }

    pub(super) fn line(&self, question: &[&str]) -> Option<String> {
        let answer = String::from_utf8_lossy(&self.ask(question)?).trim().to_owned();
        (!answer.is_empty()).then_some(answer)
    }

    /// Whether a tracked file differs, here or in a submodule. Each submodule is asked separately: git would
    /// ask it with the filters that the submodule configures.
    pub(super) fn dirty(&self) -> Option<bool> {
        let question = ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty"];
        let changed = subprocess::output_of(self.command(&self.filters()?, &question), self.deadline).ok()?;
        if !changed.is_empty() {
            return Some(true);
        }
        let mut known = Some(false);
        for path in self.submodules()? {
            match (Repository { directory: &path, ..*self }).dirty() {
                Some(true) => return Some(true),
                Some(false) => {}
                None => known = None,
            }
        }
        known
    }

    pub(super) fn diff_sha256(&self) -> Option<String> {
        let digest = |source| {
            let mut digest = Sha256::new();
            copy(source, &mut digest)?;
            Ok(digest.finalize())
        };
        let digest =
            subprocess::read_from(self.command(&self.filters()?, &DIFF), self.deadline, digest).ok()?;
        let mut hex = String::new();
        for byte in digest {
            write!(hex, "{byte:02x}").ok()?;
        }
        Some(hex)
    }

    /// Settings that make every configured filter fail, where git would have to start it.
    ///
    /// Git compares the content of a file whose time differs from the index. For that it runs the filter that
    /// the file's attributes name, a program that the repository or the user chose. Without the filter the
    /// content cannot be compared: a required filter without a program is an error of git, and the answer
    /// stays unknown.
    fn filters(&self) -> Option<Vec<String>> {
        let question = self.command(&[], &["config", "--null", "--name-only", "--list"]);
        let names = subprocess::read_from(question, self.deadline, |mut source| {
            let mut names = String::new();
            source.by_ref().take(MAX_SETTINGS_BYTES).read_to_string(&mut names)?;
            // A filter may be missing in a list that was cut off.
            if source.read(&mut [0])? > 0 { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(names) }
        });
        let mut settings = Vec::new();
        for name in names.ok()?.split_terminator('\0').filter(|name| name.starts_with("filter.")) {
            let (filter, _) = name.rsplit_once('.')?;
            // Git ends the name of a setting at the first `=`.
            if filter.contains('=') {
                return None;
            }
            settings.extend([
                format!("{filter}.clean="),
                format!("{filter}.process="),
                format!("{filter}.required=true"),
            ]);
        }
        Some(settings)
    }

    /// The directories of the submodules that are checked out.
    fn submodules(&self) -> Option<Vec<PathBuf>> {
        // Files are listed below the directory that asks, and are named from there.
        let to_top = self.ask(&["rev-parse", "--show-cdup"])?;
        let top = self.directory.join(String::from_utf8(to_top).ok()?.trim_end_matches('\n'));
        let asked = Repository { directory: &top, ..*self }.command(&[], &["ls-files", "--stage", "-z"]);
        let paths = subprocess::read_from(asked, self.deadline, |source| {
            let mut paths = Vec::new();
            for entry in BufReader::new(source).split(0) {
                let entry = entry?;
                // What git calls a link: `160000 <commit> 0\t<path>`.
                if entry.starts_with(b"160000 ") {
                    let entry = String::from_utf8(entry).map_err(io::Error::other)?;
                    paths.extend(entry.split_once('\t').map(|(_, path)| PathBuf::from(path)));
                }
            }
            Ok(paths)
        });
        let paths = paths.ok()?.into_iter().map(|path| top.join(path));
        Some(paths.filter(|path| path.join(".git").exists()).collect())
    }

    /// A command that git answers from the directory alone, and that changes nothing.
    pub(super) fn command(&self, settings: &[String], question: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        for setting in settings {
            command.args(["-c", setting]);
        }
        command
            // A file monitor would also outlive this command.
            .args(["-c", "core.fsmonitor=false"])
            .args(question)
            .current_dir(self.directory)
            // Otherwise `git status` refreshes the index, and takes a lock that makes the user's own git
            // fail.
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            // Older versions of git do not know the variable before.
            .env("GIT_ALLOW_PROTOCOL", "none");
        for name in REDIRECTIONS {
            command.env_remove(name);
        }
        command
    }
}

/// Feeds all of a source to a digest.
fn copy(mut source: impl Read, digest: &mut Sha256) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(()),
            length => digest.update(&buffer[..length]),
        }
    }
}
