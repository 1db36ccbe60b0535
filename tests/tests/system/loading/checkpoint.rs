//! What a load reads of the file, and that it needs the file no more when it is done. The model is large
//! enough for tensors to be read on threads.

use std::fs::File;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device};
use burn_ckpt::{
    Checkpoint, CheckpointLoader, Contents, Error, FromCheckpoint, LoadOptions, Loaded, Metadata, Section,
};
use jiff::Timestamp;
use system_tests::backend;
use system_tests::bytes_read::bytes_read_by_process;
use system_tests::models::inference_net::{NetConfig, bytes};
use system_tests::programs::test_alone::run_alone;
use system_tests::run_files::metadata_path;

const LAYER_BYTES: u64 = 4 * 512 * 512;
/// Set for a process that loads what is there and counts.
const COUNTED: &str = "SYSTEM_TESTS_COUNTED";

/// A model of two stacks of layers; the upper one comes first, and its name last.
#[derive(Module, Debug)]
struct Stacks {
    upper: Vec<Linear>,
    lower: Vec<Linear>,
}

impl FromCheckpoint for Stacks {
    type Hparams = NetConfig;

    fn from_hparams(hparams: &NetConfig, device: &Device) -> Self {
        Self { upper: layers(4, hparams.width, device), lower: layers(4, hparams.width, device) }
    }
}

/// The same model without its lower stack, and with another layer on top.
#[derive(Module, Debug)]
struct Upper {
    layers: Vec<Linear>,
    head: Linear,
}

impl FromCheckpoint for Upper {
    type Hparams = NetConfig;

    fn from_hparams(hparams: &NetConfig, device: &Device) -> Self {
        let head = LinearConfig::new(hparams.width, 3).with_bias(false).init(device);
        Self { layers: layers(3, hparams.width, device), head }
    }
}

fn layers(count: usize, width: usize, device: &Device) -> Vec<Linear> {
    (0..count).map(|_| LinearConfig::new(width, width).with_bias(false).init(device)).collect()
}

/// A checkpoint of the model, and of an optimizer that is twice as large.
fn save(directory: &Path) -> (PathBuf, Stacks) {
    save_of(directory, 512)
}

fn save_of(directory: &Path, width: usize) -> (PathBuf, Stacks) {
    let (path, config) = (directory.join("stacks.ckpt"), NetConfig::new(width));
    let model = Stacks::from_hparams(&config, &backend::device());
    let optimizer = Section::from_module(&layers(16, width, &backend::device()));
    let contents = Contents::new(&config).unwrap().with_section(Section::MODEL, Section::from_module(&model));
    let contents = contents.with_section(Section::OPTIMIZER, optimizer);
    contents.save(&path, Metadata::new(Timestamp::now())).unwrap();
    (path, model)
}

fn load<M: FromCheckpoint>(loader: CheckpointLoader<'_, M>) -> Result<Loaded<M>, Error> {
    loader.load(&backend::device())
}

/// The upper layers, of which the last becomes one of another shape.
fn upper(path: &Path) -> CheckpointLoader<'_, Upper> {
    let loader = Upper::loader(path).remap_keys("^upper\\.3\\.", "head.").remap_keys("^upper\\.", "layers.");
    loader.allow_unused(true).allow_mismatched(true)
}

/// Checks that a load reads a number of layers, and beside them no more than header and metadata.
fn reads<T>(layers: u64, load: impl FnOnce() -> Result<T, Error>) -> T {
    let before = bytes_read_by_process();
    let loaded = load().unwrap();
    let read = bytes_read_by_process() - before;
    let wanted = layers * LAYER_BYTES;
    assert!((wanted..wanted + LAYER_BYTES / 10).contains(&read), "{read} bytes of {layers} layers");
    loaded
}

/// What the kernel says of this process's memory, in bytes.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    1024 * line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
}

/// Runs one test of this file in a process of its own, with the checkpoint: other tests would read in this
/// process too.
fn alone(test: &str, path: &Path) {
    run_alone(module_path!(), test, COUNTED, path);
}

