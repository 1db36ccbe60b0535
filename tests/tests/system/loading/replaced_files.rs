//! An opened checkpoint is the state that was opened, whatever becomes of its name. A file that is cut off
//! while it is read is an error.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::nn::{Linear, LinearConfig};
use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_ckpt::{Checkpoint, Contents, ErrorKind, Metadata, Section, TensorLayout};
use jiff::Timestamp;
use system_tests::backend;
use system_tests::run_files::{in_memory, last_tensor_byte, metadata_path};

fn linear() -> Linear {
    LinearConfig::new(64, 32).init(&backend::device())
}

fn save(path: &Path) -> Linear {
    let model = linear();
    let contents = Contents::new(&()).unwrap().with_section(Section::MODEL, Section::from_module(&model));
    contents.save(path, Metadata::new(Timestamp::now())).unwrap();
    model
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(metadata_path(path)).unwrap();
}

fn is_the_state(checkpoint: &Checkpoint, saved: &Linear) {
    checkpoint.verify().unwrap();
    checkpoint.verify_checksum().unwrap();
    let loaded = checkpoint.load_into(linear()).unwrap();
    assert_eq!(loaded.weight.val().into_data(), saved.weight.val().into_data());
    checkpoint.model_record().unwrap();
    checkpoint.verified_section(Section::MODEL).unwrap().into_burnpack().unwrap();
}

#[test]
fn a_deleted_checkpoint_that_is_open_is_read_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    let saved = save(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    remove(&path);
    is_the_state(&checkpoint, &saved);
}

#[test]
fn a_checkpoint_is_the_one_that_was_opened_also_after_another_has_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    let saved = save(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let section = checkpoint.section(Section::MODEL).unwrap();
    remove(&path);
    save(&path);
    is_the_state(&checkpoint, &saved);
    let weight = section.tensors.iter().find(|tensor| tensor.name == "weight").unwrap();
    assert_eq!(&weight.to_bytes().unwrap()[..], saved.weight.val().into_data().as_bytes());
}

#[cfg(unix)]
#[test]
fn a_link_that_is_moved_does_not_change_what_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second, link] = ["a.ckpt", "b.ckpt", "best.ckpt"].map(|name| directory.path().join(name));
    let (saved, _) = (save(&first), save(&second));
    std::os::unix::fs::symlink("a.ckpt", &link).unwrap();
    let checkpoint = Checkpoint::open(&link).unwrap();
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("b.ckpt", &link).unwrap();
    remove(&first);
    is_the_state(&checkpoint, &saved);
}

#[test]
fn a_record_is_verified_and_has_burns_layout() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    save(&path);
    let mut bytes = std::fs::read(&path).unwrap();
    let place = last_tensor_byte(&bytes);
    bytes[place] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = Checkpoint::open(&path).unwrap().model_record().map(drop).unwrap_err();
    assert!(burn_ckpt::chain(&error).contains("blake3"), "{}", burn_ckpt::chain(&error));
    // A square weight has the same shape, transposed.
    let square: Linear = LinearConfig::new(3, 3).init(&backend::device());
    let section = Section::from_module(&square).with_layout(TensorLayout::PyTorch);
    let contents = Contents::new(&()).unwrap().with_section(Section::MODEL, section);
    let path = directory.path().join("pytorch.ckpt");
    contents.save(&path, Metadata::new(Timestamp::now())).unwrap();
    let error = Checkpoint::open(&path).unwrap().model_record().map(drop).unwrap_err();
    assert!(error.to_string().contains("the layout pytorch: Checkpoint::load_into loads them"), "{error}");
}

#[test]
fn a_file_that_is_cut_off_while_it_is_open_is_an_error_and_not_a_panic() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ckpt");
    save(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let section = checkpoint.section(Section::MODEL).unwrap();
    // In the middle of the tensors.
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(4096).unwrap();

    let errors = [
        checkpoint.load_into(linear()).map(drop).unwrap_err(),
        checkpoint.model_record().map(drop).unwrap_err(),
        checkpoint.verify().map(drop).unwrap_err(),
        section.into_burnpack().map(drop).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
        let mut cause = error.source();
        while let Some(next) = cause {
            if let Some(error) = next.downcast_ref::<io::Error>() {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error:?}");
                break;
            }
            cause = next.source();
        }
        assert!(cause.is_some(), "the system's error is not among the causes: {error:?}");
    }
}

/// Counts what is asked of a disk.
#[derive(Default)]
struct Asked(AtomicUsize);

impl Observer for Asked {
    fn before(&self, _: &Operation<'_>) -> Verdict {
        self.0.fetch_add(1, Ordering::Relaxed);
        Verdict::Proceed
    }
}

#[test]
fn a_name_that_leads_to_nothing_is_not_looked_for_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let place = std::fs::canonicalize(directory.path()).unwrap();
    std::fs::create_dir_all(place.join("r1/checkpoint")).unwrap();
    for typo in ["r1/lst", "r1/last", "gone.ckpt"] {
        let asked = Arc::new(Asked::default());
        let observation = observe(&place, asked.clone());
        assert_eq!(Checkpoint::open(place.join(typo)).unwrap_err().kind(), ErrorKind::NotFound);
        drop(observation);
        let asked = asked.0.load(Ordering::Relaxed);
        assert!((1..40).contains(&asked), "{typo}: {asked}");
    }
}

/// Where a run replaces a checkpoint again and again, opening it by its link never fails.
#[cfg(unix)]
#[test]
fn a_link_that_a_run_moves_can_be_opened_at_any_moment() {
    use std::sync::atomic::AtomicBool;

    let directory = in_memory();
    let link = directory.path().join("best.ckpt");
    let name = |number: usize| directory.path().join(format!("{number}.ckpt"));
    let point_to = |target: PathBuf| {
        let moved = directory.path().join("moved");
        std::os::unix::fs::symlink(&target, &moved).unwrap();
        std::fs::rename(&moved, &link).unwrap();
    };
    save(&name(0));
    point_to(name(0));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut opened = 0;
                    while !ended.load(Ordering::Relaxed) {
                        Checkpoint::open(&link).unwrap().verify().unwrap();
                        opened += 1;
                    }
                    opened
                })
            })
            .collect();
        for number in 1..100 {
            save(&name(number));
            point_to(name(number));
            remove(&name(number - 1));
        }
        ended.store(true, Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 0));
    });
}
