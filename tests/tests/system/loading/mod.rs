//! Loading: a checkpoint on disk, its header, its model, and files of earlier versions.

mod checkpoint;
mod container;
mod float_types;
mod golden;
mod header_alone;
mod hints;
mod hostile;
mod hparams_in_json;
mod readers_of_a_running_run;
mod replaced_files;
mod small_dependencies;
mod stands_alone;
