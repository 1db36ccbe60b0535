//! A checkpoint in a mirror is opened without a copy on disk: only what is needed is read, by ranges.

use burn_ckpt::burn_pack::{Bytes, DType, Tensor};
use burn_ckpt::mirror::{RunMirror, Store};
use burn_ckpt::{Checkpoint, Contents, Error, Metadata, Section};
use jiff::Timestamp;
use system_tests::object_stores::{FaultRates, SimulatedStore};

use super::{PART_BYTES, address, run_in, save, writer};

const MIB: usize = 1024 * 1024;

fn section(tensors: usize, bytes: usize) -> Section {
    let mut section = Section::new();
    for number in 0..tensors {
        let content: Vec<u8> = (0..bytes).map(|place| (place / 7 + number) as u8).collect();
        let content = Bytes::from_bytes_vec(content);
        section.tensors.push(Tensor::new(format!("w{number:03}"), DType::U8, [bytes], None, content));
    }
    section
}

fn store(objects: &SimulatedStore) -> Store {
    Store::with_objects(&address(), objects.client(None, None), PART_BYTES).unwrap()
}

#[test]
fn the_model_of_a_large_checkpoint_is_read_in_few_requests_and_not_its_optimizer() {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(root.path()), SimulatedStore::new(1, FaultRates::default()));
    let path = run.checkpoint_dir().join("last/step=1.ckpt");
    let metadata = Metadata::new(Timestamp::constant(1_800_000_000, 0)).with_run_id("r1");
    // A megabyte in two tensors, and a half in 100 small ones.
    let mut model = section(2, MIB / 2);
    model.tensors.extend(section(100, 5000).tensors.into_iter().map(|mut tensor| {
        tensor.name = format!("small.{}", tensor.name);
        tensor
    }));
    let contents = Contents::default().with_section(Section::MODEL, model.clone());
    contents.with_section(Section::OPTIMIZER, section(4, 2 * MIB)).save(&path, metadata).unwrap();
    let mut mirror = RunMirror::open(&store(&objects), "r1", &writer(&objects, "w", 1)).unwrap();
    mirror.send(&run, &path, &|_| Ok(())).unwrap();

    let (requests, bytes) = (objects.history().len(), objects.bytes_read());
    let checkpoint = Checkpoint::open_in(&store(&objects), "r1", "last/step=1.ckpt").unwrap();
    let loaded = checkpoint.verified_section(Section::MODEL).unwrap();
    assert_eq!(loaded.tensors.len(), model.tensors.len());
    for saved in &model.tensors {
        let loaded = loaded.tensors.iter().find(|loaded| loaded.name == saved.name).unwrap();
        assert_eq!(loaded.to_bytes().unwrap(), saved.to_bytes().unwrap(), "{}", saved.name);
    }
    let (requests, bytes) = (objects.history().len() - requests, objects.bytes_read() - bytes);
    let size = std::fs::metadata(&path).unwrap().len();
    // The commit object, the header, the ending; two tensors; the small ones in blocks of 256 KiB.
    assert!(requests <= 9, "{requests} requests: {:?}", objects.history());
    assert!(bytes < 3 * MIB as u64 && size > 9 * MIB as u64, "{bytes} bytes of {size}");
    assert_eq!(checkpoint.metadata().unwrap().run_id, "r1");
    checkpoint.verify().unwrap();
}

#[test]
fn a_checkpoint_of_several_files_and_the_names_of_a_run_are_opened_in_a_mirror_too() {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(root.path()), SimulatedStore::new(1, FaultRates::default()));
    let path = save(&run, "last/step=1.ckpt", 1, Timestamp::constant(1_800_000_000, 0), 1, true);
    let mut mirror = RunMirror::open(&store(&objects), "r1", &writer(&objects, "w", 1)).unwrap();
    mirror.send(&run, &path, &|_| Ok(())).unwrap();
    let on_disk = Checkpoint::open(&path).unwrap();
    for name in ["last", "last/step=1.ckpt"] {
        let checkpoint = Checkpoint::open_in(&store(&objects), "r1", name).unwrap();
        assert_eq!(checkpoint.verify().unwrap(), on_disk.metadata().unwrap());
    }
    let error = Checkpoint::open_in(&store(&objects), "r1", "best").unwrap_err();
    assert!(matches!(&error, Error::NotFound { hint, .. } if hint.contains("last/step=1.ckpt")), "{error:?}");
}
