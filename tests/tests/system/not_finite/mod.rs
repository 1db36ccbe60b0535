//! Values that are not finite: in a loss, in gradients, in a state that is saved.

mod guard;
mod states;
