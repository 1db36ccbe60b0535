//! Programs on a terminal of their own, by way of util-linux's `script`: what they draw, keys, and the window
//! that is closed.

use std::io::{PipeWriter, Write};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::running::{Ended, Running};

/// Begins and ends the dashboard's screen.
pub const ENTERED: &str = "\u{1b}[?1049h";
/// See [`ENTERED`].
pub const LEFT: &str = "\u{1b}[?1049l";
/// Ctrl-c.
pub const CTRL_C: &str = "\u{3}";

/// A program on a terminal, which ends when this is dropped.
#[derive(Debug)]
pub struct OnTerminal {
    script: Running,
    directory: TempDir,
    keys: PipeWriter,
}

impl OnTerminal {
    /// Starts a command on a terminal.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &Command) -> Self {
        Self::start_by(command, "exec \"$@\"")
    }

    /// The same, by a line of the shell in which `"$@"` is the command. `$WHERE` is a directory for files.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start_by(command: &Command, line: &str) -> Self {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("a directory: {error}"));
        let shell = directory.path().join("start");
        let text = format!(
            "stty rows 40 cols 120\necho $$ > \"$WHERE/new\" && mv \"$WHERE/new\" \"$WHERE/process\"\n{line}\n"
        );
        std::fs::write(&shell, text).unwrap_or_else(|error| panic!("{error}"));
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        // A shell cannot trap a signal that is ignored when it begins, as under nohup.
        let inner = format!("exec env --default-signal sh '{}' {}", shell.display(), words.join(" "));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &inner, "/dev/null"]);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        script.env("TERM", "xterm-256color").env("WHERE", directory.path());
        let (reader, keys) = std::io::pipe().unwrap_or_else(|error| panic!("{error}"));
        Self { script: Running::start_with_input(script, reader.into()), directory, keys }
    }

    /// The directory `$WHERE`.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_path_buf()
    }

    /// Waits until something is so. It gets what the terminal has shown.
    ///
    /// # Panics
    ///
    /// When the program ends before, or it takes too long.
    pub fn wait_for(&mut self, what: &str, mut is_so: impl FnMut(&str) -> bool) {
        let shown = self.script.output_file("stdout");
        self.script
            .wait_for(what, |_| is_so(&String::from_utf8_lossy(&std::fs::read(&shown).unwrap_or_default())));
    }

    /// Sends a signal to the program by its name.
    ///
    /// # Panics
    ///
    /// When there is no such process.
    pub fn send(&mut self, signal: &str) {
        let file = self.directory.path().join("process");
        self.script.wait_for("the process", |_| file.exists());
        let id = std::fs::read_to_string(&file).unwrap_or_default();
        let status = Command::new("kill").args([&format!("-{signal}"), id.trim()]).status();
        assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "kill: {status:?}");
    }

    /// Presses keys.
    ///
    /// # Panics
    ///
    /// When they are not read.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits for the end. Standard output has all that the terminal has shown.
    ///
    /// # Panics
    ///
    /// When it does not come.
    #[must_use]
    pub fn end(self) -> Ended {
        self.script.end()
    }

    /// Closes the window, as a terminal that is killed does. Returns the directory `$WHERE`, which stays
    /// until the end of the test.
    ///
    /// # Panics
    ///
    /// When it is closed already.
    #[must_use]
    pub fn close_window(self) -> TempDir {
        let _ = self.script.kill();
        self.directory
    }
}

/// What the terminal shows after the dashboard was left for good, as lines.
///
/// # Panics
///
/// When there was no dashboard, or it was not left.
#[must_use]
pub fn after_the_dashboard(ended: &Ended) -> String {
    assert!(ended.stdout.contains(ENTERED), "no dashboard: {ended:?}");
    let (_, after) = ended.stdout.rsplit_once(LEFT).unwrap_or_else(|| panic!("{ended:?}"));
    after.replace('\r', "")
}
