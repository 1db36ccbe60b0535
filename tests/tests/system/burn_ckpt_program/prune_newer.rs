//! `burn-ckpt prune` beside checkpoints of a newer version.

use std::fs;

use system_tests::run_files::checkpoints;

use super::prune::{cut, left, prune, run};

#[test]
fn a_checkpoint_of_a_newer_version_is_not_damaged_and_stays() {
    let root = run();
    let newer = checkpoints(root.path()).join("last/epoch=2-step=30.ckpt");
    fs::remove_file(newer.with_added_extension("metadata.json")).unwrap();
    let writer = burn_ckpt::burn_pack::Writer::new(Vec::new()).auto_extension(false);
    writer.with_metadata("burn-ckpt.format", "7").write_to_file(&newer).unwrap();
    cut(&checkpoints(root.path()).join("last/epoch=0-step=10.ckpt"));
    for (arguments, expected) in [("--broken", &[1, 2, 3, 4, 5][..]), ("--broken --keep last=1", &[1, 2, 5])]
    {
        let (out, err) = prune(root.path(), arguments, 0);
        assert!(!out.contains("epoch=2-step=30"), "{out}");
        assert!(err.contains("last/epoch=2-step=30.ckpt: cannot be read, kept: "), "{err}");
        assert_eq!(left(root.path()), expected, "{arguments}");
    }
}
