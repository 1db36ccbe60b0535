//! A new run of an id that the mirror has checkpoints of, and ids that it has none of.

use burn_trainer::Error;
use system_tests::train;

use super::{in_mirror, lose_disk, memory_store, mirrored};

#[test]
fn a_new_run_does_not_mix_with_one_in_the_mirror() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:new-run";
    let _store = memory_store(address);
    train(mirrored(root.path(), 1, address)).unwrap();
    let before = in_mirror(address);
    lose_disk(root.path());
    let error = train(mirrored(root.path(), 1, address).with_ckpt_path("none")).unwrap_err();
    assert!(matches!(&error, Error::RunExists { path, .. } if path.ends_with("r1")), "{error:?}");
    let overwriting = mirrored(root.path(), 1, address).with_ckpt_path("none").with_overwrite(true);
    let error = train(overwriting).unwrap_err();
    assert!(matches!(&error, Error::Config { setting, .. } if setting == "overwrite"), "{error:?}");
    assert_eq!(in_mirror(address), before);
    // The failed starts have given the lease back, and another id is free.
    train(mirrored(root.path(), 1, address).with_run_id("r2").with_ckpt_path("none")).unwrap();
    train(mirrored(root.path(), 2, address)).unwrap();
}
