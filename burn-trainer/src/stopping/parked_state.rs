//! The state of the last update, where another thread can take it while the loop waits or computes.
//!
//! The copy shares its memory with the learner. It is dropped right before the next update, which works in
//! place then as it would without the copy.

use std::sync::Arc;

use burn::train::{Learner, LearnerModel};
use parking_lot::Mutex;

use crate::state::callback_state::CallbackStates;
use crate::state::position::Position;

/// The state after an update.
pub(crate) struct ParkedState<M: LearnerModel> {
    pub(crate) learner: Learner<M>,
    /// The model with the running statistics of the update, in cells of its own. `None` for a model without
    /// any.
    pub(crate) valid: Option<M>,
    pub(crate) position: Position,
    pub(crate) learning_rate: f64,
    pub(crate) callbacks: CallbackStates,
}

/// Where the state is parked. Clones share it.
pub(crate) struct ParkingSlot<M: LearnerModel>(Arc<Mutex<Slot<M>>>);

struct Slot<M: LearnerModel> {
    parked: Option<ParkedState<M>>,
    is_computing: bool,
    has_updated: bool,
}

impl<M: LearnerModel> ParkingSlot<M> {
    /// Before the first update.
    pub(crate) fn empty() -> Self {
        Self(Arc::new(Mutex::new(Slot { parked: None, is_computing: false, has_updated: false })))
    }

    /// An update is done.
    pub(crate) fn park(&self, state: ParkedState<M>) {
        let mut slot = self.0.lock();
        slot.parked = Some(state);
        slot.has_updated = true;
    }

    /// The position has changed without an update: the state is validated, or its epoch is done.
    pub(crate) fn move_to(&self, position: Position, callbacks: CallbackStates) {
        if let Some(parked) = &mut self.0.lock().parked {
            (parked.position, parked.callbacks) = (position, callbacks);
        }
    }

    /// The loop waits for its data loader, or works again.
    pub(crate) fn set_waiting(&self, waits: bool) {
        self.0.lock().is_computing = !waits;
    }

    /// Gives the state away: to another thread, or to be dropped before an update.
    pub(crate) fn take(&self) -> Option<ParkedState<M>> {
        self.0.lock().parked.take()
    }

    /// Whether the loop computes: it has begun, and does not wait for its data loader.
    pub(crate) fn is_computing(&self) -> bool {
        self.0.lock().is_computing
    }

    /// Whether there was an update in this process.
    pub(crate) fn has_updated(&self) -> bool {
        self.0.lock().has_updated
    }
}

impl<M: LearnerModel> Clone for ParkingSlot<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
