//! What follows a sent checkpoint: links are moved, retention deletes, and what a killed process left is
//! deleted. Each is tried again by itself after a pause, and none of them keeps a checkpoint from being sent.

use std::time::{Duration, Instant};

use burn_ckpt::mirror::RunMirror;
use burn_ckpt::{Error, RunLayout};
use jiff::SignedDuration;

use super::queue::Queue;
use crate::retry_pause::RetryPause;

/// The age from which what a killed process has left in the mirror is deleted.
const LEFTOVER_AGE: SignedDuration = SignedDuration::from_hours(1);
/// How often it is looked for.
const LEFTOVERS_EACH: Duration = Duration::from_hours(1);

/// The work beside sending.
#[derive(Debug)]
pub(super) struct Chores {
    all: [Chore; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Links,
    Retention,
    /// Each hour.
    Leftovers,
}

#[derive(Debug)]
struct Chore {
    task: Task,
    is_due: bool,
    done: Option<Instant>,
    /// After an error.
    not_before: Option<Instant>,
    pause: RetryPause,
    has_reported: bool,
}

/// An error of a chore, and whether it is the first one.
pub(super) struct FailedChore {
    pub(super) error: Error,
    pub(super) is_first: bool,
}

impl Chores {
    pub(super) fn new() -> Self {
        Self { all: [Task::Links, Task::Retention, Task::Leftovers].map(Chore::new) }
    }

    /// A checkpoint was sent.
    pub(super) fn follow(&mut self) {
        for chore in &mut self.all {
            let is_recent = |done: Instant| done.elapsed() < LEFTOVERS_EACH;
            chore.is_due |= !(chore.task == Task::Leftovers && chore.done.is_some_and(is_recent));
        }
    }

    /// Does what is due, and is not in its pause. Returns the errors.
    pub(super) fn work(
        &mut self,
        mirror: &mut RunMirror,
        layout: &RunLayout,
        queue: &Queue,
    ) -> Vec<FailedChore> {
        let now = Instant::now();
        let due = self.all.iter_mut().filter(|chore| chore.is_due_at(now));
        due.filter_map(|chore| chore.work(mirror, layout, queue).err()).collect()
    }

    /// Does once what is still due but the links, without regard to pauses: the run has ended.
    pub(super) fn end(
        &mut self,
        mirror: &mut RunMirror,
        layout: &RunLayout,
        queue: &Queue,
    ) -> Vec<FailedChore> {
        let due = self.all.iter_mut().filter(|chore| chore.is_due && chore.task != Task::Links);
        due.filter_map(|chore| chore.work(mirror, layout, queue).err()).collect()
    }
}

impl Chore {
    fn new(task: Task) -> Self {
        Self {
            task,
            is_due: false,
            done: None,
            not_before: None,
            pause: RetryPause::default(),
            has_reported: false,
        }
    }

    fn is_due_at(&self, now: Instant) -> bool {
        self.is_due && self.not_before.is_none_or(|time| now >= time)
    }

    fn work(&mut self, mirror: &mut RunMirror, layout: &RunLayout, queue: &Queue) -> Result<(), FailedChore> {
        match self.try_to_work(mirror, layout, queue) {
            Ok(()) => {
                (self.is_due, self.done, self.not_before) = (false, Some(Instant::now()), None);
                self.pause = RetryPause::default();
                Ok(())
            }
            Err(error) => {
                self.not_before = Some(Instant::now() + self.pause.after_error());
                let is_first = !std::mem::replace(&mut self.has_reported, true);
                Err(FailedChore { error, is_first })
            }
        }
    }

    fn try_to_work(&self, mirror: &mut RunMirror, layout: &RunLayout, queue: &Queue) -> Result<(), Error> {
        match self.task {
            Task::Links => {
                mirror.send_links(layout)?;
                queue.links_are_moved();
                Ok(())
            }
            Task::Retention => match queue.keep() {
                Some(keep) => mirror.apply_retention(&keep).map(drop),
                None => Ok(()),
            },
            Task::Leftovers => mirror.remove_leftovers(LEFTOVER_AGE).map(drop),
        }
    }
}
