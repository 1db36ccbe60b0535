//! Checkpoints of burn models on disk: one file with everything in it, its metadata beside it, found by name,
//! and verified.
//!
//! # What is on disk
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
//! A `.ckpt` is a [burnpack](burn_pack) container with sections (`model`, `optimizer`, `scheduler`, a program's
//! own), the hyperparameters and the training loop's state. `FORMAT.md` describes the bytes.
//!
//! # The two flows
//!
//! ```text
//! save: Section -> CheckpointWriter -> container + digests -> metadata -> commit -> links -> retention
//!       section.rs writer.rs           save.rs calls write.rs, metadata.rs, commit.rs; then links.rs, ledger.rs
//!       (deferred.rs: a tensor is read from its device when it is written)
//! load: path | RUN/best | RUN/last -> file  -> header, hyperparameters  -> tensors that fit -> read, verified -> model
//!       from_checkpoint.rs            locate.rs load.rs calls container.rs, weights.rs         read_ahead.rs,
//!                                               hparams.rs                                     verified.rs, digest.rs
//! ```
//!
//! # What holds
//!
//! - A `.ckpt` under its final name is whole and has its metadata, after a kill and (on Unix) after power loss.
//! - Nothing older is removed before what replaces it is durable and the links point to it.
//! - Opening reads the header alone. Any bytes given to a loader give a typed error, and no length in a file is
//!   allocated for before it is compared with the file's size.
//!
//! # Loading
//!
//! A module that implements [`FromCheckpoint`] is loaded in one line; its page has the lines, and an example:
//!
//! | to get | write |
//! |---|---|
//! | the model as it was trained | `MyModel::from_checkpoint("runs/a/best", &device)?` |
//! | with other hyperparameters | `MyModel::from_checkpoint_with(path, &device, \|h\| h.with_dropout(0.0))?` |
//! | the hyperparameters alone | `MyModel::hparams_from_checkpoint(path)?` |
//! | what fits, under other names, as another type | `MyModel::loader(path).allow_partial(true).remap_keys(..).load(&device)?`: [`CheckpointLoader`] |
//! | into a module that is there already | `Checkpoint::open(path)?.load_into(module)?`: [`Checkpoint`] |
//!
//! # Example: a round trip without the trait
//!
//! ```
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::Device;
//! use burn_ckpt::{Checkpoint, Contents, Metadata, Section};
//! use jiff::Timestamp;
//!
//! # let directory = std::env::temp_dir().join(format!("burn-ckpt-doc-{}", std::process::id()));
//! let path = directory.join("linear.ckpt");
//! let device = Device::default();
//! let config = LinearConfig::new(4, 2);
//! let model = config.init(&device);
//! Contents::new(&config)?
//!     .with_section("model", Section::from_module(&model))
//!     .save(&path, Metadata::blank(Timestamp::now()))?;
//!
//! let checkpoint = Checkpoint::open(&path)?;
//! checkpoint.verify()?;
//! let config: LinearConfig = checkpoint.hparams()?;
//! let loaded: Linear = checkpoint.load_into(config.init(&device))?;
//! assert_eq!(loaded.weight.val().into_data(), model.weight.val().into_data());
//! # std::fs::remove_dir_all(&directory).expect("the directory was made above");
//! # Ok::<(), burn_ckpt::Error>(())
//! ```

mod disk;
mod error;
mod file_names;
mod format;
mod load;
mod panics;
pub mod retention;
mod run_dir;
mod save;

pub use error::{Error, Result};
pub use format::contents::{Contents, FORMAT_VERSION};
pub use format::metadata::{Metadata, TensorInfo};
pub use format::section::{Section, TensorLayout};
pub use load::checkpoint::Checkpoint;
pub use load::loader::{CheckpointLoader, FromCheckpoint, Loaded};
pub use load::options::LoadOptions;
pub use load::report::{LoadReport, TensorMismatch};
pub use run_dir::catalog::{Catalog, CatalogEntry};
pub use run_dir::layout::RunLayout;
pub use run_dir::locate::locate;

/// The formats' crate, for those who build sections by hand.
pub use burn_pack;

/// What `burn-trainer` and the program `burn-ckpt` are made with. No promise of stability: use `burn-trainer`.
#[doc(hidden)]
pub mod plumbing {
    pub use crate::disk::commit::remove_checkpoint;
    pub use crate::disk::run_lock::RunLock;
    pub use crate::disk::staged_file::{Existing, write_whole};
    pub use crate::file_names::{
        CHECKPOINT_SUFFIX, MAX_NAME_BYTES, METADATA_SUFFIX, exception_stem, is_checkpoint, link_name,
        metadata_path, safe_name,
    };
    pub use crate::format::digest::{blake3_of_tensor, sha256_of_file};
    pub use crate::format::metadata::{MAX_METADATA_BYTES, numbers};
    pub use crate::format::module_types::ModuleTypes;
    pub use crate::panics::panic_message;
    pub use crate::retention::ledger::{Ledger, Reservation, SavedCheckpoint};
    pub use crate::run_dir::cleanup::{clear, recover};
    pub use crate::run_dir::filename_template::FilenameTemplate;
    pub use crate::run_dir::layout::{BEST_DIR, CHECKPOINT_DIR, DEFAULT_LOGS, LAST_DIR, ON_EXCEPTION_DIR};
    pub use crate::run_dir::locate::resolve;
    pub use crate::save::activity::WriterActivity;
    pub use crate::save::persist::name_again;
    pub use crate::save::request::{
        MakeSections, RunDescription, SaveReport, SaveRequest, Submitted, WhenBusy,
    };
    pub use crate::save::writer_thread::{CheckpointWriter, SharedLedger};
}
