//! Loading verifies what it reads, by the tensors' own digests, and reads nothing else.

use std::path::Path;

use burn_ckpt::{Checkpoint, Error, FromCheckpoint};
use system_tests::backend;
use system_tests::models::inference_net::{Net, NetConfig, save};
use system_tests::models::small::Model;
use system_tests::run_files::{checkpoints, metadata_path};
use system_tests::{config, train};

fn change(path: &Path, place: impl FnOnce(&[u8]) -> usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let place = place(&bytes);
    bytes[place] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
}

#[test]
fn a_flipped_bit_of_a_weight_is_an_error_that_names_the_tensor() {
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig::new(8);
    let trained = Net::trained(&config);
    let path = save(directory.path(), &trained, &config);
    let weight = trained.output.weight.val().into_data();
    change(&path, |bytes| find(bytes, weight.as_bytes()) + 5);

    let error = Net::from_checkpoint(&path, &backend::device()).unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error:?}");
    assert!(error.to_string().contains("model.output.weight"), "{error}");
    let loaded = Net::loader(&path).verify(false).load(&backend::device()).unwrap();
    assert!(!loaded.report.verified);
    assert!(!loaded.model.equals(&trained), "the damage is in the model that was not verified");
}

#[test]
fn damage_outside_the_model_does_not_keep_it_from_loading() {
    let root = tempfile::tempdir().unwrap();
    let trained = train(config(root.path(), 1)).unwrap();
    let path = checkpoints(root.path()).join("last/epoch=0-step=10.ckpt");
    let optimizer = Checkpoint::open(&path).unwrap().section("optimizer").unwrap();
    let moment = optimizer.tensors.into_iter().find(|tensor| tensor.name.contains("weight")).unwrap();
    let moment = moment.to_bytes().unwrap().to_vec();
    change(&path, |bytes| find(bytes, &moment) + 1);

    assert!(matches!(Checkpoint::open(&path).unwrap().verify(), Err(Error::Checksum { .. })));
    let model = Model::from_checkpoint(&path, &backend::device()).unwrap();
    assert_eq!(
        system_tests::models::inference_net::bytes(&model),
        system_tests::models::inference_net::bytes(&trained.model)
    );
}

#[test]
fn changed_hyperparameters_are_damage_too() {
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig::new(8).with_dropout(0.25);
    let path = save(directory.path(), &Net::trained(&config), &config);
    // 0.25 becomes 0.35 in the header, where no tensor's digest sees it.
    let mut bytes = std::fs::read(&path).unwrap();
    let place = find(&bytes, b"0.25");
    bytes[place + 2] = b'3';
    std::fs::write(&path, bytes).unwrap();
    let error = Net::from_checkpoint(&path, &backend::device()).unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error:?}");
    assert!(error.to_string().contains("0.25") && error.to_string().contains("0.35"), "{error}");
}

#[test]
fn without_the_file_beside_it_a_checkpoint_is_verified_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig::new(8);
    let trained = Net::trained(&config);
    let path = save(directory.path(), &trained, &config);
    std::fs::remove_file(metadata_path(&path)).unwrap();
    assert!(Net::from_checkpoint(&path, &backend::device()).unwrap().equals(&trained));
    let mut bytes = std::fs::read(&path).unwrap();
    let place = find(&bytes, trained.hidden.weight.val().into_data().bytes());
    bytes[place] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = Net::from_checkpoint(&path, &backend::device()).unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error:?}");
    bytes[place] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let loaded = Net::loader(&path).verify(false).load(&backend::device()).unwrap();
    assert!(loaded.model.equals(&trained));
    assert_eq!(Net::hparams_from_checkpoint(&path).unwrap(), config);
}

#[test]
fn metadata_of_another_checkpoint_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a"), directory.path().join("b"));
    let config = NetConfig::new(8);
    let trained = Net::trained(&config);
    let path = save(&a, &trained, &config);
    let other = Net { hidden: trained.hidden.clone(), ..Net::from_hparams(&config, &backend::device()) };
    let other = save(&b, &other, &config);
    std::fs::copy(metadata_path(&other), metadata_path(&path)).unwrap();
    assert!(Net::from_checkpoint(&path, &backend::device()).unwrap().equals(&trained));
}
