//! The soak: a run that is killed again and again, and started again, has to end as an uninterrupted run.
//!
//! [`Soak::run`] trains once undisturbed, then the same with kills at moments drawn by chance
//! (`kill_moment.rs`), and compares what the two left (`../run_files/compare_runs.rs`). [`Chaos::run`] does
//! more between the kills: it damages and removes files (`damage.rs`) and fills the disk, for as long as it
//! is told to. It knows the programs (`soaked_programs.rs`) from outside only: their arguments, exit status
//! and files.

mod chaos;
mod counts;
mod damage;
mod kill_moment;
mod process_figures;
mod soaked_programs;

use std::fmt;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use burn_ckpt::plumbing::{CHECKPOINT_DIR, DEFAULT_LOGS};

pub use self::chaos::{Chaos, ChaosReport};
pub use self::counts::Counts;
pub use self::process_figures::{long_lived_process, train_again_and_again};
pub use self::soaked_programs::{Program, WORKERS, Which};

use self::kill_moment::{Moment, Pace, Phase, Watch, last_step};
use crate::random::SplitMix64;
use crate::run_files::{Same, compare, complete_checkpoints, leftovers, stopped_exactly};

/// A program that takes longer for the whole run, or to end, hangs.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_micros(100);
/// SIGTERM's number, by which a process ends that has not yet said what to do about it.
const SIGTERM: i32 = 15;
/// What a program exits with that has saved its state on SIGTERM: 128 and the signal's number, as shells have
/// it.
const TERMINATED: i32 = 143;

/// How a run is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// At once, by the system: SIGKILL.
    Kill,
    /// With the time to save the step that it is at: SIGTERM.
    Term,
}

/// A program to kill, how often, and when.
#[derive(Debug, Clone)]
pub struct Soak {
    /// What is trained.
    pub program: Program,
    /// How often the run is killed.
    pub kills: u64,
    /// How it is killed.
    pub signal: Signal,
    /// Decides the moments, as far as a machine's speed lets it.
    pub seed: u64,
    /// Where the runs are made, below `whole` and `killed`, with what they print.
    pub directory: PathBuf,
}

/// In what the kills interrupted the run, as far as can be told from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kills {
    /// Before the first step since the last start.
    pub starting: u64,
    /// Between or in training steps.
    pub steps: u64,
    /// In a validation, or before its checkpoint was written.
    pub validation: u64,
    /// While a checkpoint was written.
    pub writing: u64,
}

/// A soak that ended well.
#[derive(Debug, Clone)]
pub struct Report {
    /// The program's name.
    pub name: String,
    /// Where it was killed.
    pub kills: Kills,
    /// What was compared.
    pub same: Same,
}

impl Kills {
    /// How many there were.
    #[must_use]
    pub fn total(self) -> u64 {
        self.starting + self.steps + self.validation + self.writing
    }

    fn add(&mut self, phase: Phase) -> &'static str {
        let (count, name) = match phase {
            Phase::Starting => (&mut self.starting, "while starting"),
            Phase::Step => (&mut self.steps, "in its steps"),
            Phase::Validation => (&mut self.validation, "in validation"),
            Phase::Writing => (&mut self.writing, "while a checkpoint was written"),
        };
        *count += 1;
        name
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kills, same } = self;
        write!(
            f,
            "{name}: {} kills ({} while a checkpoint was written, {} in steps, {} in validation, {} while \
             starting), {} steps, bit-identical: {} tensors, {} best, {} metric files",
            kills.total(),
            kills.writing,
            kills.steps,
            kills.validation,
            kills.starting,
            same.steps,
            same.tensors,
            same.best,
            same.metric_files
        )
    }
}

impl Soak {
    /// Runs, kills, and compares.
    ///
    /// # Errors
    ///
    /// With the differences between the two runs, or with what else went wrong: a program that failed, a file
    /// under a final name that is not complete, a run that ended before all kills were made.
    ///
    /// # Panics
    ///
    /// When a directory of the run cannot be read.
    pub fn run(&self) -> Result<Report, String> {
        self.checked().map_err(|reason| format!("{}: {reason}", self.program.name))
    }

    fn checked(&self) -> Result<Report, String> {
        let (whole, pace, steps) = self.undisturbed()?;
        let killed = self.run_dir("killed");
        let mut random = SplitMix64::new(self.seed);
        let mut kills = Kills::default();
        for number in 0..self.kills {
            let before = last_step(&killed);
            // So far that the kills that are left fit into the steps that are left, with some to spare.
            let share = steps.saturating_sub(before) * 3 / 2 / (self.kills - number + 1);
            let moment = Moment::draw(&mut random, pace, before, share);
            let phase = self.interrupted(&killed, moment, before + share, steps)?;
            let name = kills.add(phase);
            eprintln!(
                "{}: kill {} of {} {name}, after step {} of {steps}",
                self.program.name,
                number + 1,
                self.kills,
                last_step(&killed)
            );
        }
        let mut last = self.start("killed")?;
        finished(last.wait_until(|_| false)?, "the run after the last kill")?;
        let left = leftovers(&killed);
        if !left.is_empty() {
            return Err(format!("left behind: {left:?}"));
        }
        complete_checkpoints(&killed.join(CHECKPOINT_DIR))?;
        let same = compare(&whole, &killed)?;
        Ok(Report { name: self.program.name.clone(), kills, same })
    }

