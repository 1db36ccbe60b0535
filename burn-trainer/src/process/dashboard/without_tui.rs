//! A build without burn's dashboard.

use burn::train::renderer::MetricsRenderer;

use super::Ended;

/// The dashboard that there is not.
pub(crate) enum Dashboard {}

impl Dashboard {
    pub(crate) fn open(_completed: usize) -> Result<Self, String> {
        Err("the program is built without burn-trainer's feature tui".to_owned())
    }

    pub(crate) fn draw(&mut self, _event: impl FnOnce(&mut dyn MetricsRenderer)) {
        match *self {}
    }

    pub(crate) fn has_ended(&self) -> Option<Ended> {
        match *self {}
    }

    pub(crate) fn take_stop(&mut self) -> Option<Option<String>> {
        match *self {}
    }
}

/// There is nothing to close.
pub(crate) fn close() {}

/// There is nothing to show it on.
pub(crate) fn show_signal(_name: &str) {}

/// There is nothing to leave.
pub(crate) fn leave() {}
