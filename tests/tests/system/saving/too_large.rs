//! A model whose checkpoints nothing could read is an error before it is trained.

use burn_ckpt::ErrorKind;
use burn_ckpt::plumbing::Limits;
use burn_trainer::Error;
use system_tests::config;
use system_tests::models::small::train_within;
use system_tests::run_files::run_dir;

#[test]
fn weights_that_exceed_a_limit_are_an_error_before_the_first_step_and_leave_nothing() {
    for limits in [
        Limits { section_tensors: 3, ..Limits::READER },
        Limits { state_tensors: 3, ..Limits::READER },
        Limits { tensor_bytes: 20, ..Limits::READER },
    ] {
        let root = tempfile::tempdir().unwrap();
        let error = train_within(config(root.path(), 1), limits).err().unwrap();
        assert!(
            matches!(&error, Error::Checkpoint(source) if source.kind() == ErrorKind::TooLarge),
            "{error:?}"
        );
        assert!(error.to_string().contains("a reader accepts"), "{error}");
        assert!(!std::fs::exists(run_dir(root.path())).unwrap());
        // Without checkpoints there is nothing to read.
        train_within(config(root.path(), 1).with_checkpoint_saving(false), limits).unwrap();
    }
}
