//! Stops that the loop does not see, signals before training, and threads that do not end.

mod before_training;
mod ignored_signals;
mod left_behind;
mod unseen_stops;
