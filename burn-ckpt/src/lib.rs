//! Checkpoints of [burn](https://burn.dev) models: a model, its hyperparameters and everything else that a
//! program needs, in one verified file.
//!
//! A checkpoint is a `.ckpt` file, which needs no other one (unless it is larger than a file may be), with a
//! readable `.ckpt.metadata.json` beside it. The metadata, which the file has too, has digests of each
//! tensor, the metrics, the hyperparameters, and what the model was trained on. burn-trainer saves
//! checkpoints during a training. This crate loads them, without burn's training code, and saves checkpoints
//! of programs without a training loop.
//!
//! # Save and load a model
//!
//! ```
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::Device;
//! use burn_ckpt::{Checkpoint, Contents, Metadata, Section};
//! use jiff::Timestamp;
//!
//! # let directory = std::env::temp_dir().join(format!("burn-ckpt-doc-{}", std::process::id()));
//! # let path = directory.join("linear.ckpt");
//! let device = Device::default();
//! let config = LinearConfig::new(4, 2);
//! let model = config.init(&device);
//! Contents::new(&config)?
//!     .with_section(Section::MODEL, Section::from_module(&model))
//!     .save(&path, Metadata::new(Timestamp::now()).with_metrics([("val_loss", 0.1)]))?;
//!
//! let checkpoint = Checkpoint::open(&path)?;
//! let config: LinearConfig = checkpoint.hparams()?;
//! let loaded: Linear = checkpoint.load_into(config.init(&device))?; // verifies each tensor
//! assert_eq!(loaded.weight.val().into_data(), model.weight.val().into_data());
//! assert_eq!(checkpoint.metadata()?.metrics["val_loss"], 0.1);
//! # std::fs::remove_dir_all(&directory).expect("the directory was made above");
//! # Ok::<(), burn_ckpt::Error>(())
//! ```
//!
//! # Load in one line
//!
//! A module that implements [`FromCheckpoint`] is built from the hyperparameters in its checkpoint:
//!
//! | to get | write |
//! |---|---|
//! | the trained model | `MyModel::from_checkpoint("runs/a/best", &device)?` |
//! | with other hyperparameters | `MyModel::from_checkpoint_with(path, &device, \|h\| h.with_dropout(0.0))?` |
//! | only the hyperparameters | `MyModel::hparams_from_checkpoint(path)?` |
//! | parts of a model, under other names, as another type | `MyModel::loader(path).allow_partial(true).load(&device)?`: [`CheckpointLoader`] |
//! | the average of several checkpoints | [`average`] |
//! | each new checkpoint of a run while it trains | `for new in Watch::new("runs/a") { .. }`: [`watch`] |
//! | a model into a module that exists already | `Checkpoint::open(path)?.load_into(module)?`: [`Checkpoint`] |
//!
//! `runs/a/best` and `runs/a/last` are the best and the newest checkpoint of the run in `runs/a`: see
//! [`locate`]. [`Catalog`] lists all checkpoints of a run. [`metrics_log`] reads the values that a run has
//! logged, and `report` (feature `report`) writes a page with their curves. [`retention`] has the rules by
//! which a trainer keeps checkpoints.
//!
//! # Guarantees
//!
//! - A `.ckpt` file under its final name is complete and has its metadata, after a killed process and (on
//!   Unix) after a power loss.
//! - An older checkpoint is removed only after its replacement is durable and the links point to the
//!   replacement.
//! - Opening a checkpoint reads only its header. Any bytes in a file lead to a typed error, not to a panic:
//!   lengths in the file are compared with the file's size before memory is allocated for them.
//!
//! [`Error::kind`] tells a full disk, a damaged file and other causes apart; [`chain`] prints an error with
//! its causes.
//!
//! # Files
//!
//! ```text
//! {root}/{logs}/{run_id}/checkpoint/
//! ├── best/epoch=3-step=150.ckpt               + epoch=3-step=150.ckpt.metadata.json
//! ├── last/epoch=9-step=500.ckpt               + .metadata.json
//! ├── on_exception/2024-01-15T10-30-00.ckpt    + .metadata.json
//! ├── best_val_loss.ckpt -> best/epoch=3-step=150.ckpt            + .metadata.json link
//! └── last.ckpt -> last/epoch=9-step=500.ckpt                     + .metadata.json link
//! ```
//!
//! A `.ckpt` file is a [burnpack](burn_pack) container with sections: `model`, `optimizer`, `scheduler`,
//! `history`, and a program's own. `FORMAT.md` in the repository describes the bytes.

