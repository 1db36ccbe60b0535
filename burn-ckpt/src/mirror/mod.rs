//! A run's checkpoints in an object store: S3, Google Cloud Storage, Azure, or a directory on another disk
//! (feature `mirror`). They outlive the machine that trains.
//!
//! | to | use |
//! |---|---|
//! | name a store | [`MirrorAddress`], [`Store`] |
//! | send a run's checkpoints | [`RunMirror`] |
//! | see what is there, and get it | [`MirroredRun`] |
//!
//! ```
//! use burn_ckpt::mirror::{MirroredRun, RunMirror, Store, Writer};
//! # use burn_ckpt::{Contents, Metadata, RunLayout, Section};
//! # let root = std::env::temp_dir().join(format!("burn-ckpt-doc-mirror-{}", std::process::id()));
//! # let run = RunLayout::new(&root, "logs", "r1")?;
//! # let checkpoint = run.checkpoint_dir().join("last/step=1.ckpt");
//! # let contents = Contents::default().with_section(Section::MODEL, Section::default());
//! # contents.save(&checkpoint, Metadata::new(jiff::Timestamp::now()).with_run_id("r1"))?;
//!
//! let store = Store::connect(&"memory:doc".parse()?)?;
//! let mut mirror = RunMirror::open(&store, "r1", &Writer::of_this_process())?;
//! mirror.send(&run, &checkpoint, &|_| Ok(()))?;
//! mirror.close()?;
//!
//! let elsewhere = RunLayout::new(&root, "logs", "r1-again")?;
//! let mirrored = MirroredRun::open(&store, "r1")?;
//! let newest = mirrored.newest().expect("it was sent");
//! let path = mirrored.download(newest, &elsewhere, &|_| Ok(()))?;
//! assert_eq!(burn_ckpt::Checkpoint::open(&path)?.metadata()?.run_id, "r1");
//! # std::fs::remove_dir_all(&root).expect("the directory was made above");
//! # Ok::<(), burn_ckpt::Error>(())
//! ```
//!
//! A checkpoint in a mirror is there if its commit object is, which is written last. A second writer to a run
//! gets an error that names the first one: a lease, which is renewed, and can be taken over once its time is
//! over. `FORMAT.md` has the objects.

mod address;
mod commit_object;
mod digests;
mod lease;
mod metrics_pieces;
mod object_names;
mod reading;
mod sending;
mod store;
mod writer;

pub use address::MirrorAddress;
pub use commit_object::{MIRROR_VERSION, MirroredCheckpoint, MirroredFile, MirroredLog};
#[doc(hidden)]
pub use reading::begin::begin_on_disk;
pub(crate) use reading::checkpoint_files::{CheckpointFiles, MirroredMetadata};
pub use reading::mirrored_run::MirroredRun;
#[doc(hidden)]
pub use sending::forks::{DiskHistory, forks_in_words};
pub use sending::local_names::OUTSIDE_DIR;
#[doc(hidden)]
pub use sending::local_names::{PathsOnDisk, check_dirpath};
pub use sending::removal::mirror_keep::MirrorKeep;
pub use sending::removal::retention::Removed;
pub use sending::run_mirror::RunMirror;
pub use sending::upload::Sent;
#[doc(hidden)]
pub use store::OnWait;
pub use store::{Progress, Store, Variables};
pub use writer::Writer;
