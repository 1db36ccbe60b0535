//! A checkpoint whose tensors have several float types, for a model that has one: burn would panic where two
//! types meet in the forward pass. Loading it is an error that names what is odd and what to do.

use std::path::Path;

use burn::module::{Module, Param, ParamId};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::{DType, Device, FloatDType, Int, Tensor};
use burn_ckpt::burn_pack;
use burn_ckpt::{Checkpoint, Error, FromCheckpoint, LoadOptions, Section};
use ciborium::Value;
use serde_json::json;
use system_tests::backend;
use system_tests::forged_checkpoint::{Parts, entry};
use system_tests::hand_made_files::save_as_model;
use system_tests::models::inference_net::{INPUTS, Net, NetConfig, bytes, save};

/// The model computes a forward pass.
fn predicts(net: &Net, dtype: FloatDType) {
    let inputs = Tensor::<2>::ones([2, INPUTS], &backend::device()).cast(dtype);
    let hidden = net.norm.forward(net.hidden.forward(inputs));
    assert_eq!(net.output.forward(hidden).dims(), [2, 1]);
}

/// Gives tensors another float type of two bytes in the file, with digests computed again.
fn forge(path: &Path, names: &[&str], dtype: &str) {
    let metadata = serde_json::to_value(Checkpoint::open(path).unwrap().metadata().unwrap()).unwrap();
    let mut parts = Parts::read(path);
    for (name, tensor) in parts.map("tensors") {
        if !names.contains(&name.as_text().unwrap()) {
            continue;
        }
        let range: (u64, u64) = entry(tensor, "data_offsets").deserialized().unwrap();
        *entry(tensor, "data_offsets") =
            Value::Array(vec![range.0.into(), (range.0 + (range.1 - range.0) / 2).into()]);
        *entry(tensor, "dtype") = Value::Text(dtype.to_owned());
    }
    parts.write(path, metadata);
}

#[test]
fn a_tensor_of_another_float_type_than_the_rest_is_an_error_that_names_it_and_the_choice() {
    let config = NetConfig::new(8);
    for dtype in ["BF16", "F16"] {
        for odd in [&["model.norm.gamma"][..], &["model.hidden.weight", "model.norm.running_var"]] {
            let directory = tempfile::tempdir().unwrap();
            let path = save(directory.path(), &Net::trained(&config), &config);
            forge(&path, odd, dtype);
            let error = Net::from_checkpoint(&path, &backend::device()).unwrap_err();
            let Error::Mismatch { reason, .. } = &error else { panic!("{error:?}") };
            for name in odd {
                let named = format!("{} is {}", &name["model.".len()..], dtype.to_lowercase());
                assert!(reason.contains(&named), "{named}: {reason}");
            }
            assert!(reason.contains("float_dtype") && reason.contains("are f32"), "{reason}");
            // Into a module that exists, and without a verification, it is the same.
            let checkpoint = Checkpoint::open(&path).unwrap();
            let options = LoadOptions::new().with_verify(false);
            let again = checkpoint.load_into_with(Net::trained(&config), &options).map(drop).unwrap_err();
            assert!(matches!(again, Error::Mismatch { .. }), "{again:?}");
            // The choice that the error names.
            for (chosen, as_float) in [(DType::F32, FloatDType::F32), (DType::F16, FloatDType::F16)] {
                let loaded = Net::loader(&path).float_dtype(chosen).load(&backend::device()).unwrap();
                predicts(&loaded.model, as_float);
            }
        }
    }
}

/// An embedding that is stored with half the bytes, and a layer that is not.
#[derive(Module, Debug)]
struct Mixed {
    table: Embedding,
    layer: Linear,
}

impl Mixed {
    fn new(table: FloatDType, device: &Device) -> Self {
        let mut embedding = EmbeddingConfig::new(6, 4).init(device);
        embedding.weight = embedding.weight.map(|weight| weight.cast(table));
        Self { table: embedding, layer: LinearConfig::new(4, 2).init(device) }
    }

    fn predicts(&self) {
        let tokens = Tensor::<2, Int>::zeros([1, 3], &backend::device());
        let looked_up = self.table.forward(tokens).cast(FloatDType::F32);
        assert_eq!(self.layer.forward(looked_up).dims(), [1, 3, 2]);
    }
}

impl FromCheckpoint for Mixed {
    type Hparams = serde_json::Value;

    fn from_hparams(_: &serde_json::Value, device: &Device) -> Self {
        Self::new(FloatDType::BF16, device)
    }
}

#[test]
fn a_model_of_several_types_loads_a_checkpoint_that_has_them_in_the_same_places() {
    let directory = tempfile::tempdir().unwrap();
    let device = backend::device();
    let model = Mixed::new(FloatDType::BF16, &device);
    let path = save_as_model(directory.path(), "a.ckpt", &json!({}), Section::from_module(&model));
    let loaded = Mixed::from_checkpoint(&path, &device).unwrap();
    assert_eq!(bytes(&loaded), bytes(&model));
    loaded.predicts();
    // A program that builds it with one type is told.
    let checkpoint = Checkpoint::open(&path).unwrap();
    let error = checkpoint.load_into(Mixed::new(FloatDType::F32, &device)).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Mismatch { reason, .. } if reason.contains("is bf16")), "{error}");
    // Parameters that are of one type in the file fit both.
    let uniform = Mixed::new(FloatDType::F32, &device);
    let path = save_as_model(directory.path(), "b.ckpt", &json!({}), Section::from_module(&uniform));
    let loaded = Mixed::from_checkpoint(&path, &device).unwrap();
    assert_eq!(loaded.table.weight.val().dtype(), DType::F32);
}

#[test]
fn a_type_that_is_not_one_of_floats_is_an_error_and_not_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let device = backend::device();
    let layer: Linear = LinearConfig::new(4, 2).init(&device);
    let path = save_as_model(directory.path(), "a.ckpt", &json!({}), Section::from_module(&layer));
    let options = LoadOptions::new().with_float_dtype(DType::I32);
    let error = Checkpoint::open(&path).unwrap().load_into_with(layer, &options).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Name { what: "float_dtype", .. }), "{error:?}");
}

#[test]
fn tensors_that_are_left_out_do_not_count() {
    let directory = tempfile::tempdir().unwrap();
    let device = backend::device();
    let layer: Linear = LinearConfig::new(4, 2).init(&device);
    let mut section = Section::from_module(&layer);
    let bytes = burn_pack::Bytes::from_bytes_vec(vec![0; 8]);
    section.tensors.push(burn_pack::Tensor::new("other".to_owned(), DType::BF16, vec![4], None, bytes));
    let path = save_as_model(directory.path(), "a.ckpt", &json!({}), section);
    let options = LoadOptions::new().with_allow_unused(true);
    let fresh: Linear = LinearConfig::new(4, 2).init(&device);
    let (loaded, _) = Checkpoint::open(&path).unwrap().load_into_with(fresh, &options).unwrap();
    assert_eq!(loaded.weight.val().into_data(), layer.weight.val().into_data());
    // A parameter of whole numbers has no float type.
    #[derive(Module, Debug)]
    struct Counted {
        layer: Linear,
        count: Param<Tensor<1, Int>>,
    }
    let counted = || Counted {
        layer: LinearConfig::new(4, 2).init(&device),
        count: Param::initialized(ParamId::new(), Tensor::from_data([1], &device)),
    };
    let path = save_as_model(directory.path(), "b.ckpt", &json!({}), Section::from_module(&counted()));
    Checkpoint::open(&path).unwrap().load_into(counted()).unwrap();
}
