//! The `git` part: branch, commit, and what differs from it, as the `git` program tells.
//!
//! The program is asked rather than the repository read: only it knows worktrees, packed references
//! and the user's own settings. A repository is somebody else's input, though. So git never gets to
//! ask for a password, take a lock, reach a network or start a program that a repository, its
//! attributes or its settings name, and no remote is read:
//!
//! | what could start a program | what is done |
//! | --- | --- |
//! | a file monitor | switched off |
//! | external diffs, conversions to text | switched off |
//! | filters that a file's content passes through (git-lfs has one) | those that are configured are made to fail, see [`Repository::filters`] |
//! | hooks | run by nothing that is asked here |
//! | a fetch of objects that a partial clone lacks | no protocol is allowed |

use std::ffi::OsStr;
use std::fmt::Write;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::subprocess;

/// How long all questions together may take. What is still unanswered then is unknown.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// Most bytes of the names of all settings together.
const MAX_SETTINGS_BYTES: u64 = 1 << 20;

/// Variables that make git answer for another repository than the one around the directory it runs
/// in (those that `git rev-parse --local-env-vars` lists and that hold no settings), or answer in
/// another way. A program that a git hook starts inherits them.
const REDIRECTIONS: [&str; 16] = [
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

/// The diff that is digested; [`Git::diff_sha256`] has the command as a user writes it.
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

/// The state of the repository around the working directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Git {
    /// The branch, or `None` for a detached head.
    pub branch: Option<String>,
    /// The commit in full, or `None` in a repository without any.
    pub commit: Option<String>,
    /// Whether a tracked file differs from the commit, also one of a submodule, or `None` where
    /// that took too long to find out or cannot be told without a filter's program.
    pub dirty: Option<bool>,
    /// SHA-256 of the changes to tracked files, so that one can tell later whether a diff that was
    /// kept is the one that was run. Where `dirty` is not true there is none.
    ///
    /// It is what this prints, anywhere in the repository:
    ///
    /// ```text
    /// git diff-index --patch --full-index --no-ext-diff --no-textconv --no-color --no-renames \
    ///     --ignore-submodules=dirty HEAD | sha256sum
    /// ```
    ///
    /// A submodule is in it with its commit, and not with what differs inside it.
    pub diff_sha256: Option<String>,
}

/// The repository around `directory`, or `None` where there is none or no `git` program.
pub(crate) fn read(directory: &Path) -> Option<Git> {
    read_with(OsStr::new("git"), directory, Instant::now() + TIME_LIMIT)
}

fn read_with(program: &OsStr, directory: &Path, deadline: Instant) -> Option<Git> {
    let repository = Repository { program, directory, deadline };
    let inside = repository.line(&["rev-parse", "--is-inside-work-tree"])?;
    let mut git = Git {
        // Of the ways to ask, this one answers before the first commit too, and fails for a
        // detached head.
        branch: repository.line(&["symbolic-ref", "--quiet", "--short", "HEAD"]),
        commit: repository.line(&["rev-parse", "--quiet", "--verify", "HEAD"]),
        ..Git::default()
    };
    // Last, as these alone grow with the repository. Where there are no files, nothing is said of them.
    if inside == "true" {
        git.dirty = repository.dirty();
        git.diff_sha256 = git.dirty.filter(|&dirty| dirty).and_then(|_| repository.diff_sha256());
    }
    Some(git)
}

/// A repository to which questions are put. No program, no repository, no such thing in it, no answer in time: for a
/// description they are one, which is `None`.
struct Repository<'a> {
    program: &'a OsStr,
    directory: &'a Path,
    deadline: Instant,
}

