//! Runs on a terminal, with burn's dashboard: they stop and end as they do in a pipe, and leave the terminal as it was.

mod stops;
