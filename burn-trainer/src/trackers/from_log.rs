//! What a tracker's thread reads from the log: the lines from before a resume, and those that the queue had
//! no room for.

use burn_ckpt::metrics_log::{self, Line, METRICS_FILE};

use super::queue::MAX_BATCH;
use super::sent_lines::Compared;
use super::tracker::Tracker;
use super::worker::{EndsEarly, INTERVAL, Worker};

impl<T: Tracker> Worker<T> {
    /// Sends the lines from before the resume that the tracker does not have, and tells it when it has them.
    pub(super) fn send_those_before(&mut self) -> Result<(), EndsEarly> {
        let before = match self.run.logged_before() {
            Ok(before) => before,
            Err(error) => {
                self.report(&format!("it does not get the values from before the resume: {error}"));
                return self.end_those_before();
            }
        };
        let mut lines = Vec::new();
        for line in before.filter_map(Result::ok) {
            match self.sent.compare(&line) {
                Compared::New => lines.push(line.clone()),
                // An earlier process could not send what it has logged with other settings. A log that is
                // written again from the history need not have the same lines.
                Compared::Other if self.run.written_again.is_none() => {
                    self.log_before(std::mem::take(&mut lines))?;
                    self.sent = self.logged.clone();
                    self.forget_count();
                    self.branch(&line)?;
                    lines.push(line.clone());
                }
                _ => {}
            }
            self.logged.note(&line);
            if lines.len() == MAX_BATCH {
                self.log_before(std::mem::take(&mut lines))?;
            }
        }
        self.queue.set_before(Some(lines.len()));
        self.log_before(lines)?;
        self.end_those_before()
    }

    fn log_before(&mut self, lines: Vec<Line>) -> Result<(), EndsEarly> {
        if !lines.is_empty() && !self.queue.has_counted_before() {
            self.count_those_before();
        }
        let count = lines.len();
        let rejected = self.log(lines)?;
        self.queue.done_before(count, rejected);
        Ok(())
    }

    fn end_those_before(&mut self) -> Result<(), EndsEarly> {
        self.queue.set_before(Some(0));
        self.retried(|worker| worker.tracker.caught_up()).map(drop)
    }

    /// Counts the lines from before the resume that the tracker does not have, for the case that it does not
    /// get them. Of a log that is written again, lines can be missing in it.
    pub(super) fn count_those_before(&self) {
        // Without a log there are none to send.
        let before = self.run.logged_before().into_iter().flatten().filter_map(Result::ok);
        self.queue.set_before(Some(before.filter(|line| !self.sent.reach(line)).count()));
    }

    /// The number is another one now.
    pub(super) fn forget_count(&self) {
        if self.run.resumed_from.is_some() {
            self.queue.set_before(None);
        }
    }

    /// Sends lines for which the queue had no room, until it has the next ones.
    pub(super) fn send_from_log(&mut self) -> Result<(), EndsEarly> {
        let mut log = match metrics_log::read(self.run.run_dir.join(METRICS_FILE)) {
            Ok(log) => log.filter_map(Result::ok),
            Err(error) => return self.wait_for_log(&error.to_string()),
        };
        let mut is_any = false;
        loop {
            let limit = self.queue.next_in_log();
            let lines: Vec<Line> = log.by_ref().filter(|line| !self.logged.reach(line)).take(limit).collect();
            if lines.is_empty() {
                return match is_any || limit == 0 {
                    true => Ok(()),
                    false => self.wait_for_log(&format!("{METRICS_FILE} does not have these lines")),
                };
            }
            is_any = true;
            self.queue.take_from_log(lines.len());
            if !self.send(lines)? {
                return Ok(());
            }
        }
    }

    /// The log's last lines are written some time after they are logged, or when the disk has room again.
    fn wait_for_log(&mut self, reason: &str) -> Result<(), EndsEarly> {
        self.note_unnoted();
        self.queue.note_log_read();
        match self.queue.has_ended() || self.queue.pause(reason.to_owned(), INTERVAL) {
            true => Ok(()),
            false => Err(EndsEarly::TooLate),
        }
    }
}
