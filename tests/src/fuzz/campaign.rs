//! A run of the fuzzer over its targets, and what it found.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::corpus::Corpus;
use super::outcome::Outcome;
use super::target::Target;
use super::worker::Worker;
use crate::random::SplitMix64;

/// Findings of one target after which it is left: they are many forms of one fault.
const MOST_FINDINGS: usize = 20;

/// How long each target is fuzzed.
#[derive(Debug, Clone, Copy)]
pub enum Share {
    /// So many files.
    Files(u64),
    /// So long.
    Time(Duration),
}

/// What is fuzzed.
#[derive(Debug)]
pub struct Campaign<'a> {
    /// Decides every file: the number N of a target is the same file for the same seed.
    pub seed: u64,
    /// The targets, one after the other.
    pub targets: &'a [Target],
    /// How long each of them is fuzzed.
    pub share: Share,
    /// Where `fuzz` and `burn-ckpt` are.
    pub programs: &'a Path,
    /// Where the files of findings are kept.
    pub findings: &'a Path,
}

/// A file that is read as no file may be.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The reader.
    pub target: Target,
    /// What happens.
    pub what: String,
    /// The file, which is kept.
    pub input: PathBuf,
}

/// What came of the files of one target.
#[derive(Debug, Clone)]
struct Row {
    target: Target,
    files: u64,
    accepted: u64,
    took: Duration,
}

/// What came of all.
#[derive(Debug, Clone, Default)]
pub struct Report {
    seed: u64,
    rows: Vec<Row>,
    /// What was found, each kind once.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many files were read.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.rows.iter().map(|row| row.files).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for Row { target, files, accepted, took } in &self.rows {
            let found = self.findings.iter().filter(|finding| finding.target == *target).count();
            let (name, seconds) = (target.name(), took.as_secs_f64());
            writeln!(
                f,
                "{name:<14} {files:>8} files, {accepted:>7} accepted, {found} findings, {seconds:.1} s"
            )?;
        }
        for Finding { target, what, input } in &self.findings {
            writeln!(f, "{}: {what}\n    {}", target.name(), input.display())?;
        }
        write!(f, "{} files, {} findings", self.files(), self.findings.len())
    }
}

impl Campaign<'_> {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// When a process cannot be started, a file cannot be written, or a whole file is not accepted.
    pub fn run(&self) -> Result<Report, String> {
        let mut report = Report { seed: self.seed, ..Report::default() };
        for &target in self.targets {
            self.fuzz(target, &mut report).map_err(|error| format!("{}: {error}", target.name()))?;
        }
        Ok(report)
    }

    /// Reads one file, and says what came of it: `accepted`, `error`, or what is wrong.
    ///
    /// # Errors
    ///
    /// As for [`Campaign::run`].
    pub fn again(&self, target: Target, file: &Path) -> Result<String, String> {
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut worker = Worker::new(target, self.programs, scratch.path().to_path_buf())?;
        Ok(match worker.read(&bytes)? {
            Outcome::Accepted => "accepted".to_owned(),
            Outcome::Error => "error".to_owned(),
            Outcome::Bad(what) => what,
        })
    }

    fn fuzz(&self, target: Target, report: &mut Report) -> Result<(), String> {
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        let place = |name: &str| {
            let path = scratch.path().join(name);
            std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok::<_, String>(path)
        };
        let corpus = Corpus::new(target, &place("corpus")?)?;
        let mut worker = Worker::new(target, self.programs, place("worker")?)?;
        for (number, file) in corpus.files().iter().enumerate() {
            match worker.read(file)? {
                Outcome::Bad(what) => return Err(format!("the whole file {number}: {what}")),
                // Metadata of another checkpoint is an error, and so is a name without a letter.
                Outcome::Accepted | Outcome::Error => {}
            }
        }
        let mut random = SplitMix64::new(self.seed ^ (target as u64 + 1).wrapping_mul(0x9E37_79B9));
        let mut row = Row { target, files: 0, accepted: 0, took: Duration::ZERO };
        let (begin, mut kinds) = (Instant::now(), BTreeSet::new());
        while !self.is_over(row.files, begin) && kinds.len() < MOST_FINDINGS {
            let file = corpus.next(&mut random)?;
            row.files += 1;
            match worker.read(&file)? {
                Outcome::Accepted => row.accepted += 1,
                Outcome::Error => {}
                Outcome::Bad(what) => {
                    if kinds.insert(kind_of(&what)) {
                        let input = self.keep(target, row.files, &file)?;
                        eprintln!("{}: {what}\n    {}", target.name(), input.display());
                        report.findings.push(Finding { target, what, input });
                    }
                }
            }
        }
        row.took = begin.elapsed();
        report.rows.push(row);
        Ok(())
    }

    fn is_over(&self, files: u64, begin: Instant) -> bool {
        match self.share {
            Share::Files(most) => files >= most,
            Share::Time(longest) => begin.elapsed() >= longest,
        }
    }

    fn keep(&self, target: Target, number: u64, file: &[u8]) -> Result<PathBuf, String> {
        let path = self.findings.join(format!("{}-{}-{number}", target.name(), self.seed));
        std::fs::create_dir_all(self.findings)
            .and_then(|()| std::fs::write(&path, file))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

/// The beginning of a finding's text without its numbers, by which two are one kind.
fn kind_of(what: &str) -> String {
    what.chars().filter(|c| !c.is_ascii_digit()).take(60).collect()
}
