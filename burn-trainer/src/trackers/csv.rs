//! All values of a run as one table, `metrics.csv` in its directory.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use burn_ckpt::metrics_log::Line;
use burn_ckpt::metrics_log::csv::{RowPlace, heading, heading_start, row};
use burn_ckpt::plumbing::storage::{self, StoredFile};
use burn_ckpt::plumbing::{CSV_FILE, Existing};
use indexmap::IndexSet;
use serde_json::Value;

use super::rewritten_file::RewrittenFile;
use super::tracker::{StartAt, Tracker, TrackerError, TrackerResult};
use crate::callbacks::RunInfo;
use crate::run_files::line_file::Open;
use crate::run_files::regular_file;

/// Bytes of rows that are copied at once.
const BLOCK: usize = 1 << 16;

/// Writes `metrics.csv` in the run's directory: the table that `burn-ckpt csv` prints, during training.
///
/// A row for each line of `metrics.jsonl`, and a column for each metric. When a metric is logged for the
/// first time, the table is written again with a column for it. A run that resumes writes its table again
/// from `metrics.jsonl`, so that no row is missing or there twice. The earlier table stays until the new one
/// has all rows from before the resume.
///
/// ```
/// let tracker = burn_trainer::trackers::CsvTracker::new(); // for `Trainer::tracker`
/// ```
#[derive(Debug, Default)]
pub struct CsvTracker {
    table: Option<Table>,
}

impl CsvTracker {
    /// A tracker for the directory of the run that it is given to.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Tracker for CsvTracker {
    fn name(&self) -> String {
        "csv".to_owned()
    }

    fn start(&mut self, run: &RunInfo, _: Option<Value>) -> TrackerResult<StartAt> {
        let path = run.run_dir.join(CSV_FILE);
        if !may_be_replaced(&path)? {
            return Err(TrackerError::permanent(stays(&path)));
        }
        self.table = Some(match run.resumed_from {
            Some(_) => Table::begin_beside(path)?,
            None => Table::begin(path)?,
        });
        Ok(StartAt::FirstLineOfFile)
    }

    fn log(&mut self, lines: &[Line]) -> TrackerResult {
        self.table.as_mut().ok_or("it was not started")?.add(lines)
    }

    fn caught_up(&mut self) -> TrackerResult {
        self.table.as_mut().ok_or("it was not started")?.publish()
    }
}

