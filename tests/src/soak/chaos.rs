//! The chaos: runs that are killed, and whose files are damaged and removed, and whose disk is full, and that
//! nevertheless end as an undisturbed run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use burn_ckpt::plumbing::{BEST_DIR, CHECKPOINT_DIR, CHECKPOINT_SUFFIX, DEFAULT_LOGS};

use super::counts::Counts;
use super::damage::{Damage, Intact};
use super::kill_moment::{Happening, Moment, Pace, last_step};
use super::process_figures::memory;
use super::soaked_programs::{Layout, OUTSIDE, Program, RUN_ID, WORKERS, Which};
use super::{Life, SIGTERM, Signal, Soak, TERMINATED, Watch, finished};
use crate::random::SplitMix64;
use crate::run_files::{compare, compare_states, described_state, files, leftovers};
use crate::storage_faults::FailingCalls;
use crate::storage_faults::errors::{EDQUOT, ENOSPC};

/// Starts of a run that are disturbed, before the one that is not.
const ROUNDS: u64 = 8;
/// What `--topk` of the programs keeps.
const BEST_KEPT: usize = 2;
/// The shell's unit of a file's largest size.
const BLOCK: u64 = 512;
/// Fewer bytes than a checkpoint has beside its tensors: the packages of the program alone are more.
const LESS: u64 = 32 * 1024;
/// A start does about so many operations that need space. In the last of these the disk is full when all is
/// done.
const OPERATIONS: u64 = 300;
/// One look at a program's memory in so many looks at its files.
const LOOKS_PER_MEASUREMENT: u64 = 64;

/// What is trained and for how long.
#[derive(Debug, Clone)]
pub struct Chaos {
    /// Where the programs are.
    pub programs: PathBuf,
    /// What is trained.
    pub which: Vec<Which>,
    /// Decides what is done, and when, as far as a machine's speed lets it.
    pub seed: u64,
    /// No run begins later than this after the first.
    pub time: Duration,
    /// Nor are there more runs than these.
    pub most_runs: u64,
    /// Where the runs are made.
    pub directory: PathBuf,
}

/// A chaos that ended well.
#[derive(Debug, Clone, Copy)]
pub struct ChaosReport(pub Counts);

impl Chaos {
    /// Runs until the time is over or all runs are done, and prints a line for each.
    ///
    /// # Errors
    ///
    /// At the first run that differs, with its seed and directory.
    ///
    /// # Panics
    ///
    /// When a directory of a run cannot be read.
    pub fn run(&self) -> Result<ChaosReport, String> {
        let begun = Instant::now();
        let calls = FailingCalls::compile();
        let mut all = Counts::default();
        let mut references = BTreeMap::new();
        let kinds: Vec<(Which, usize)> =
            WORKERS.iter().flat_map(|workers| self.which.iter().map(|which| (*which, *workers))).collect();
        for (number, (which, workers)) in (0..self.most_runs).zip(kinds.iter().cycle()) {
            if begun.elapsed() >= self.time {
                break;
            }
            let seed = self.seed.wrapping_add(number);
            let layout = Layout::ALL[number as usize % Layout::ALL.len()];
            let program = which.program(&self.programs, ROUNDS, *workers).with_layout(*which, layout);
            let directory = self.directory.join(format!("{}-{workers}-{layout:?}", which.name()));
            let failed = |reason: String| {
                format!("run {number}, {}, seed {seed}, in {}: {reason}", program.name, directory.display())
            };
            let reference = match references.get(&program.name) {
                Some(reference) => reference,
                None => {
                    let soak = Soak {
                        program: program.clone(),
                        kills: 0,
                        signal: Signal::Kill,
                        seed,
                        directory: directory.clone(),
                    };
                    let reference = soak.undisturbed().map_err(failed)?;
                    &*references.entry(program.name.clone()).or_insert(reference)
                }
            };
            let root = directory.join(format!("run-{number}"));
            let run = Run::new((&program, layout), reference, root.clone(), seed, &calls);
            let counts = run.finish().map_err(failed)?;
            println!("run {number}, seed {seed}: {}: {counts}; as the undisturbed run", program.name);
            all.add(&counts);
            fs::remove_dir_all(&root).map_err(|error| failed(error.to_string()))?;
        }
        Ok(ChaosReport(all))
    }
}

/// One run, in the middle of the chaos.
struct Run<'a> {
    program: &'a Program,
    whole: &'a Path,
    pace: Pace,
    steps: u64,
    root: PathBuf,
    run_dir: PathBuf,
    random: SplitMix64,
    layout: Layout,
    calls: &'a FailingCalls,
    damage: Damage,
    counts: Counts,
}

/// How a disk is full.
#[derive(Debug, Clone, Copy)]
enum FullDisk {
    /// It takes files of so many blocks of the shell.
    Blocks(u64),
    /// It takes nothing from an operation on that needs space, and answers with an error.
    From(u64, i32),
}

