//! What can stop a run: a signal, the progress display, and an end from outside when the loop does not see a
//! stop.

use std::sync::Arc;

use burn::train::{Interrupter, LearnerModel};

use super::end_of_run::EndOfRun;
use super::parked_state::ParkingSlot;
use super::save_from_outside::SaveFromOutside;
use crate::config::TrainerConfig;
use crate::process::progress::display::RunInterrupter;
use crate::process::signals::{SignalWatch, StopView};

/// The stops of one run, from `Trainer::new` to the end of `fit`.
pub(crate) struct StopControl {
    /// For the progress display.
    pub(crate) interrupter: RunInterrupter,
    pub(crate) signals: SignalWatch,
    end_of_run: Arc<EndOfRun>,
}

impl StopControl {
    /// Watches signals from now on, if the configuration says so.
    pub(crate) fn start(config: &TrainerConfig) -> Self {
        let end_of_run = EndOfRun::new(config.clone());
        let signals = match config.handle_signals {
            true => SignalWatch::start(config.writes(), config.exception_timeout(), end_of_run.clone()),
            false => SignalWatch::default(),
        };
        Self { interrupter: RunInterrupter::default(), signals, end_of_run }
    }

    /// The run is open: its configuration has its id.
    pub(crate) fn set_config(&self, config: TrainerConfig) {
        self.end_of_run.set_config(config);
    }

    /// Lets signals and the progress display stop a training, whose interrupter can be the program's.
    pub(crate) fn attach(&self, interrupter: Interrupter) {
        // It is set once, since `fit` takes the trainer.
        let _ = self.interrupter.set(interrupter.clone());
        self.signals.attach(interrupter);
    }

    /// For the loop.
    pub(crate) fn for_loop(&self) -> LoopStop {
        LoopStop { view: self.signals.view(), end_of_run: Arc::clone(&self.end_of_run) }
    }
}

/// What the loop has of it.
pub(crate) struct LoopStop {
    pub(crate) view: StopView,
    end_of_run: Arc<EndOfRun>,
}

impl LoopStop {
    /// Where the loop parks its state. `None` when nothing would take it there: only a signal has it saved
    /// from outside.
    pub(crate) fn parking_slot<M: LearnerModel>(&self) -> Option<ParkingSlot<M>> {
        self.view.is_on().then(ParkingSlot::empty)
    }

    /// Training starts, and can be saved from outside.
    pub(crate) fn set_training(&self, training: Arc<dyn SaveFromOutside>) {
        self.end_of_run.set_training(training);
    }
}
