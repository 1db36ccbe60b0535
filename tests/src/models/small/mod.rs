//! The small model: a regression with batch normalisation whose steps, metrics and data can be made to fail.

mod callbacks;
mod data;
mod in_two_parts;
mod model;
mod scripted_loader;
mod scripted_metric;
mod training;

pub use callbacks::{AlwaysStops, Counting, Poison, StopOnceAt, Storing};
pub use data::{BATCH, Batch, Item, ItemBatcher, STEPS_PER_EPOCH, items, shuffling};
pub use in_two_parts::{in_two_parts_is_as_in_one, train_from};
pub use model::{Model, ModelHparams, OnStep, Script, learner, stopper};
pub use scripted_loader::loader;
pub use scripted_metric::{ScriptedMetric, stopping_after};
pub use training::{
    config, keeping_every_epoch, train, train_and_keep_all, train_by, train_on_devices, train_scored,
    train_scripted, train_scripted_with_strategy, train_with, train_with_strategy, train_within,
    with_all_packages,
};
