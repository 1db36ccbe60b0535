//! What trains, saves, resumes and loads: these tests run on flex, and with the feature `wgpu` and
//! `SYSTEM_TESTS_BACKEND=wgpu` on burn's wgpu backend too (`cargo xtask test` does both).

mod best_and_last_share_a_file;
mod burns_own_loop;
mod default_device;
mod exceptions;
pub(crate) mod from_lightning;
mod lightning_arguments;
mod loading;
mod resuming;
mod saves_within_an_epoch;
mod snapshots;
mod streamed_optimizers;
