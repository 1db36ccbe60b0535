//! Training programs as processes: started, looked at, sent signals, waited for with a deadline, and ended
//! with the test whatever becomes of it.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use burn_ckpt::plumbing::{BEST_DIR, CHECKPOINT_DIR, LAST_DIR};
use tempfile::TempDir;

use super::commands::build;
use crate::run_files::{compare, run_dir};

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(3);
const POLL: Duration = Duration::from_millis(1);
/// The variables by which launchers, Slurm and LSF tell a process what it is, which the tests may be started
/// with as well.
const LAUNCHERS: [&str; 8] = ["RANK", "OMPI_COMM_WORLD_", "PMI_", "PMIX_", "MPI_", "JSM_", "LSB_", "SLURM_"];

/// The directory of the programs `warmup` and `digits` as they are now.
///
/// # Panics
///
/// When they cannot be built.
#[must_use]
pub fn programs() -> PathBuf {
    build(&["warmup", "digits"])
}

/// The program `warmup` with a root and more arguments, as it is started by hand.
#[must_use]
pub fn warmup(root: &Path, arguments: &str) -> Command {
    program("warmup", root, arguments)
}

/// The program `digits`, in the same way.
#[must_use]
pub fn digits(root: &Path, arguments: &str) -> Command {
    program("digits", root, arguments)
}

/// The command that a program printed, as a shell takes it. The programs are in the path.
///
/// # Panics
///
/// When it printed none.
#[must_use]
pub fn printed_command(stdout: &str) -> Command {
    let mut lines = stdout.lines().filter_map(|line| line.strip_prefix("resume: "));
    let line = lines.next().unwrap_or_else(|| panic!("no command to resume in {stdout:?}"));
    assert_eq!(lines.next(), None, "{stdout}");
    let mut command = Command::new("sh");
    // What is killed should a test fail is then the program itself.
    command
        .args(["-c", &format!("exec env --default-signal=INT {line}")])
        .env("PATH", path_with(&programs()));
    by_hand(command)
}

/// Runs the command that a program printed, and compares the run `r1` in `root` with an uninterrupted run.
///
/// # Panics
///
/// When they differ, or the command fails.
pub fn resumes_as(ended: &Ended, root: &Path, whole: &Path) {
    Running::start(printed_command(&ended.stdout)).end_well();
    compare(whole, &run_dir(root)).unwrap_or_else(|reason| panic!("{reason}"));
}

/// The program search path with a directory before all others.
///
/// # Panics
///
/// When the directory has a colon in its name.
#[must_use]
pub fn path_with(directory: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(directory.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(all).unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
}

fn program(name: &str, root: &Path, arguments: &str) -> Command {
    // A script that runs the tests in the background has ctrl-c ignored.
    let mut command = Command::new("/usr/bin/env");
    command.arg("--default-signal=INT").arg(programs().join(name));
    command.arg("--root").arg(root).args(arguments.split_whitespace());
    by_hand(command)
}

fn by_hand(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| LAUNCHERS.iter().any(|variable| name.starts_with(variable))) {
            command.env_remove(name);
        }
    }
    command
}

/// A program that runs, and ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: TempDir,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What else it said.
    pub stderr: String,
}

impl Ended {
    /// Its exit status, or `None` where a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// The lines with its errors. In a build with wgpu Mesa's choice of a device asks for a display, and
    /// Wayland says where there is none: that is not an error of the program.
    #[must_use]
    pub fn errors(&self) -> Vec<&str> {
        let errors = self.stderr.lines().filter(|line| line.starts_with("error: "));
        errors.filter(|line| !line.starts_with("error: XDG_RUNTIME_DIR is ")).collect()
    }
}

