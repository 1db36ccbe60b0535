//! What trains, saves, goes on and loads: these tests run on flex, and with the feature `wgpu` and
//! `SYSTEM_TESTS_BACKEND=wgpu` on burn's wgpu backend too (`cargo xtask test` does both).

mod burns_own_loop;
pub mod exact;
mod exceptions;
mod from_checkpoint;
mod from_lightning;
mod mid_epoch;
mod once;
mod partial_loading;
mod recovery;
mod resume;
mod snapshot;
mod streamed;
mod verified_weights;
mod wrong_hparams;
