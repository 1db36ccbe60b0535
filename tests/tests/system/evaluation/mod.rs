//! Numbers after training: evaluations that return them and are kept, predictions, and which model a run ends
//! with.

mod best_model;
mod command_line;
mod evaluate;
mod kept_evaluations;
mod predict;
