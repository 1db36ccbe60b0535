//! Settings that are found before a run, with copies of the model.

mod batch_size;
mod command_line;
mod learning_rate;
