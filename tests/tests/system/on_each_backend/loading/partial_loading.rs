//! Loading what fits: strictly, in part, under other names, as another type, with a report of all that did
//! not fit.

use burn::module::{Module, Param, ParamId};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, Int, Tensor};
use burn_ckpt::{Checkpoint, Contents, Error, FromCheckpoint, LoadOptions, Metadata, Section};
use jiff::Timestamp;
use system_tests::backend;
use system_tests::models::inference_net::{INPUTS, Net, NetConfig, bytes, save};
use system_tests::run_files::last_tensor_byte;

/// Another network with the same hidden layer, for fine-tuning.
#[derive(Module, Debug)]
struct Tuned {
    encoder: Linear,
    head: Linear,
}

impl FromCheckpoint for Tuned {
    type Hparams = NetConfig;

    fn from_hparams(hparams: &NetConfig, device: &Device) -> Self {
        Self {
            encoder: LinearConfig::new(INPUTS, hparams.width).init(device),
            head: LinearConfig::new(hparams.width, 3).init(device),
        }
    }
}

fn shapes(tensors: &[(String, Vec<usize>)]) -> Vec<(&str, &[usize])> {
    tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect()
}

#[test]
fn a_part_of_another_model_is_loaded_and_the_rest_keeps_its_values() {
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig::new(8);
    let trained = Net::trained(&config);
    let path = save(directory.path(), &trained, &config);
    let loader = || Tuned::loader(&path).remap_keys("^hidden\\.", "encoder.").remap_keys("^output", "head");

    let loaded = loader()
        .allow_partial(true)
        .allow_unused(true)
        .allow_mismatched(true)
        .load(&backend::device())
        .unwrap();
    assert_eq!(loaded.report.loaded, ["encoder.weight", "encoder.bias"]);
    assert!(loaded.report.missing.is_empty());
    let unused = shapes(&loaded.report.unused);
    assert_eq!(unused[0], ("norm.beta", &[8][..]));
    assert_eq!(unused.len(), 4, "{unused:?}");
    let misfits: Vec<_> = loaded.report.mismatched.iter().map(|misfit| misfit.name.as_str()).collect();
    assert_eq!(misfits, ["head.weight", "head.bias"]);
    assert!(!loaded.report.is_complete());
    let text = loaded.report.to_string();
    for line in [
        "loaded 2 (verified), missing 0, unused 4, mismatched 2",
        "head.weight is [8, 1] in the checkpoint and [8, 3] in the model",
        "norm.gamma [8] is in the checkpoint and not in the model",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    assert_eq!(loaded.model.encoder.weight.val().into_data(), trained.hidden.weight.val().into_data());
    assert_eq!(loaded.model.head.weight.val().dims(), [8, 3]);

    // Each permission is for one thing alone.
    let mismatched = loader().allow_partial(true).allow_unused(true).load(&backend::device()).unwrap_err();
    assert!(mismatched.to_string().contains("head.weight is [8, 1]"), "{mismatched}");
    let unused = loader().allow_partial(true).allow_mismatched(true).load(&backend::device()).unwrap_err();
    assert!(unused.to_string().contains("norm.gamma [8] is in the checkpoint and not"), "{unused}");
    let unnamed = Tuned::loader(&path).allow_unused(true).load(&backend::device()).unwrap_err().to_string();
    assert!(unnamed.contains("encoder.weight [4, 8] is missing in the checkpoint"), "{unnamed}");
    assert!(unnamed.contains("head.bias [3] is missing in the checkpoint"), "{unnamed}");
}

#[test]
fn what_does_not_fit_is_found_before_a_tensor_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig::new(8);
    let path = save(directory.path(), &Net::trained(&config), &config);
    // With the tensors' bytes gone, reading one is another error.
    let mut damaged = std::fs::read(&path).unwrap();
    let header = 10 + u32::from_le_bytes(damaged[6..10].try_into().unwrap()) as usize;
    let end = last_tensor_byte(&damaged);
    damaged[header.next_multiple_of(256)..=end].fill(0xFF);
    std::fs::write(&path, damaged).unwrap();
    assert!(matches!(Net::from_checkpoint(&path, &backend::device()), Err(Error::Checksum { .. })));
    assert!(matches!(Tuned::from_checkpoint(&path, &backend::device()), Err(Error::Mismatch { .. })));
}

