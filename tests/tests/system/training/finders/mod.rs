//! Settings that are found before a run, with copies of the model.

mod learning_rate;
