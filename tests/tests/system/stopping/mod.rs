//! Stops that the loop does not see, signals before training, and threads that do not end.

mod before_training;
mod hanging_workers;
mod ignored_signals;
mod signals_at_the_end;
mod unseen_stops;