#[test]
fn a_load_reads_what_it_takes_and_nothing_of_an_optimizer_that_is_twice_as_large() {
    if let Some(path) = std::env::var_os(COUNTED) {
        let path = PathBuf::from(path);
        reads(8, || Stacks::from_checkpoint(&path, &backend::device()));
        reads(8, || load(Stacks::loader(&path).verify(false)));
        reads(3, || load(upper(&path)));
        reads(3, || load(upper(&path).verify(false)));
        reads(0, || Stacks::hparams_from_checkpoint(&path));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = save(directory.path());
    alone("a_load_reads_what_it_takes_and_nothing_of_an_optimizer_that_is_twice_as_large", &path);
}

#[test]
fn a_load_needs_the_memory_of_the_model_once() {
    if let Some(path) = std::env::var_os(COUNTED) {
        // Pages of the program's own code count as memory too, and which ones are read depends on how it was
        // linked.
        let (before, code) = (memory("VmRSS:"), memory("RssFile:"));
        let model = Stacks::from_checkpoint(&path, &backend::device()).unwrap();
        let needed = memory("VmHWM:") - before - (memory("RssFile:") - code);
        assert!(model.upper.len() == 4 && (60..80).contains(&(needed >> 20)), "{needed} bytes for 64 MB");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = save_of(directory.path(), 1448);
    alone("a_load_needs_the_memory_of_the_model_once", &path);
}

#[test]
fn every_tensor_gets_its_own_values_whole_in_part_and_cast() {
    let directory = tempfile::tempdir().unwrap();
    let (path, model) = save(directory.path());
    assert_eq!(bytes(&Stacks::from_checkpoint(&path, &backend::device()).unwrap()), bytes(&model));
    let Loaded { model: part, report, .. } = load(upper(&path)).unwrap();
    assert_eq!(bytes(&part.layers), bytes(&model.upper[..3].to_vec()));
    assert_eq!((report.loaded.len(), report.unused.len(), report.mismatched.len()), (3, 4, 1));
    let half = load(Stacks::loader(&path).float_dtype(DType::F16)).unwrap().model;
    for (half, layer) in half.lower.iter().zip(&model.lower) {
        let expected = layer.weight.val().into_data().convert_dtype(DType::F16);
        assert_eq!(half.weight.val().into_data(), expected);
    }
}

#[test]
fn a_model_that_was_loaded_needs_its_file_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let (path, model) = save(directory.path());
    for verify in [true, false] {
        let loaded = load(Stacks::loader(&path).verify(verify)).unwrap().model;
        let aside = directory.path().join("aside");
        std::fs::rename(&path, &aside).unwrap();
        assert_eq!(bytes(&loaded), bytes(&model));
        std::fs::rename(&aside, &path).unwrap();
    }
}

#[test]
fn of_two_damaged_tensors_the_models_first_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (path, model) = save(directory.path());
    let mut file = std::fs::read(&path).unwrap();
    for layer in [&model.upper[2], &model.lower[0]] {
        let weight = layer.weight.val().into_data();
        // The first few values find it, and the damage is at its end.
        let place = file.windows(16).position(|window| window == &weight.as_bytes()[..16]).unwrap();
        file[place + LAYER_BYTES as usize - 1] ^= 1;
    }
    std::fs::write(&path, file).unwrap();
    for _ in 0..20 {
        let error = Stacks::from_checkpoint(&path, &backend::device()).unwrap_err();
        assert!(matches!(error, Error::Checksum { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("model.upper.2.weight") && text.contains("stacks.ckpt"), "{text}");
    }
}

#[test]
fn a_file_that_is_cut_while_it_is_read_is_an_error_that_names_the_tensor() {
    for verify in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let (path, _) = save(directory.path());
        let hparams = Stacks::hparams_from_checkpoint(&path).unwrap();
        let mut model = Stacks::from_hparams(&hparams, &backend::device());
        // What a parameter does to its values when it is loaded is tried out after the header is read and
        // before any tensor is.
        let (cut, first) = (path.clone(), model.upper.remove(0));
        let weight = first.weight.load_mapper(move |values| {
            // The model is in front, and before it the header.
            File::options().write(true).open(&cut).unwrap().set_len(6 * LAYER_BYTES).unwrap();
            values
        });
        model.upper.insert(0, Linear { weight, ..first });
        let options = LoadOptions::new().with_verify(verify);
        let error = Checkpoint::open(&path).unwrap().load_into_with(model, &options).unwrap_err();
        assert!(matches!(error, Error::Load { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("the tensor model.lower.1.weight cannot be read") && text.contains("stacks.ckpt"),
            "{text}"
        );
    }
}

#[test]
fn a_file_that_was_written_over_since_it_was_opened_is_an_error() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, model) = save(directory.path());
    let checkpoint = Checkpoint::open(&path).unwrap();
    // Without an optimizer the tensors are at other places.
    let other = Stacks::from_hparams(&NetConfig::new(512), &backend::device());
    let contents = Contents::new(&NetConfig::new(512)).unwrap();
    let replacement = elsewhere.path().join("stacks.ckpt");
    let contents = contents.with_section(Section::MODEL, Section::from_module(&other));
    contents.save(&replacement, Metadata::new(Timestamp::now())).unwrap();
    std::fs::copy(metadata_path(&replacement), metadata_path(&path)).unwrap();
    std::fs::copy(&replacement, &path).unwrap();
    // The other one is shorter: the end of what was opened is not there any more.
    let error = checkpoint.load_into(model).unwrap_err();
    assert!(matches!(error, Error::Io { action: "read", .. }), "{error:?}");
}
