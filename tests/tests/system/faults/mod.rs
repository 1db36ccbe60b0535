//! The storage fails: at each single file operation, and by a loss of power.

mod at_each_operation;
mod damage_found_late;
mod power_loss;
mod prune;
mod sample;
mod scenarios;
mod unread_for_a_moment;