impl Running {
    /// Starts a command whose output goes to files.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: Command) -> Self {
        Self::start_with_input(command, Stdio::null())
    }

    /// The same with an input.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start_with_input(mut command: Command, input: Stdio) -> Self {
        let output = tempfile::tempdir().unwrap_or_else(|error| panic!("a directory: {error}"));
        let file =
            |name| File::create(output.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        command.stdin(input).stdout(file("stdout")).stderr(file("stderr"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, output }
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name: `INT`, `TERM`.
    ///
    /// # Panics
    ///
    /// When there is no such process any more.
    pub fn send(&self, signal: &str) {
        let status = Command::new("kill").args([&format!("-{signal}"), &self.id().to_string()]).status();
        assert!(status.as_ref().is_ok_and(ExitStatus::success), "kill -{signal}: {status:?}");
    }

    /// Stops it until it gets `CONT`, and waits until it stands still.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn stop(&mut self) {
        self.send("STOP");
        let stat = format!("/proc/{}/stat", self.id());
        // The state follows the name, which is in parentheses and may hold any letter.
        let stands = || std::fs::read_to_string(&stat).is_ok_and(|text| text.contains(") T "));
        self.wait_for("standing still", |_| stands());
    }

    /// Waits until something is so, of what it has said for instance.
    ///
    /// # Panics
    ///
    /// When the program ends before, or it takes too long.
    pub fn wait_for(&mut self, what: &str, mut is_so: impl FnMut(&str) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.read("stderr")) {
            let ended = self.child.try_wait().unwrap_or_else(|error| panic!("{error}"));
            assert!(ended.is_none(), "it ended before {what}: {:?}", self.ended(ended));
            assert!(begun.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}; {}", self.read("stderr"));
            std::thread::sleep(POLL);
        }
    }

    /// Waits until a checkpoint of the run is being written, or its end, which may come before that is seen.
    ///
    /// # Panics
    ///
    /// When neither comes.
    pub fn wait_for_a_save_or_the_end(&mut self, run_dir: &Path) {
        let begun = Instant::now();
        while !is_saving(run_dir) && !self.has_ended() {
            assert!(begun.elapsed() < PATIENCE, "neither a save nor an end; {}", self.read("stderr"));
            std::thread::yield_now();
        }
    }

    /// Stops it in the middle of writing a checkpoint of the run.
    ///
    /// # Panics
    ///
    /// When it ends before.
    pub fn stop_in_a_save(&mut self, run_dir: &Path) {
        loop {
            self.wait_for_a_save_or_the_end(run_dir);
            assert!(!self.has_ended(), "it ended before it was stopped in a save");
            self.stop();
            if is_saving(run_dir) {
                return;
            }
            self.send("CONT");
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_some())
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it does not come.
    #[must_use]
    pub fn end(mut self) -> Ended {
        let begun = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap_or_else(|error| panic!("{error}"));
            if ended.is_some() {
                return self.ended(ended);
            }
            assert!(begun.elapsed() < PATIENCE, "it has no end; it said {}", self.read("stderr"));
            std::thread::sleep(POLL);
        }
    }

    /// Waits for its end, which is to be a good one.
    ///
    /// # Panics
    ///
    /// When it is not, or does not come; the message holds what the program said.
    pub fn end_well(self) -> Ended {
        let ended = self.end();
        assert!(ended.status.success(), "{ended:?}");
        ended
    }

    /// Sends signals until it has ended.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn send_until_the_end(&mut self, signal: &str) {
        let begun = Instant::now();
        while !self.has_ended() {
            assert!(begun.elapsed() < PATIENCE, "SIG{signal} does not end it");
            self.send(signal);
            std::thread::sleep(POLL);
        }
    }

    /// Ends it by force.
    ///
    /// # Panics
    ///
    /// When it cannot be waited for.
    pub fn kill(mut self) -> Ended {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        self.ended(Some(ended.unwrap_or_else(|error| panic!("{error}"))))
    }

    fn ended(&self, status: Option<ExitStatus>) -> Ended {
        let status = status.unwrap_or_default();
        Ended { status, stdout: self.read("stdout"), stderr: self.read("stderr") }
    }

    /// The file that has its `stdout` or its `stderr`.
    #[must_use]
    pub fn output_file(&self, name: &str) -> PathBuf {
        self.output.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.output_file(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where all is well. One that stands still ends too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a checkpoint of the run is being written at this moment. Files may come and go while they are
/// listed.
#[must_use]
pub fn is_saving(run_dir: &Path) -> bool {
    let directories = [LAST_DIR, BEST_DIR].map(|name| run_dir.join(CHECKPOINT_DIR).join(name));
    let entries = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
    entries.filter_map(Result::ok).any(|entry| entry.file_name().to_string_lossy().contains(".staging"))
}

/// Whether a directory holds a checkpoint with its metadata and nothing else: its save is over, links and
/// removals included.
#[must_use]
pub fn holds(directory: &Path, stem: &str) -> bool {
    let names = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.len() == 2 && names.iter().all(|name| name.starts_with(&format!("{stem}.ckpt")))
}
