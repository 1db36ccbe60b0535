//! Programs in a shell of tmux, as a user sees them: the screen, what has scrolled off it, and the mode in
//! which they leave the terminal.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(3);
const POLL: Duration = Duration::from_millis(20);
const PROMPT: &str = "$ ";

/// A shell in a terminal of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct InTmux {
    directory: TempDir,
}

impl InTmux {
    /// Starts a shell with job control, which can start the command as `./program`.
    ///
    /// # Panics
    ///
    /// When tmux cannot be started.
    #[must_use]
    pub fn start(rows: usize, columns: usize, command: &Command) -> Self {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("a directory: {error}"));
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
        let variables = command.get_envs().map(|(name, value)| match value {
            Some(value) => format!("export {}={}\n", name.display(), quoted(&value.to_string_lossy())),
            None => format!("unset {}\n", name.display()),
        });
        let script = format!("#!/bin/sh\n{}exec {}\n", variables.collect::<String>(), words.join(" "));
        let program = directory.path().join("program");
        fs::write(&program, script).unwrap_or_else(|error| panic!("{error}"));
        let made = Command::new("chmod").arg("+x").arg(&program).status();
        assert!(made.as_ref().is_ok_and(std::process::ExitStatus::success), "{made:?}");
        let this = Self { directory };
        let size = [rows.to_string(), columns.to_string()];
        let shell = format!("exec env -u ENV PS1='{PROMPT}' sh -i");
        let start = ["-f", "/dev/null", "new-session", "-d", "-y", &size[0], "-x", &size[1], "-c"];
        let directory = this.directory.path().display().to_string();
        this.tmux(&[&start[..], &[&directory, &shell]].concat());
        this.tmux(&["set-option", "-g", "history-limit", "10000"]);
        this.wait_for("the prompt", |screen| screen.trim_end().ends_with(PROMPT.trim_end()));
        this
    }

    /// A directory for files, in which the shell is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Types a line.
    ///
    /// # Panics
    ///
    /// When tmux has ended.
    pub fn type_line(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.press("Enter");
    }

    /// Presses a key by tmux's name: `C-c`, `Enter`.
    ///
    /// # Panics
    ///
    /// When tmux has ended.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// What is on the screen.
    ///
    /// # Panics
    ///
    /// When tmux has ended.
    #[must_use]
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The same with what has scrolled off. Lines that the terminal has wrapped are joined.
    ///
    /// # Panics
    ///
    /// When tmux has ended.
    #[must_use]
    pub fn all(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-J", "-S", "-"])
    }

    /// Whether a full-screen program has the screen.
    ///
    /// # Panics
    ///
    /// When tmux has ended.
    #[must_use]
    pub fn is_full_screen(&self) -> bool {
        self.tmux(&["display-message", "-p", "#{alternate_on}"]).trim() == "1"
    }

    /// Waits until the screen is so.
    ///
    /// # Panics
    ///
    /// When it takes too long.
    pub fn wait_for(&self, what: &str, mut is_so: impl FnMut(&str) -> bool) {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}\n{screen}");
            std::thread::sleep(POLL);
        }
    }

    /// Checks that the terminal is as a shell needs it: main screen, cursor, no mouse, whole lines with echo.
    ///
    /// # Panics
    ///
    /// When it is not.
    pub fn is_whole(&self) {
        // The shell reads the line only from a terminal that is in order.
        self.type_line("stty -a > mode.new && mv mode.new mode");
        let mode = self.directory().join("mode");
        self.wait_for("the terminal's mode", |_| mode.exists());
        let text = fs::read_to_string(&mode).unwrap_or_else(|error| panic!("{error}"));
        let words: Vec<&str> = text.split([' ', ';', '\n']).collect();
        for flag in ["icanon", "echo", "isig", "iexten", "opost", "icrnl", "ixon"] {
            assert!(words.contains(&flag), "{flag} is off: {text}");
        }
        assert!(text.contains("susp = ^Z") && text.contains("quit = ^\\"), "{text}");
        let flags = "#{alternate_on} #{cursor_flag} #{mouse_any_flag}#{mouse_standard_flag}";
        assert_eq!(self.tmux(&["display-message", "-p", flags]).trim(), "0 1 00", "{}", self.screen());
        let _ = fs::remove_file(mode);
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let socket = self.directory.path().join("tmux");
        // It has the environment of the first call.
        let output =
            Command::new("tmux").env_remove("TMUX").arg("-u").arg("-S").arg(socket).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("tmux: {error}"));
        assert!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for InTmux {
    fn drop(&mut self) {
        let socket = self.directory.path().join("tmux");
        let _ = Command::new("tmux").arg("-S").arg(socket).arg("kill-server").output();
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
