//! Callbacks: when they are called, what they can do, and that a run with them resumes exactly.

mod averages;
mod checkpoints;
mod early_stopping;
mod exact_resume;
mod failures;
mod gradients;
mod learning_rates;
mod order;
mod scalars;
mod signals;
mod states;
mod stops;