    /// Trains to the end, and measures how long it takes.
    fn undisturbed(&self) -> Result<(PathBuf, Pace, u64), String> {
        let run_dir = self.run_dir("whole");
        let mut first = None;
        let mut life = self.start("whole")?;
        let started = life.started;
        let ended = life.wait_until(|elapsed| {
            if first.is_none() && last_step(&run_dir) > 0 {
                first = Some(elapsed);
            }
            false
        })?;
        finished(ended, "the undisturbed run")?;
        let (all, steps) = (started.elapsed(), last_step(&run_dir));
        let start = first.unwrap_or(all);
        let step = (all - start) / u32::try_from(steps.max(1)).unwrap_or(u32::MAX);
        eprintln!(
            "{}: {steps} steps undisturbed in {:.1} s, the first saved after {:.2} s",
            self.program.name,
            all.as_secs_f64(),
            start.as_secs_f64()
        );
        Ok((run_dir, Pace { start, step }, steps))
    }

    /// Starts the run of so many steps, kills it at the moment or when it has reached the step `limit`, and
    /// looks at what is left.
    fn interrupted(&self, run_dir: &Path, moment: Moment, limit: u64, steps: u64) -> Result<Phase, String> {
        let mut watch = Watch::new(run_dir);
        let mut life = self.start("killed")?;
        let mut due = None;
        let ended = life.wait_until(|elapsed| {
            if due.is_none() && watch.has_seen(moment) {
                due = Some(elapsed + moment.delay);
            }
            due.is_some_and(|due| elapsed >= due) || last_step(run_dir) > limit
        })?;
        if let Some(status) = ended {
            finished(Some(status), "a run to be killed")?;
            return Err("the run ended before all kills were made; give it more epochs".to_owned());
        }
        let phase = match self.signal {
            Signal::Kill => {
                life.kill()?;
                watch.phase()
            }
            Signal::Term => {
                let phase = watch.phase();
                self.terminate(&mut life, run_dir, phase, steps)?;
                phase
            }
        };
        let directory = run_dir.join(CHECKPOINT_DIR);
        if directory.exists() {
            complete_checkpoints(&directory)?;
        }
        Ok(phase)
    }

    /// Asks the run to end, which it does with its state saved.
    fn terminate(&self, life: &mut Life, run_dir: &Path, phase: Phase, steps: u64) -> Result<(), String> {
        life.ask_to_end()?;
        let Some(status) = life.wait_until(|_| false)? else {
            return Err("it cannot be waited for".to_owned());
        };
        // Before it trains there is nothing to save, and it need not have prepared for signals.
        let at_once = phase == Phase::Starting && status.signal() == Some(SIGTERM);
        // When all is done there is nothing to stop.
        let at_the_end = status.success() && last_step(run_dir) == steps;
        if !at_once && !at_the_end && status.code() != Some(TERMINATED) {
            return Err(format!("on SIGTERM it ended with {status}, not with {TERMINATED}; {}", life.said()));
        }
        let left = leftovers(run_dir);
        if !at_once && !left.is_empty() {
            return Err(format!("after SIGTERM there are left {left:?}"));
        }
        stopped_exactly(run_dir, self.program.batches_per_step)
    }

    fn run_dir(&self, root: &str) -> PathBuf {
        self.directory.join(root).join(DEFAULT_LOGS).join(soaked_programs::RUN_ID)
    }

    fn start(&self, root: &str) -> Result<Life, String> {
        let log = self.directory.join(format!("{root}.log"));
        let opened = || {
            std::fs::create_dir_all(&self.directory)?;
            let file = File::options().create(true).append(true).open(&log)?;
            Ok((file.try_clone()?, file))
        };
        let (stdout, stderr) =
            opened().map_err(|error: std::io::Error| format!("{}: {error}", log.display()))?;
        let mut command = self.program.command(&self.directory.join(root));
        command.stdout(stdout).stderr(stderr);
        Life::start(command, log)
    }
}

fn finished(ended: Option<ExitStatus>, what: &str) -> Result<(), String> {
    match ended {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{what} failed: {status}")),
        None => Err(format!("{what} cannot be waited for")),
    }
}

/// The program from one start to its end. It is killed when this is dropped.
struct Life {
    child: Child,
    started: Instant,
    log: PathBuf,
    /// Whether the machine lets it fail.
    may_fail: bool,
}

impl Life {
    fn start(mut command: Command, log: PathBuf) -> Result<Self, String> {
        let child = command.stdin(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        Ok(Self { child, started: Instant::now(), log, may_fail: false })
    }

    /// Sends SIGTERM.
    fn ask_to_end(&self) -> Result<(), String> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        if sent.as_ref().is_ok_and(ExitStatus::success) {
            return Ok(());
        }
        Err(format!("kill -TERM: {sent:?}"))
    }

    /// Waits for the program's end, which is returned, or until `is_time` says so of the time since its
    /// start.
    fn wait_until(
        &mut self,
        mut is_time: impl FnMut(Duration) -> bool,
    ) -> Result<Option<ExitStatus>, String> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                let by_signal = status.code() == Some(TERMINATED) || status.signal().is_some();
                let well = status.success() || by_signal || self.may_fail;
                return if well { Ok(Some(status)) } else { Err(format!("{status}; {}", self.said())) };
            }
            if is_time(self.started.elapsed()) {
                return Ok(None);
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("it still runs after {PATIENCE:?}; {}", self.said()));
            }
            std::thread::sleep(POLL);
        }
    }

    fn kill(&mut self) -> Result<(), String> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// The end of what it has printed.
    fn said(&self) -> String {
        const LINES: usize = 5;
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("it said:\n{}", lines[lines.len().saturating_sub(LINES)..].join("\n"))
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // It has ended already where all is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
