//! The processes that read changed files, with a limit of memory and of time: an abort, a hang or too much
//! memory ends them alone.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::outcome::Outcome;
use super::serve::INPUT;
use super::target::Target;
use crate::hand_made_files::write_safetensors;

/// A start takes longer, since it may train.
const START: Duration = Duration::from_secs(60);
/// The most that a process may print on standard error, in bytes. What it quotes of a file is cut.
const MOST_PRINTED: usize = 20_000;
/// The most of it that a finding quotes, in characters.
const QUOTED: usize = 400;

/// Reads one changed file after the other.
pub(super) struct Worker {
    target: Target,
    /// The program that serves, or `burn-ckpt`.
    program: PathBuf,
    directory: PathBuf,
    serving: Option<Serving>,
}

struct Serving {
    child: Child,
    orders: ChildStdin,
    lines: Receiver<String>,
}

impl Worker {
    pub(super) fn new(target: Target, programs: &Path, directory: PathBuf) -> Result<Self, String> {
        let program = programs.join(if target.is_imported() { "burn-ckpt" } else { "fuzz" });
        if target == Target::ShardIndex {
            for (name, tensor) in [("a", "w"), ("b", "v")] {
                let header = format!(r#"{{"{tensor}":{{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}}}"#);
                write_safetensors(&directory.join(format!("{name}.safetensors")), &header, &[0; 12]);
            }
        }
        Ok(Self { target, program, directory, serving: None })
    }

    /// What comes of a changed file.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Outcome, String> {
        let input = self.directory.join(INPUT);
        std::fs::write(&input, bytes).map_err(|error| format!("{}: {error}", input.display()))?;
        if self.target.is_imported() {
            return self.import(&input);
        }
        let mut serving = match self.serving.take() {
            Some(serving) => serving,
            None => self.start()?,
        };
        let sent = serving.orders.write_all(b"\n");
        let outcome = match sent
            .map_err(|error| error.to_string())
            .and_then(|()| serving.answer(self.target.longest()))
        {
            Ok(outcome) => {
                self.serving = Some(serving);
                outcome
            }
            Err(what) => {
                let ended = end(&mut serving.child);
                Outcome::Bad(format!("{what}; {ended}; {}", self.quoted()))
            }
        };
        Ok(outcome)
    }

    fn import(&self, input: &Path) -> Result<Outcome, String> {
        let out = self.directory.join("out.ckpt");
        let mut child = self
            .command(&["import", "--force"])
            .arg(input)
            .arg(&out)
            .spawn()
            .map_err(|error| error.to_string())?;
        let begin = Instant::now();
        let status = loop {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) => break status,
                None if begin.elapsed() > self.target.longest() => {
                    let ended = end(&mut child);
                    return Ok(Outcome::Bad(format!("it hangs; {ended}; {}", self.quoted())));
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let printed = self.printed();
        if printed.contains('\u{1b}') {
            return Ok(Outcome::Bad(format!("it prints a control sequence: {printed:?}")));
        }
        if printed.len() > MOST_PRINTED {
            return Ok(Outcome::Bad(format!("it prints more than {MOST_PRINTED} bytes: {}", self.quoted())));
        }
        let left = std::fs::metadata(&out).is_ok();
        Ok(match status.code() {
            Some(0) if left => {
                let verified = burn_ckpt::Checkpoint::open(&out).and_then(|checkpoint| checkpoint.verify());
                std::fs::remove_file(&out).map_err(|error| error.to_string())?;
                match verified {
                    Ok(_) => Outcome::Accepted,
                    Err(error) => Outcome::Bad(format!("what it wrote: {}", burn_ckpt::chain(&error))),
                }
            }
            Some(1) if !left && printed.contains("error: ") && !printed.contains("panicked") => {
                Outcome::Error
            }
            _ => Outcome::Bad(format!("it ended with {status}; {}", self.quoted())),
        })
    }

    /// The program under the limit of memory. What it prints on standard error is in a file.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        let limited = r#"ulimit -c 0; ulimit -d "$1" && shift && exec "$@""#;
        command.args(["-c", limited, "sh", &self.target.data_limit_kib().to_string()]);
        command.arg(&self.program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        // Memory that was freed does not count.
        command.env("MALLOC_MMAP_THRESHOLD_", "131072").env("MALLOC_ARENA_MAX", "2");
        command.env_remove("RUST_BACKTRACE");
        match std::fs::File::create(self.log()) {
            Ok(log) => command.stderr(log),
            Err(_) => command.stderr(Stdio::null()),
        };
        command
    }

    fn log(&self) -> PathBuf {
        self.directory.join("stderr")
    }

    fn start(&self) -> Result<Serving, String> {
        let mut command = self.command(&["--serve", self.target.name(), "--directory"]);
        command.arg(&self.directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let (Some(orders), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a worker without pipes".to_owned());
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // What is read from a file may be printed and not be a text.
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        let mut serving = Serving { child, orders, lines };
        match serving.line(START, |line| (line == Outcome::READY).then_some(())) {
            Ok(()) => Ok(serving),
            Err(what) => {
                let ended = end(&mut serving.child);
                Err(format!(
                    "a worker of {} does not start: {what}; {ended}; {}",
                    self.target.name(),
                    self.quoted()
                ))
            }
        }
    }

    /// What the process has printed on standard error.
    fn printed(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(file) = std::fs::File::open(self.log()) {
            let _: std::io::Result<usize> = file.take(MOST_PRINTED as u64 + 1).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The beginning of it, and its end.
    fn quoted(&self) -> String {
        let characters: Vec<char> = self.printed().chars().collect();
        match characters.len() > QUOTED {
            false => characters.into_iter().collect(),
            true => {
                let (start, end) = (&characters[..QUOTED / 2], &characters[characters.len() - QUOTED / 2..]);
                start.iter().chain(&[' ', '.', '.', ' ']).chain(end).collect()
            }
        }
    }
}

impl Serving {
    fn answer(&mut self, longest: Duration) -> Result<Outcome, String> {
        self.line(longest, Outcome::of_line)
    }

    fn line<T>(&mut self, longest: Duration, wanted: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let begin = Instant::now();
        loop {
            match self.lines.recv_timeout(longest.saturating_sub(begin.elapsed())) {
                Ok(line) => {
                    if let Some(answer) = wanted(&line) {
                        return Ok(answer);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(format!("it takes more than {longest:?}")),
                Err(RecvTimeoutError::Disconnected) => return Err("it ends the process".to_owned()),
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _: String = end(&mut self.child);
    }
}

/// Ends a process, and says how it ended.
fn end(child: &mut Child) -> String {
    // One that has ended is not killed.
    let _: std::io::Result<()> = match child.try_wait() {
        Ok(Some(_)) => Ok(()),
        _ => child.kill(),
    };
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}