#![cfg_attr(docsrs, feature(doc_cfg))]
// Tests make and break files as they please.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod addresses;
mod average;
mod compared_settings;
mod disk;
mod error;
mod file_names;
mod format;
mod hparams;
mod load;
pub mod metrics_log;
#[cfg(feature = "mirror")]
pub mod mirror;
mod panics;
#[cfg(feature = "report")]
pub mod report;
pub mod retention;
mod run_dir;
mod save;
mod scoped_work;
mod start_changes;
mod strategy_names;
mod text;
pub mod watch;

pub use average::average;
pub use error::chain::chain;
pub use error::kind::ErrorKind;
pub use error::mirror_failure::{MirrorFailure, WrongMirror};
pub use error::{Error, Result};
pub use format::contents::{Contents, FORMAT_VERSION};
pub use format::metadata::Metadata;
pub use format::section::{Section, TensorLayout};
pub use load::checkpoint::Checkpoint;
pub use load::loader::{CheckpointLoader, FromCheckpoint, Loaded};
pub use load::options::LoadOptions;
pub use load::report::{LoadReport, TensorMismatch};
pub use run_dir::catalog::{Catalog, CatalogEntry};
pub use run_dir::layout::RunLayout;
pub use run_dir::locate::locate;

/// The parts of a checkpoint's [`Metadata`]: its tensors, its shards, and the starts of its run.
///
/// ```no_run
/// use burn_ckpt::Checkpoint;
/// use burn_ckpt::metadata::TensorInfo;
///
/// let metadata = Checkpoint::open("runs/a/last")?.metadata()?;
/// for (name, TensorInfo { dtype, shape, .. }) in &metadata.tensors {
///     println!("{name}: {dtype} {shape:?}");
/// }
/// for start in &metadata.starts {
///     println!("started at step {}", start.global_step);
/// }
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
pub mod metadata {
    pub use crate::format::metadata::non_finite::NonFiniteTensors;
    pub use crate::format::metadata::{ShardInfo, TensorInfo};
    pub use crate::format::run_start::RunStart;
}

/// burn's container format: the crate of the tensors and scalars in a [`Section`], for programs that build
/// sections by hand.
pub use burn_pack;

