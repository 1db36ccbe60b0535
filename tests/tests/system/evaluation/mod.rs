//! Numbers after training: evaluations that return them and are kept, and predictions.

mod evaluate;
mod kept;
mod predict;