/// The table on disk.
struct Table {
    path: PathBuf,
    metrics: IndexSet<String>,
    file: RewrittenFile,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Table {
    fn begin(path: PathBuf) -> TrackerResult<Self> {
        let metrics = IndexSet::new();
        let file = RewrittenFile::at_its_place(path.clone(), beginning(&metrics), beginning(&metrics));
        let mut table = Self { path, metrics, file };
        table.file.write(&[])?;
        Ok(table)
    }

    /// A table beside the earlier one, which stays until this one is published.
    fn begin_beside(path: PathBuf) -> TrackerResult<Self> {
        let metrics = IndexSet::new();
        let file = RewrittenFile::beside(path.clone(), &path, beginning(&metrics), beginning(&metrics))?;
        let mut table = Self { path, metrics, file };
        table.file.write(&[])?;
        Ok(table)
    }

    /// Replaces the earlier table.
    fn publish(&mut self) -> TrackerResult {
        if self.file.is_beside() {
            // A user can have put another file there meanwhile.
            if !may_be_replaced(&self.path)? {
                return Err(stays(&self.path).into());
            }
            self.file.publish(Existing::Replace, beginning(&self.metrics))?;
        }
        Ok(())
    }

    fn add(&mut self, lines: &[Line]) -> TrackerResult {
        // A table that was removed begins again before it is read.
        self.file.write(&[])?;
        let mut metrics = self.metrics.clone();
        metrics.extend(lines.iter().flat_map(|line| line.metrics.keys().cloned()));
        if metrics.len() > self.metrics.len() {
            self.widen(metrics)?;
        }
        let rows: String =
            lines.iter().map(|line| row(&RowPlace::from(line), &line.metrics, &self.metrics)).collect();
        Ok(self.file.write(rows.as_bytes())?)
    }

    /// Writes the table again with columns for more metrics, which earlier rows do not have. A reader sees
    /// the earlier table or the new one.
    fn widen(&mut self, metrics: IndexSet<String>) -> TrackerResult {
        let added = ",".repeat(metrics.len() - self.metrics.len()) + "\n";
        let skipped = heading(&self.metrics).len() as u64;
        let path = self.file.path().to_path_buf();
        let mut before =
            BufReader::new(StoredFile::open(&path).map_err(|error| regular_file::with_path(&path, &error))?);
        before.seek(SeekFrom::Start(skipped))?;
        // What a failed write has left after the last row is not copied.
        let mut before = before.take(self.file.length().saturating_sub(skipped));
        let write = |table: &mut StoredFile| {
            let copied = copy_rows(&mut before, &heading(&metrics), &added, table);
            copied.map_err(burn_ckpt::Error::io("write", &path))
        };
        self.file.replace(write, beginning(&metrics))?;
        self.metrics = metrics;
        Ok(self.file.write(&[])?)
    }
}

/// Creates a table with its heading.
fn beginning(metrics: &IndexSet<String>) -> Open {
    let heading = heading(metrics);
    Box::new(move |path| {
        let mut file = regular_file::create(path)?;
        file.write_all(heading.as_bytes())?;
        Ok((file, heading.len() as u64))
    })
}

/// Copies the rows of a table below a new heading, each with more fields. Its fields have no line breaks.
fn copy_rows(rows: &mut impl BufRead, heading: &str, added: &str, to: &mut StoredFile) -> io::Result<()> {
    let mut block = heading.as_bytes().to_vec();
    let mut row = Vec::new();
    while rows.read_until(b'\n', &mut row)? > 0 {
        row.pop_if(|last| *last == b'\n');
        block.append(&mut row);
        block.extend_from_slice(added.as_bytes());
        if block.len() >= BLOCK {
            to.write_all(&block)?;
            block.clear();
        }
    }
    to.write_all(&block)
}

/// What is said of a file that is a user's.
fn stays(path: &Path) -> String {
    format!("{} is not a table of metrics, and stays as it is: move it away", path.display())
}

/// Whether a file is missing, empty, or a table of a run.
fn may_be_replaced(path: &Path) -> io::Result<bool> {
    let Some(entry) = storage::entry(path)? else { return Ok(true) };
    if !entry.is_file() {
        return Ok(false);
    }
    let heading = heading_start();
    let mut start = Vec::new();
    StoredFile::open(path)?.take(heading.len() as u64).read_to_end(&mut start)?;
    Ok(start.is_empty() || start == heading.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_ckpt::metrics_log::{Scope, Split};
    use indexmap::IndexMap;
    use std::fs;
    use tempfile::tempdir;

    fn line(step: u64, metrics: &[(&str, f64)]) -> Line {
        let metrics: IndexMap<_, _> =
            metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Line::new(step, 0, Split::Train, Scope::Batch, metrics).with_batch(step)
    }

    #[test]
    fn a_new_metric_gets_a_column_and_earlier_rows_an_empty_field() {
        let root = tempdir().unwrap();
        let path = root.path().join(CSV_FILE);
        let mut table = Table::begin(path.clone()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "step,epoch,split,scope,batch,time\n");
        add_two_metrics(&mut table);
        assert_eq!(fs::read_to_string(&path).unwrap(), OF_TWO_METRICS);
        assert!(may_be_replaced(&path).unwrap());
    }

    fn add_two_metrics(table: &mut Table) {
        table.add(&[line(1, &[("a", 0.5)])]).unwrap();
        table.add(&[line(2, &[("a", 0.25), ("b,c", f64::NAN)]), line(3, &[("b,c", 1.0)])]).unwrap();
        table.add(&[line(4, &[("a", 2.0)])]).unwrap();
    }

    const OF_TWO_METRICS: &str = "step,epoch,split,scope,batch,time,a,\"b,c\"\n\
                                  1,0,train,batch,1,,0.5,\n\
                                  2,0,train,batch,2,,0.25,NaN\n\
                                  3,0,train,batch,3,,,1.0\n\
                                  4,0,train,batch,4,,2.0,\n";

    #[test]
    fn an_earlier_table_stays_until_the_new_one_has_its_rows() {
        let root = tempdir().unwrap();
        let path = root.path().join(CSV_FILE);
        let earlier = "step,epoch,split,scope,batch,time,a\n1,0,train,batch,1,,0.5\n";
        let names = || fs::read_dir(root.path()).unwrap().count();
        fs::write(&path, earlier).unwrap();
        let mut table = Table::begin_beside(path.clone()).unwrap();
        add_two_metrics(&mut table);
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names()), (earlier, 2));
        // Of a process that ends before.
        drop(table);
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names()), (earlier, 1));

        let mut table = Table::begin_beside(path.clone()).unwrap();
        add_two_metrics(&mut table);
        fs::write(&path, "mine").unwrap();
        let error = table.publish().unwrap_err();
        assert!(!error.is_permanent && error.to_string().contains("move it away"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        fs::write(&path, earlier).unwrap();
        table.publish().unwrap();
        table.add(&[line(5, &[("a", 1.0)])]).unwrap();
        let expected = format!("{OF_TWO_METRICS}5,0,train,batch,5,,1.0,\n");
        assert_eq!((fs::read_to_string(&path).unwrap(), names()), (expected, 1));
    }

    #[cfg(unix)]
    #[test]
    fn a_table_that_is_removed_while_the_run_trains_begins_again_with_its_heading() {
        let root = tempdir().unwrap();
        let path = root.path().join(CSV_FILE);
        let mut table = Table::begin(path.clone()).unwrap();
        for metrics in [&[("a", 0.5)][..], &[("a", 0.25), ("b", 1.0)]] {
            table.add(&[line(1, &[("a", 2.0)])]).unwrap();
            fs::remove_file(&path).unwrap();
            table.add(&[line(2, metrics)]).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let columns: String = metrics.iter().map(|(name, _)| format!(",{name}")).collect();
            let values: String = metrics.iter().map(|(_, value)| format!(",{value:?}")).collect();
            let heading = "step,epoch,split,scope,batch,time";
            assert_eq!(text, format!("{heading}{columns}\n2,0,train,batch,2,{values}\n"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_error_names_the_file_that_another_one_has_replaced() {
        let directory = tempdir().unwrap();
        let path = directory.path().join(CSV_FILE);
        let table = Some(Table::begin(path.clone()).unwrap());
        let mut tracker = CsvTracker { table };
        fs::write(directory.path().join("other"), "mine").unwrap();
        fs::rename(directory.path().join("other"), &path).unwrap();
        let said = tracker.log(&[line(1, &[("loss", 1.0)])]).unwrap_err().to_string();
        let expected = format!(
            "{}: another file has taken its name, which stays as it is: move it away",
            path.display()
        );
        assert_eq!(said, expected);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn only_a_table_of_metrics_is_replaced() {
        let root = tempdir().unwrap();
        let path = root.path().join(CSV_FILE);
        assert!(may_be_replaced(&path).unwrap(), "it is missing");
        for (text, expected) in [("", true), ("step,loss\n", false), ("mine", false)] {
            fs::write(&path, text).unwrap();
            assert_eq!(may_be_replaced(&path).unwrap(), expected, "{text:?}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(!may_be_replaced(&path).unwrap(), "a directory");
    }
}