impl Repository<'_> {
    fn ask(&self, question: &[&str]) -> Option<Vec<u8>> {
        subprocess::output_of(self.command(&[], question), self.deadline).ok()
    }

    fn line(&self, question: &[&str]) -> Option<String> {
        let answer = String::from_utf8_lossy(&self.ask(question)?).trim().to_owned();
        (!answer.is_empty()).then_some(answer)
    }

    /// Whether a tracked file differs, here or in a submodule. Each submodule is asked by itself: git would do so with the
    /// filters of its settings.
    fn dirty(&self) -> Option<bool> {
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

    fn diff_sha256(&self) -> Option<String> {
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

    /// Settings that make every filter which is configured fail, where git would have to start it.
    ///
    /// Git compares the content of a file whose time is another than in the index, and for that runs the filter that the
    /// file's attributes name: a program of the repository's or the user's choice. Without it the content cannot be compared.
    /// A filter that is required and has no program is an error of git's, and what was asked stays unknown.
    fn filters(&self) -> Option<Vec<String>> {
        let question = self.command(&[], &["config", "--null", "--name-only", "--list"]);
        let names = subprocess::read_from(question, self.deadline, |mut source| {
            let mut names = String::new();
            source.by_ref().take(MAX_SETTINGS_BYTES).read_to_string(&mut names)?;
            // Of a list that goes on, a filter may be missing.
            if source.read(&mut [0])? > 0 { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(names) }
        });
        let mut settings = Vec::new();
        for name in names.ok()?.split_terminator('\0').filter(|name| name.starts_with("filter.")) {
            let (filter, _) = name.rsplit_once('.')?;
            // Git takes the first for the end of the name.
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

    /// Where the submodules are that are checked out.
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

    /// A question to git that is answered from the directory alone, and changes nothing.
    fn command(&self, settings: &[String], question: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        for setting in settings {
            command.args(["-c", setting]);
        }
        command
            // It would also outlive this command.
            .args(["-c", "core.fsmonitor=false"])
            .args(question)
            .current_dir(self.directory)
            // `git status` refreshes the index otherwise, and with it a lock that the user's own git
            // then trips over.
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            // The line before is younger than many a git.
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;
    use crate::scratch_dir::ScratchDir;

    /// Runs git for a test, cut off from the settings and hooks of whoever runs the tests.
    fn git(repository: &ScratchDir, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command
            .args(["-c", "user.name=Test", "-c", "user.email=test@test.invalid"])
            .args(arguments)
            .current_dir(repository.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        for name in REDIRECTIONS {
            command.env_remove(name);
        }
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn empty_repository() -> ScratchDir {
        let repository = ScratchDir::new("git");
        git(&repository, &["init", "--quiet", "--initial-branch=trunk"]);
        repository
    }

    /// A repository with one commit of `file`, and that commit.
    fn repository() -> (ScratchDir, String) {
        let repository = empty_repository();
        repository.write("file", "committed\n");
        git(&repository, &["add", "file"]);
        git(&repository, &["commit", "--quiet", "--message=first"]);
        let commit = git(&repository, &["log", "-1", "--format=%H"]);
        (repository, commit)
    }

    /// Longer than any busy machine needs: these tests are about answers, not about time.
    fn far_off() -> Instant {
        Instant::now() + Duration::from_mins(5)
    }

    fn asked(directory: &Path) -> Option<Git> {
        read_with(OsStr::new("git"), directory, far_off())
    }

    #[test]
    fn a_clean_branch_has_its_name_its_commit_and_no_changes() {
        let (repository, commit) = repository();
        git(&repository, &["checkout", "--quiet", "-b", "topic/a"]);
        let expected = Git {
            branch: Some("topic/a".to_owned()),
            commit: Some(commit),
            dirty: Some(false),
            diff_sha256: None,
        };
        assert_eq!(asked(repository.path()), Some(expected));
    }

    #[test]
    fn a_directory_inside_a_repository_belongs_to_it() {
        let (repository, commit) = repository();
        let inside = repository.write("a/b/untracked", "");
        let git = asked(inside.parent().unwrap()).unwrap();
        assert_eq!(git.branch.as_deref(), Some("trunk"));
        assert_eq!(git.commit, Some(commit));
    }

    #[test]
    fn a_tracked_file_that_changed_makes_it_dirty_and_an_untracked_one_does_not() {
        let (repository, _) = repository();
        repository.write("untracked", "new\n");
        assert_eq!(asked(repository.path()).unwrap().dirty, Some(false));
        repository.write("file", "changed since\n");
        assert_eq!(asked(repository.path()).unwrap().dirty, Some(true));
        git(&repository, &["add", "file"]);
        assert_eq!(asked(repository.path()).unwrap().dirty, Some(true));
    }

    #[test]
    fn a_detached_head_has_a_commit_and_no_branch() {
        let (repository, commit) = repository();
        git(&repository, &["checkout", "--quiet", "--detach"]);
        let expected = Git { commit: Some(commit), dirty: Some(false), ..Git::default() };
        assert_eq!(asked(repository.path()), Some(expected));
    }

    #[test]
    fn a_repository_without_commits_has_a_branch_and_no_commit() {
        let expected = Git { branch: Some("trunk".to_owned()), dirty: Some(false), ..Git::default() };
        assert_eq!(asked(empty_repository().path()), Some(expected));
    }

    #[test]
    fn where_there_are_no_files_nothing_is_said_of_their_changes() {
        let (repository, commit) = repository();
        let expected = Git { branch: Some("trunk".to_owned()), commit: Some(commit), ..Git::default() };
        assert_eq!(asked(&repository.path().join(".git")), Some(expected));
    }

    #[test]
    fn a_directory_outside_of_any_repository_has_none() {
        let outside = ScratchDir::new("git");
        assert_eq!(read(outside.path()), None);
        assert_eq!(read(&outside.path().join("missing")), None);
    }

    #[test]
    fn no_variable_that_git_holds_for_local_to_a_repository_is_handed_on() {
        let git = OsStr::new("git");
        let repository = Repository { program: git, directory: Path::new("."), deadline: far_off() };
        let command = repository.command(&[], &["status"]);
        let changes: Vec<_> = command.get_envs().collect();
        let local = Command::new("git").args(["rev-parse", "--local-env-vars"]).output().unwrap();
        let local = String::from_utf8(local.stdout).unwrap();
        // Settings are the user's wherever they come from.
        for name in local.lines().filter(|name| !name.starts_with("GIT_CONFIG")) {
            assert!(changes.contains(&(OsStr::new(name), None)), "{name}");
        }
        assert!(local.contains("GIT_DIR"));
    }

    #[test]
    fn a_machine_without_git_has_none() {
        let (repository, _) = repository();
        let program = OsStr::new("burn-environment-no-such-program");
        let deadline = far_off();
        assert_eq!(read_with(program, repository.path(), deadline), None);
    }

    #[test]
    fn a_remote_url_is_not_recorded() {
        let (repository, _) = repository();
        let url = "https://user:hunter2@git.example/a.git";
        git(&repository, &["remote", "add", "origin", url]);
        let git = asked(repository.path()).unwrap();
        let written = serde_json::to_string(&git).unwrap();
        assert!(!written.contains("hunter2"), "{written}");
        assert!(!written.contains("git.example"), "{written}");
    }

    #[test]
    fn asking_leaves_the_repository_as_it_was() {
        let (repository, _) = repository();
        // The same content with another time: an ordinary `git status` would now refresh the index.
        let file = repository.write("file", "committed\n");
        let file = File::options().write(true).open(file).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let index = repository.path().join(".git/index");
        let before = std::fs::read(&index).unwrap();
        assert_eq!(asked(repository.path()).unwrap().dirty, Some(false));
        assert_eq!(std::fs::read(&index).unwrap(), before);
    }

    /// What the documentation tells a user to do.
    fn printed_and_digested(repository: &ScratchDir) -> String {
        let command = "git diff-index --patch --full-index --no-ext-diff --no-textconv --no-color --no-renames \
                       --ignore-submodules=dirty HEAD | sha256sum";
        let output =
            Command::new("sh").args(["-c", command]).current_dir(repository.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
    }

    #[test]
    fn the_digest_of_a_diff_is_that_of_the_documented_command_in_any_directory() {
        let (repository, _) = repository();
        let inside = repository.write("a/text", "one\ntwo\n");
        repository.write("a/binary", "a\0b");
        git(&repository, &["add", "a"]);
        git(&repository, &["commit", "--quiet", "--message=second"]);
        let mut seen = Vec::new();
        for (name, text) in [("file", "changed\n"), ("a/text", "one\n2\n"), ("a/binary", "a\0c")] {
            repository.write(name, text);
            let digest = asked(inside.parent().unwrap()).unwrap().diff_sha256.unwrap();
            assert_eq!(digest, printed_and_digested(&repository), "{name}");
            assert!(!seen.contains(&digest), "{name}");
            seen.push(digest);
        }
        git(&repository, &["add", "."]);
        assert_eq!(asked(repository.path()).unwrap().diff_sha256.as_ref(), seen.last());
        git(&repository, &["reset", "--quiet", "--hard"]);
        assert_eq!(asked(repository.path()).unwrap().diff_sha256, None);
    }

    #[test]
    fn how_a_user_likes_diffs_to_look_is_of_no_consequence() {
        let (repository, _) = repository();
        repository.write("file", "changed\n");
        let before = asked(repository.path()).unwrap().diff_sha256;
        for (name, value) in [
            ("color.ui", "always"),
            ("diff.noprefix", "true"),
            ("diff.mnemonicPrefix", "true"),
            ("diff.context", "0"),
            ("diff.algorithm", "patience"),
            ("diff.renames", "copies"),
            ("diff.relative", "true"),
            ("core.pager", "false"),
        ] {
            git(&repository, &["config", name, value]);
        }
        assert!(before.is_some());
        assert_eq!(asked(repository.path()).unwrap().diff_sha256, before);
    }

    /// Each of them would leave a file behind.
    #[cfg(unix)]
    #[test]
    fn no_program_that_the_repository_names_is_run() {
        let (repository, _) = repository();
        let ran = repository.path().join("ran").display().to_string();
        let program = repository.write("program", &format!("#!/bin/sh\ntouch '{ran}'\ncat\n"));
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, permissions).unwrap();
        let program = program.display().to_string();
        for hook in ["post-index-change", "reference-transaction", "pre-commit"] {
            let hook = repository.path().join(".git/hooks").join(hook);
            std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
            std::fs::copy(&program, hook).unwrap();
        }
        let harmless = ["core.fsmonitor", "diff.external", "diff.d.command", "diff.d.textconv", "core.pager"];
        for name in harmless.into_iter().chain(["filter.f.clean", "filter.f.process", "filter.f.smudge"]) {
            git(&repository, &["config", name, &program]);
        }
        let info = repository.write(".git/info/attributes", "file diff=d\n");
        repository.write("file", "changed\n");
        let described = asked(repository.path()).unwrap();
        assert_eq!(described.dirty, Some(true));
        assert!(described.diff_sha256.is_some());

        std::fs::write(info, "file diff=d filter=f\n").unwrap();
        // Of another size than before, which is enough for the one and not for the other.
        let described = asked(repository.path()).unwrap();
        assert_eq!((described.dirty, described.diff_sha256), (Some(true), None));
        repository.write("file", "COMMITTED\n");
        let described = asked(repository.path()).unwrap();
        assert_eq!((described.dirty, described.diff_sha256), (None, None));
        assert!(described.commit.is_some());
        assert!(!repository.path().join("ran").exists());

        // The judge sees what there is to see.
        let mut status = Command::new("git");
        status.args(["status", "--porcelain"]).current_dir(repository.path()).output().unwrap();
        assert!(repository.path().join("ran").exists());
    }

    #[test]
    fn a_filter_whose_name_is_no_setting_leaves_the_changes_unknown() {
        let (repository, _) = repository();
        std::fs::write(repository.path().join("file"), "changed\n").unwrap();
        git(&repository, &["config", "filter.a.b.clean", "false"]);
        assert_eq!(asked(repository.path()).unwrap().dirty, Some(true));
        repository.write(".git/config", "[filter \"a=b\"]\n\tclean = false\n");
        let described = asked(repository.path()).unwrap();
        assert_eq!((described.dirty, described.diff_sha256), (None, None));
    }

    #[test]
    fn more_settings_than_the_limit_leave_the_changes_unknown() {
        let (repository, _) = repository();
        let config = repository.path().join(".git/config");
        let settings = std::fs::read_to_string(&config).unwrap();
        let line = "\tkey = 1\n";
        // Each is listed as `a.key` and a byte for its end.
        let lines = MAX_SETTINGS_BYTES as usize / "a.key\0".len();
        std::fs::write(&config, format!("{settings}[a]\n{}", line.repeat(lines / 2))).unwrap();
        assert_eq!(asked(repository.path()).unwrap().dirty, Some(false));
        std::fs::write(&config, format!("{settings}[a]\n{}", line.repeat(lines))).unwrap();
        assert_eq!(asked(repository.path()).unwrap().dirty, None);
    }

    #[test]
    fn what_changed_in_a_submodule_makes_the_repository_dirty() {
        let (outer, _) = repository();
        let (inner, _) = repository();
        let url = inner.path().display().to_string();
        git(&outer, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url, "a/sub"]);
        git(&outer, &["commit", "--quiet", "--message=second"]);
        let elsewhere = outer.write("b/untracked", "");
        let described = || asked(elsewhere.parent().unwrap()).unwrap();
        assert_eq!((described().dirty, described().diff_sha256), (Some(false), None));
        outer.write("a/sub/untracked", "");
        assert_eq!(described().dirty, Some(false));
        outer.write("a/sub/file", "changed\n");
        assert_eq!(described().dirty, Some(true));
        assert_eq!(described().diff_sha256, Some(printed_and_digested(&outer)));
        // With a filter of the submodule's own it cannot be told, and the filter is not run.
        outer.write("a/sub/file", "COMMITTED\n");
        let config = outer.path().join(".git/modules/a/sub/config");
        let settings = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, settings + "[filter \"f\"]\n\tclean = touch ran; cat\n").unwrap();
        outer.write(".git/modules/a/sub/info/attributes", "file filter=f\n");
        assert_eq!(described().dirty, None);
        assert!(!outer.path().join("a/sub/ran").exists());
        outer.write("file", "changed\n");
        assert_eq!(described().dirty, Some(true));
    }

    #[cfg(unix)]
    #[test]
    fn a_repository_of_another_user_is_none() {
        let (repository, _) = repository();
        // What git's own tests do.
        let script = r#"GIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec git "$@""#;
        let program = repository.write("git", &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(read_with(program.as_os_str(), repository.path(), far_off()), None);
    }

    #[test]
    fn what_is_no_repository_though_it_looks_like_one_is_none() {
        for git_file in ["gitdir: nowhere\n", "", "\0"] {
            let directory = ScratchDir::new("git");
            directory.write(".git", git_file);
            assert_eq!(asked(directory.path()), None);
        }
        let directory = ScratchDir::new("git");
        directory.write(".git/HEAD", "\0");
        assert_eq!(asked(directory.path()), None);
    }

    #[test]
    fn a_bare_repository_has_a_branch_and_no_files() {
        let (repository, commit) = repository();
        git(&repository, &["clone", "--quiet", "--bare", ".", "bare.git"]);
        let expected = Git { branch: Some("trunk".to_owned()), commit: Some(commit), ..Git::default() };
        assert_eq!(asked(&repository.path().join("bare.git")), Some(expected));
    }

    #[test]
    fn a_worktree_has_a_branch_and_changes_of_its_own() {
        let (repository, commit) = repository();
        git(&repository, &["worktree", "add", "--quiet", "-b", "topic", "tree"]);
        repository.write("tree/file", "changed\n");
        let worktree = asked(&repository.path().join("tree")).unwrap();
        assert_eq!((worktree.branch.as_deref(), worktree.commit), (Some("topic"), Some(commit)));
        assert_eq!((worktree.dirty, worktree.diff_sha256.is_some()), (Some(true), true));
        assert_eq!(asked(repository.path()).unwrap().dirty, Some(false));
    }

    #[cfg(unix)]
    #[test]
    fn a_git_that_does_not_answer_in_time_tells_nothing() {
        let (repository, _) = repository();
        let program = repository.write("git", "#!/bin/sh\nsleep 600\n");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let deadline = Instant::now() + Duration::from_millis(50);
        assert_eq!(read_with(program.as_os_str(), repository.path(), deadline), None);
        assert!(Instant::now() < deadline + Duration::from_mins(5));
    }
}