impl<'a> Run<'a> {
    fn new(
        (program, layout): (&'a Program, Layout),
        (whole, pace, steps): &'a (PathBuf, Pace, u64),
        root: PathBuf,
        seed: u64,
        calls: &'a FailingCalls,
    ) -> Self {
        let run_dir = root.join(DEFAULT_LOGS).join(RUN_ID);
        let damage = Damage::new(run_dir.join(CHECKPOINT_DIR), root.join(OUTSIDE));
        let (random, counts) = (SplitMix64::new(seed), Counts::default());
        let (pace, steps) = (*pace, *steps);
        Self { program, whole, pace, steps, root, run_dir, random, layout, calls, damage, counts }
    }

    fn finish(mut self) -> Result<Counts, String> {
        for round in 0..ROUNDS {
            let before = last_step(&self.run_dir);
            if before >= self.steps {
                break;
            }
            let share = ((self.steps - before) * 3 / 2 / (ROUNDS - round + 1)).max(3);
            self.counts.rounds += 1;
            self.disturbed(before, share)?;
            // What is damaged after the last step is not made again.
            if self.run_dir.join(CHECKPOINT_DIR).is_dir() && last_step(&self.run_dir) < self.steps {
                self.damage.draw(&mut self.random, &mut self.counts)?;
            }
        }
        let before = self.before_a_start()?;
        let (mut last, log) = self.start(None)?;
        finished(last.wait_until(|_| false)?, "the run after the last kill")?;
        self.after_a_start(&before, &log)?;
        self.damage.clear()?;
        let left = leftovers(&self.run_dir);
        if !left.is_empty() {
            return Err(format!("left behind: {left:?}"));
        }
        self.compared()?;
        self.counts.in_several_files = u64::from(self.layout == Layout::SeveralFiles);
        self.counts.outside = u64::from(self.layout == Layout::Outside);
        self.counts.runs = 1;
        Ok(self.counts)
    }

    /// A start that is killed, on a full disk or not.
    fn disturbed(&mut self, at: u64, share: u64) -> Result<(), String> {
        let before = self.before_a_start()?;
        let is_full = !before.is_empty() && self.random.below(4) == 0;
        let is_term = self.random.below(3) == 0;
        let moment = if is_full {
            // On a full disk nothing can be seen of the run from outside.
            self.counts.full_disks += 1;
            let steps = self.pace.step.saturating_mul(u32::try_from(share).unwrap_or(u32::MAX));
            let delay = self.pace.start + self.random.up_to(steps);
            Moment { from: 0, after: Happening::Start, delay }
        } else {
            Moment::draw(&mut self.random, self.pace, at, share)
        };
        let full = if is_full { Some(self.full_disk()?) } else { None };
        let mut watch = Watch::new(&self.run_dir);
        let (mut life, log) = self.start(full)?;
        life.may_fail = is_full;
        let (mut due, mut looks, mut largest) = (None, 0u64, 0);
        let (process, run_dir) = (life.child.id(), self.run_dir.clone());
        let mut ended = life.wait_until(|elapsed| {
            looks += 1;
            if looks.is_multiple_of(LOOKS_PER_MEASUREMENT) {
                largest = memory(process, "VmHWM:").unwrap_or_default().max(largest);
            }
            if due.is_none() && watch.has_seen(moment) {
                due = Some(elapsed + moment.delay);
            }
            due.is_some_and(|due| elapsed >= due) || last_step(&run_dir) > at + share
        })?;
        self.counts.largest_rss_kib = self.counts.largest_rss_kib.max(largest);
        if ended.is_none() && is_term {
            self.counts.terms += 1;
            life.ask_to_end()?;
            ended = life.wait_until(|_| false)?;
        } else if ended.is_none() {
            self.counts.kills += 1;
            life.kill()?;
        }
        if let Some(status) = ended {
            let well = status.success() || status.code() == Some(TERMINATED);
            // It had not prepared for signals yet.
            let at_once = is_term && status.signal() == Some(SIGTERM);
            if !well && !at_once && !is_full {
                return Err(format!("a disturbed start ended with {status}; {}", life.said()));
            }
        }
        self.after_a_start(&before, &log)
    }

    fn before_a_start(&mut self) -> Result<BTreeMap<PathBuf, Intact>, String> {
        let intact = self.damage.intact()?;
        if let Some(step) = newest(&intact) {
            self.counts.resumes += 1;
            self.damage.resumes_from(step)?;
        }
        Ok(intact)
    }

    /// What was durable has to be there, or newer or better files in its place.
    fn after_a_start(&mut self, before: &BTreeMap<PathBuf, Intact>, log: &Path) -> Result<(), String> {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let said = read(log) + &read(&self.run_dir.join("experiment.log"));
        self.damage.heard(&said);
        let after = self.damage.intact()?;
        if newest(&after) < newest(before) {
            return Err(format!("the newest checkpoint is lost: {before:?} before, {after:?} after"));
        }
        let is_best = |path: &&PathBuf| path.parent().is_some_and(|parent| parent.ends_with(BEST_DIR));
        let gone = before.keys().filter(is_best).filter(|path| !after.contains_key(*path)).count();
        if gone > 0 && after.keys().filter(is_best).count() < BEST_KEPT {
            return Err(format!("a best checkpoint is lost: {before:?} before, {after:?} after"));
        }
        Ok(())
    }

    /// Full for each checkpoint, or from an operation on that is drawn.
    fn full_disk(&mut self) -> Result<FullDisk, String> {
        // A limit of a file's size is below that of a state's files.
        if self.layout != Layout::SeveralFiles && self.random.below(2) == 0 {
            return self.too_small().map(FullDisk::Blocks);
        }
        self.counts.full_midway += 1;
        let errno = if self.random.below(2) == 0 { ENOSPC } else { EDQUOT };
        Ok(FullDisk::From(1 + self.random.below(OPERATIONS), errno))
    }

    /// A size of files, in blocks, that is too small for any of the run's checkpoints, and large enough for
    /// the tensors of each: a run that could save nothing would not start.
    fn too_small(&self) -> Result<u64, String> {
        let last = self.whole.join(CHECKPOINT_DIR).join("last.ckpt");
        let bytes = fs::metadata(&last).map_err(|error| format!("{}: {error}", last.display()))?.len();
        Ok(bytes.saturating_sub(LESS) / BLOCK)
    }

    fn start(&self, full: Option<FullDisk>) -> Result<(Life, PathBuf), String> {
        let log = self.root.join(format!("start-{}.log", self.counts.rounds));
        let opened = || {
            fs::create_dir_all(&self.root)?;
            let file = File::options().create(true).append(true).open(&log)?;
            Ok((file.try_clone()?, file))
        };
        let (stdout, stderr) =
            opened().map_err(|error: std::io::Error| format!("{}: {error}", log.display()))?;
        let mut command = self.program.command(&self.root);
        if let Some(FullDisk::From(operation, errno)) = full {
            // The run's directory, and that beside it, but not what the program prints.
            self.calls.fill_disk(&mut command, &self.root.join(DEFAULT_LOGS), operation, errno);
        }
        if let Some(FullDisk::Blocks(blocks)) = full {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", &format!("ulimit -f {blocks}; exec \"$@\""), "sh"])
                .arg(command.get_program())
                .args(command.get_args());
            command = shell;
        }
        command.stdout(stdout).stderr(stderr);
        Ok((Life::start(command, log.clone())?, log))
    }

    /// Compares with the undisturbed run. What cannot be made again, a best checkpoint that was damaged after
    /// the run was beyond it, and what the rules say without it, is left out.
    fn compared(&mut self) -> Result<(), String> {
        if !self.damage.has_cost_a_best {
            compare(self.whole, &self.run_dir)?;
            let whole = self.whole.ancestors().nth(2).unwrap_or(self.whole);
            return same_checkpoints(&whole.join(OUTSIDE), &self.root.join(OUTSIDE));
        }
        self.counts.without_a_best = 1;
        let copies = ["whole-but-best", "run-but-best"].map(|name| self.root.join(name));
        for (from, copy) in [self.whole, &self.run_dir].into_iter().zip(&copies) {
            let copied = Command::new("cp").arg("-r").arg(from).arg(copy).status();
            if !copied.as_ref().is_ok_and(std::process::ExitStatus::success) {
                return Err(format!("cp -r: {copied:?}"));
            }
            let checkpoints = copy.join(CHECKPOINT_DIR);
            let failed = |error: std::io::Error| format!("{}: {error}", checkpoints.display());
            for entry in fs::read_dir(&checkpoints).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let name =
                    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                if name == BEST_DIR {
                    fs::remove_dir_all(&path).map_err(failed)?;
                } else if name.starts_with("best_") {
                    fs::remove_file(&path).map_err(failed)?;
                }
            }
        }
        compare_states(&copies[0], &copies[1]).map(drop)
    }
}

/// Compares the checkpoints in two directories outside of a run.
fn same_checkpoints(expected: &Path, found: &Path) -> Result<(), String> {
    let states = |directory: &Path| -> Vec<serde_json::Value> {
        let mut names = if directory.exists() { files(directory) } else { Vec::new() };
        names.retain(|name| name.ends_with(CHECKPOINT_SUFFIX) && !name.contains(".shards/"));
        names.iter().map(|name| described_state(&directory.join(name))).collect()
    };
    if found.exists() && files(found).iter().any(|name| name.contains(".staging")) {
        return Err(format!("left behind in {}: {:?}", found.display(), files(found)));
    }
    match states(expected) == states(found) {
        true => Ok(()),
        false => Err(format!("{:?} and {:?} have other states", files(expected), files(found))),
    }
}

fn newest(intact: &BTreeMap<PathBuf, Intact>) -> Option<u64> {
    intact.values().map(|intact| intact.step).max()
}