#[test]
fn floats_are_cast_when_asked_and_stay_as_stored_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig::new(8);
    let trained = Net::trained(&config);
    let path = save(directory.path(), &trained, &config);
    let device = backend::device();
    let half = Net::loader(&path).float_dtype(DType::F16).load(&device).unwrap().model;
    assert_eq!(half.hidden.weight.val().dtype(), DType::F16);
    assert_eq!(half.norm.running_mean.value().dtype(), DType::F16);
    let expected = trained.hidden.weight.val().into_data().convert_dtype(DType::F16);
    assert_eq!(half.hidden.weight.val().into_data(), expected);

    // The cast model, saved, loads as what it is, and as what is asked for.
    let half_path = save(&directory.path().join("half"), &half, &config);
    let as_stored = Net::from_checkpoint(&half_path, &device).unwrap();
    assert_eq!(as_stored.hidden.weight.val().dtype(), DType::F16);
    let back = Net::loader(&half_path).float_dtype(DType::F32).load(&device).unwrap().model;
    assert_eq!(back.hidden.weight.val().into_data(), expected.convert_dtype(DType::F32));
    let wrong = Net::loader(&path).float_dtype(DType::I32).load(&device).unwrap_err();
    assert!(matches!(wrong, Error::Name { .. }), "{wrong:?}");
}

#[test]
fn a_tensor_of_another_kind_does_not_fit() {
    #[derive(Module, Debug)]
    struct Counts {
        weight: Param<Tensor<1, Int>>,
    }
    #[derive(Module, Debug)]
    struct Weights {
        weight: Param<Tensor<1>>,
    }
    let device = backend::device();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("counts.ckpt");
    let counts = Counts { weight: Param::initialized(ParamId::new(), Tensor::from_ints([1, 2], &device)) };
    let contents = Contents::new(&()).unwrap().with_section(Section::MODEL, Section::from_module(&counts));
    contents.save(&path, Metadata::new(Timestamp::now())).unwrap();

    let weights = || Weights { weight: Param::from_data([0.5, 0.25], &device) };
    let checkpoint = Checkpoint::open(&path).unwrap();
    let error = checkpoint.load_into(weights()).unwrap_err().to_string();
    assert!(error.contains("weight is i32 in the checkpoint and f32 in the model"), "{error}");
    assert_eq!(checkpoint.check_fits(&weights()).unwrap_err().to_string(), error);
    let options = LoadOptions::new().with_allow_mismatched(true);
    let (kept, report) = checkpoint.load_into_with(weights(), &options).unwrap();
    assert_eq!(kept.weight.val().into_data(), weights().weight.val().into_data());
    assert_eq!(report.mismatched.len(), 1);
}

#[test]
fn two_tensors_that_get_one_name_are_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig::new(8);
    let path = save(directory.path(), &Net::trained(&config), &config);
    let error = Net::loader(&path).remap_keys("^(hidden|output)\\.", "layer.").load(&backend::device());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("another tensor the name layer.bias"), "{error}");
    let error = Net::loader(&path).remap_keys("(", "").load(&backend::device()).unwrap_err();
    assert!(matches!(error, Error::Name { .. }), "{error:?}");
}

#[test]
fn a_module_without_hyperparameters_loads_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig::new(8);
    let trained = Net::trained(&config);
    let path = save(directory.path(), &trained, &config);
    let remapper = burn::store::KeyRemapper::new().add_pattern("^hidden\\.", "").unwrap();
    let options = LoadOptions::new().with_allow_unused(true).with_remapper(remapper);
    let layer = LinearConfig::new(INPUTS, 8).init(&backend::device());
    let (layer, report) = Checkpoint::open(&path).unwrap().load_into_with(layer, &options).unwrap();
    assert_eq!(bytes(&layer), bytes(&trained.hidden));
    assert_eq!(report.unused.len(), 6);
}
