//! One `.ckpt` file without the rest of its run is enough to resume, and a run goes with its metadata files
//! lost.

use std::fs;
use std::path::Path;

use system_tests::run_files::{checkpoints, last_metadata, run_dir};
use system_tests::{config, train};

#[test]
fn a_file_copied_alone_resumes_to_the_state_of_an_undisturbed_run() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, first, copied] = ["whole", "first", "copied"].map(|name| directory.path().join(name));
    train(config(&whole, 2)).unwrap();
    train(config(&first, 1)).unwrap();
    let lone = directory.path().join("lone.ckpt");
    fs::copy(checkpoints(&first).join("last/epoch=0-step=10.ckpt"), &lone).unwrap();
    let result = train(config(&copied, 2).with_ckpt_path(lone.to_str().unwrap())).unwrap();
    assert_eq!(result.global_step, 20);
    let (expected, found) = (last_metadata(&whole), last_metadata(&copied));
    assert_eq!(found.tensors, expected.tensors, "the digests of every tensor");
    assert_eq!(format!("{:?}", found.metrics), format!("{:?}", expected.metrics));
}

#[test]
fn a_run_without_its_metadata_files_resumes_with_all_its_checkpoints() {
    for wanted in ["auto", "last", "best"] {
        let directory = tempfile::tempdir().unwrap();
        let [whole, stripped] = ["whole", "stripped"].map(|name| directory.path().join(name));
        train(config(&whole, 2)).unwrap();
        train(config(&stripped, 1)).unwrap();
        for name in ["best/epoch=0-step=10.ckpt", "last/epoch=0-step=10.ckpt"] {
            fs::remove_file(format!("{}.metadata.json", checkpoints(&stripped).join(name).display()))
                .unwrap();
        }
        train(config(&stripped, 2).with_ckpt_path(wanted)).unwrap();
        assert_eq!(last_metadata(&stripped).tensors, last_metadata(&whole).tensors, "{wanted}");
        let stems = |root: &Path| {
            let catalog = burn_ckpt::Catalog::scan(&burn_ckpt::RunLayout::at(run_dir(root))).unwrap();
            assert!(catalog.broken.is_empty(), "{:?}", catalog.broken);
            let of = |path: &Path| path.strip_prefix(checkpoints(root)).unwrap().to_owned();
            let mut paths: Vec<_> = catalog.entries.iter().map(|entry| of(&entry.path)).collect();
            paths.sort();
            paths
        };
        assert_eq!(stems(&stripped), stems(&whole), "{wanted}");
    }
}
