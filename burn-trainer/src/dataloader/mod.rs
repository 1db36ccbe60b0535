//! A data loader whose passes can begin anywhere: the order of an epoch is computed, not remembered.
//!
//! ```text
//! loader.rs          what a program sees: the builder, and burn's `DataLoader`
//! epoch_tracker.rs   starts passes at the right epoch in loops of burn or the user, and counts their batches
//! loader_size.rs     what a loader of ours says of its data before training
//! named_loaders.rs   the loaders of the named validation sets
//! workers.rs         makes the batches, on the calling thread or ahead of it
//! start_position.rs  where a pass begins, which the training loop sets, and the positions of its batches
//! shuffle_order.rs   which item is at a position of an epoch
//! split_mix.rs       the mixing function below every seed
//! ```

mod epoch_tracker;
mod loader;
mod loader_size;
mod named_loaders;
mod shuffle_order;
pub(crate) mod split_mix;
mod start_position;
#[cfg(test)]
mod tests;
mod workers;

pub(crate) use epoch_tracker::{EpochTracker, EpochTrackingLoader};
pub(crate) use loader::DEFAULT_SEED;
pub use loader::{ResumableDataLoader, ResumableDataLoaderBuilder};
pub(crate) use loader_size::LoaderSize;
pub(crate) use named_loaders::{NamedLoader, check_names, without_batch};
pub(crate) use start_position::{StartPosition, iter_from, pass_of_epoch};
