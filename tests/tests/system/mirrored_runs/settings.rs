//! Settings that cannot be used, and loops that have no mirror.

use burn::train::{ExecutionStrategy, TrainingStrategy};
use burn_trainer::Error;
use burn_trainer::config::MirrorConfig;
use burn_trainer::strategy::Last;
use system_tests::train;

#[test]
fn a_wrong_setting_is_an_error_before_the_first_step_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    let config = |mirror: MirrorConfig| system_tests::config(root.path(), 1).with_mirror(mirror);
    for (mirror, expected) in [
        (MirrorConfig::new("s3:/b"), "mirror.address"),
        (MirrorConfig::new("file:///d").with_keep_best(0), "mirror.keep_best"),
        (MirrorConfig::new("file:///d").with_lease_timeout_seconds(0), "mirror.lease_timeout_seconds"),
    ] {
        let error = train(config(mirror)).unwrap_err();
        assert!(matches!(&error, Error::Config { setting, .. } if setting == expected), "{error:?}");
    }
    assert!(!system_tests::run_files::run_dir(root.path()).exists());
}

#[test]
fn a_directory_that_no_mirror_can_have_is_an_error_before_the_first_step_of_a_run_with_one() {
    let root = tempfile::tempdir().unwrap();
    for dirpath in ["ckpts:v2", "a.", &vec!["d"; 15].join("/")] {
        let config = system_tests::config(root.path(), 1).with_last(Last::new().with_dirpath(dirpath));
        let error = train(config.clone().with_mirror("memory:directories")).unwrap_err();
        assert!(
            matches!(&error, Error::Config { setting, reason } if setting == "last.dirpath"
                && reason.contains("the mirror cannot have checkpoints in") && reason.contains(dirpath)),
            "{error:?}"
        );
        assert!(!system_tests::run_files::run_dir(root.path()).exists());
    }
    // Without a mirror, the disk alone has it.
    let last = Last::new().with_dirpath("ckpts:v2");
    train(system_tests::config(root.path(), 1).with_last(last)).unwrap();
}

#[test]
fn another_loop_than_the_trainers_has_no_mirror_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let config = system_tests::config(root.path(), 1).with_mirror("memory:other-loop");
    let strategy =
        TrainingStrategy::Default(ExecutionStrategy::SingleDevice(system_tests::backend::device()));
    let error = system_tests::models::small::train_with_strategy(config, strategy).unwrap_err();
    assert!(matches!(&error, Error::Config { setting, .. } if setting == "mirror"), "{error:?}");
}