/// The parts that `burn-trainer` and the program `burn-ckpt` are made of. Not stable: use `burn-trainer`
/// instead.
#[doc(hidden)]
pub mod plumbing {
    /// The names that a misspelt one may mean.
    pub mod near_names {
        pub use crate::text::near_names::{LISTED, SPLITS, bare, did_you_mean, near};
    }
    pub use crate::addresses::{is_address, mirror_address};
    pub use crate::average::average_with;
    pub use crate::compared_settings::{NAMES_AND_PLACES, NOT_OF_THE_RESULT, is_of_result, leaves};
    pub use crate::disk::commit::{remove_checkpoint, remove_written};
    pub use crate::disk::directories::{
        can_be_synced, cannot_be_synced, create_directory, entry, is_directory, is_symlink, is_there, list,
        list_existing, real_path, real_path_if_there, stat,
    };
    pub use crate::disk::file_identity::{FileIdentity, file_identity};
    pub use crate::disk::links::remove as remove_link;
    pub use crate::disk::run_lock::{LockMode, LockState, RunLock, lock_state};
    pub use crate::disk::staged_file::{
        Existing, Staged, has_another_name, unfinished_writes_of, write_whole,
    };
    pub use crate::disk::staged_shards::remove_unfinished;
    pub use crate::disk::storage;
    pub use crate::error::pack_error::PackError;
    pub use crate::file_names::{
        CHECKPOINT_SUFFIX, MAX_NAME_BYTES, METADATA_SUFFIX, StagingOwner, evaluation_path, exception_stem,
        is_checkpoint, is_shards_directory, is_staging_directory, link_name, metadata_path, safe_name,
        same_file_name, shards_directory,
    };
    pub use crate::format::collect_module::outlines;
    pub use crate::format::container::bounded_json::{
        check as check_json, check_kept as check_kept_json, parse as parse_json,
    };
    pub use crate::format::container::foreign_format::{ForeignFormat, MAX_SAFETENSORS_HEADER};
    pub use crate::format::container::limits::MAX_JSON_VALUES;
    pub use crate::format::container::zeroed::zeroed;
    pub use crate::format::deferred_tensor::ReadTiming;
    pub use crate::format::digest::{blake3_hex, sha256_of_file};
    pub use crate::format::limits::{Limits, MAX_METADATA_BYTES};
    pub use crate::format::metadata::embedded::OWN_ENTRIES;
    pub use crate::format::metadata::listed::MetadataParts;
    pub use crate::format::metadata::non_finite::non_finite_tensors;
    pub use crate::format::module_types::ModuleTypes;
    pub use crate::format::numbers;
    pub use crate::format::run_start::git_commit;
    pub use crate::format::shards::{checkpoint_identity, file_digests};
    pub use crate::hparams::json::hparams_to_json;
    pub use crate::hparams::serialized_value::SerializedValue;
    pub use crate::hparams::value_error::ValueError;
    pub use crate::metrics_log::epoch_blocks;
    pub use crate::panics::panic_message;
    pub use crate::retention::ledger::{FileDigests, Ledger, Reservation, WouldKeep};
    pub use crate::run_dir::catalog::{check_sizes, scan_files};
    pub use crate::run_dir::cleanup::{
        clear, files_in_place_of_links, is_of_another_program, links_of_run, recover, unfinished_files,
    };
    pub use crate::run_dir::display_files::report_page::{REPORT_FILE, is_report_page, remove_report_page};
    pub use crate::run_dir::display_files::tracker_files::{
        CSV_FILE, UNFINISHED_EVENTS, event_file_name, event_file_number, state_name, tracker_files,
    };
    pub use crate::run_dir::evaluations::MAX_EVALUATION_BYTES;
    pub use crate::run_dir::filename_template::FilenameTemplate;
    pub use crate::run_dir::layout::{BEST_DIR, CHECKPOINT_DIR, DEFAULT_LOGS, LAST_DIR, ON_EXCEPTION_DIR};
    pub use crate::run_dir::locate::{LinkReplacement, link_names, resolve, run_at, run_of_checkpoint};
    pub use crate::run_dir::other_runs::{
        OwnCheckpoints, RUN_MARKS, add_outside, check_no_other_run, check_own, scan_with,
    };
    pub use crate::run_dir::outside_directories::{
        DIRECTORIES_FILE, links_to_missing_directories, note_outside_directory, outside_directories,
    };
    pub use crate::run_dir::tags::{
        LaterTags, TAGS_FILE, TAGS_LOCK_FILE, check_label, check_notes, check_number_of_tags, check_tag,
    };
    pub use crate::run_dir::training_progress::{RunEnd, epochs_done, is_done};
    pub use crate::save::activity::WriterActivity;
    pub use crate::save::container::plan_state::check_state;
    pub use crate::save::copy_checkpoint::copy_checkpoint;
    pub use crate::save::persist::add_name;
    pub use crate::save::request::{
        MakeSections, MakeTrainerState, RunDescription, SaveReport, SaveRequest, SavedPath, Submitted,
        WhenBusy, WriterEnd,
    };
    pub use crate::save::writer::CheckpointWriter;
    pub use crate::scoped_work::{ScopedWork, start as start_scoped_work};
    pub use crate::start_changes::{OtherOrigin, SettingChange, changes_of, is_trained_again};
    pub use crate::strategy_names::{STRATEGY_KINDS, metric_name, primary_metric, with_named_strategies};
    pub use crate::text::byte_size::size;
    pub use crate::text::printable::{
        is_unsafe, lines_without_controls, shell_word, shown, without_controls,
    };
    pub use crate::text::time_span::span;
}
