//! What trains, saves, goes on and loads: these tests run on flex, and with the feature `wgpu` and
//! `SYSTEM_TESTS_BACKEND=wgpu` on burn's wgpu backend too (`cargo xtask test` does both).

mod burns_own_loop;
mod burns_strategies;
mod devices;
mod directory;
mod dirpaths;
mod exact;
mod exceptions;
mod failed_saves;
mod from_checkpoint;
mod from_lightning;
mod metric_files;
mod mid_epoch;
mod names;
mod once;
mod overwrite;
mod partial_loading;
mod reconcile;
mod recovery;
mod resume;
mod run_directory;
mod snapshot;
mod soak;
mod topk;
mod users_loop;
mod verified_weights;
mod wrong_hparams;
