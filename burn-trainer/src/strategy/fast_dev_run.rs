//! The strategies of a fast dev run: those of the run, with all files in the run's own directory, and one
//! that saves the end.

use std::path::{Component, Path, PathBuf};

use super::{CheckpointOutput, KeepRule, SaveDecision, Strategy, TopK};
use crate::state::event::{RunProgress, TrainingEvent};

/// The name of the strategy whose checkpoint is loaded back, and of its directory.
pub(crate) const FAST_DEV_RUN: &str = "fast_dev_run";

/// The program's strategies, and the one that saves the end.
pub(crate) fn of_fast_dev_run(own: Vec<Box<dyn Strategy>>) -> Vec<Box<dyn Strategy>> {
    let within = |(number, strategy)| Box::new(WithinTheRun { strategy, number }) as Box<dyn Strategy>;
    own.into_iter().enumerate().map(within).chain([Box::new(AtTheEnd) as Box<dyn Strategy>]).collect()
}

/// The directory itself if it is in the run's own, else one of another name there.
pub(crate) fn directory_within(directory: &Path, number: usize) -> PathBuf {
    let is_within =
        directory.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if is_within { directory.to_path_buf() } else { PathBuf::from(format!("elsewhere-{number}")) }
}

/// Saves the whole state at the end.
struct AtTheEnd;

impl Strategy for AtTheEnd {
    fn name(&self) -> String {
        FAST_DEV_RUN.to_owned()
    }

    fn output(&self) -> CheckpointOutput {
        CheckpointOutput::new(FAST_DEV_RUN)
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(TopK::All)
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, _: &RunProgress<'_>) -> SaveDecision {
        match event {
            TrainingEvent::TrainingEnd => {
                SaveDecision::Save { score: f64::NAN, reason: FAST_DEV_RUN.to_owned() }
            }
            _ => SaveDecision::Skip,
        }
    }
}

/// A strategy of the program's. A directory of it that is elsewhere is one in the run's own.
struct WithinTheRun {
    strategy: Box<dyn Strategy>,
    number: usize,
}

impl Strategy for WithinTheRun {
    fn name(&self) -> String {
        self.strategy.name()
    }

    fn output(&self) -> CheckpointOutput {
        let output = self.strategy.output();
        let directory = directory_within(&output.directory, self.number);
        CheckpointOutput { directory, ..output }
    }

    fn keep(&self) -> KeepRule {
        self.strategy.keep()
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
        self.strategy.decide(event, progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_elsewhere_is_one_in_the_runs_own() {
        let within = |path: &str| directory_within(Path::new(path), 3);
        for own in ["best", "a/b", "./best"] {
            assert_eq!(within(own), Path::new(own));
        }
        for other in ["/data/best", "../best", "a/../../b"] {
            assert_eq!(within(other), Path::new("elsewhere-3"), "{other}");
        }
    }
}
