//! Features of the trainer with each other.

mod pairs;
