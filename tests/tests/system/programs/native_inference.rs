//! A native program that loads a checkpoint computes what the training program computed, to the last bit.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::data::dataset::Dataset;
use burn_ckpt::{Checkpoint, Contents, Metadata, Section};
use digits::{CLASSES, Data, DigitsConfig, LabelledImage};
use image::imageops::{self, FilterType};
use image::{GrayImage, Rgb, RgbImage};
use jiff::Timestamp;
use serde_json::Value;
use system_tests::programs::commands::{build, ended_with, stderr, stdout, train_example, workspace};
use system_tests::run_files::{checkpoints, copy_checkpoint, metadata, run_dir};

/// Enough for several batches, and one that is not full.
const LOOKED_AT: usize = 45;

/// The digits that `examples/native-inference/images` has as the data has them, and the one that is drawn
/// larger.
const SAMPLES: [i64; 4] = [0, 3, 4, 7];
const DARK_SAMPLE: i64 = 6;
const DARK_SAMPLE_FILE: &str = "dark-on-white.png";

/// The programs as they are now.
fn program(name: &str) -> Command {
    Command::new(build(&["native-inference", "warmup"]).join(name))
}

fn classify(checkpoint: &Path, images: &[PathBuf], flags: &[&str]) -> Output {
    program("native-inference").arg(checkpoint).args(images).args(flags).output().unwrap()
}

/// An epoch of training, and what its `--predictions` wrote: labels, and probabilities as text.
fn train(root: &Path, flags: &[&str]) -> Vec<(i64, Vec<String>)> {
    let arguments = ["--run-id", "r1", "--epochs", "1", "--predictions", "p.csv"];
    stdout(&train_example(root, &[&arguments, flags].concat()));
    predictions(&root.join("p.csv"))
}

fn predictions(file: &Path) -> Vec<(i64, Vec<String>)> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("label,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9"));
    let line = |line: &str| {
        let mut fields = line.split(',').map(str::to_owned);
        (fields.next().unwrap().parse().unwrap(), fields.collect())
    };
    lines.map(line).collect()
}

fn validation_images() -> Vec<LabelledImage> {
    let (_, valid) = digits::load(Data::Digits).unwrap();
    valid.iter().map(Result::unwrap).collect()
}

/// The first validation images as files.
fn write_images(directory: &Path) -> Vec<PathBuf> {
    let write = |(number, item): (usize, LabelledImage)| {
        let path = directory.join(format!("{number}.png"));
        picture(&item).save(&path).unwrap();
        path
    };
    validation_images().into_iter().take(LOOKED_AT).enumerate().map(write).collect()
}

fn picture(item: &LabelledImage) -> GrayImage {
    GrayImage::from_raw(8, 8, item.image.to_grey()).unwrap()
}

/// What the program printed for people, by image: file, class and probabilities.
fn printed(text: &str) -> Vec<(String, i64, Vec<String>)> {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .chunks(1 + CLASSES)
        .map(|lines| {
            let (file, class) = lines[0].rsplit_once(": ").unwrap();
            let probability = |(digit, line): (usize, &&str)| {
                line.strip_prefix(&format!("  {digit}  ")).unwrap_or_else(|| panic!("{line:?}")).to_owned()
            };
            (
                file.to_owned(),
                class.parse().unwrap(),
                lines[1..].iter().enumerate().map(probability).collect(),
            )
        })
        .collect()
}

fn largest(probabilities: &[String]) -> i64 {
    let numbers: Vec<f32> = probabilities.iter().map(|number| number.parse().unwrap()).collect();
    let largest = numbers.iter().copied().fold(f32::MIN, f32::max);
    numbers.iter().position(|number| *number == largest).unwrap() as i64
}

#[test]
fn its_probabilities_are_those_of_validation_to_the_last_bit() {
    let root = tempfile::tempdir().unwrap();
    let expected = train(root.path(), &[]);
    let images = write_images(root.path());
    let run = run_dir(root.path());
    let all = printed(&stdout(&classify(&run.join("last"), &images, &[])));
    assert_eq!(all.len(), LOOKED_AT);
    for (((file, class, probabilities), path), (_, validation)) in all.iter().zip(&images).zip(&expected) {
        assert_eq!(Path::new(file), path);
        assert_eq!(probabilities, validation, "{file}");
        assert_eq!(*class, largest(validation), "{file}");
        let alone = stdout(&classify(&run.join("last"), std::slice::from_ref(path), &[]));
        assert_eq!(printed(&alone), [(file.clone(), *class, probabilities.clone())]);
    }
    // After one epoch the best is the last.
    let file = std::fs::canonicalize(run.join("checkpoint/last.ckpt")).unwrap();
    for checkpoint in [run.join("best"), run.join("checkpoint/best_val_loss.ckpt"), file] {
        assert_eq!(printed(&stdout(&classify(&checkpoint, &images, &[]))), all, "{}", checkpoint.display());
    }
    let json: Value =
        serde_json::from_str(&stdout(&classify(&run.join("last"), &images, &["--json"]))).unwrap();
    assert_eq!(json.as_array().unwrap().len(), LOOKED_AT);
    for ((file, class, probabilities), entry) in all.iter().zip(json.as_array().unwrap()) {
        assert_eq!((entry["file"].as_str(), entry["class"].as_i64()), (Some(file.as_str()), Some(*class)));
        let bits = |number: f32| number.to_bits();
        let there = entry["probabilities"].as_array().unwrap();
        let there: Vec<u32> = there.iter().map(|number| bits(number.as_f64().unwrap() as f32)).collect();
        let here: Vec<u32> = probabilities.iter().map(|number| bits(number.parse().unwrap())).collect();
        assert_eq!(there, here, "{file}");
    }
}

#[test]
fn a_fast_dev_run_writes_no_predictions_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("p.csv"), "precious").unwrap();
    let output = train_example(root.path(), &["--fast-dev-run", "--predictions", "p.csv"]);
    let (_, err) = ended_with(&output, 0);
    assert!(err.contains("not written"), "{err}");
    assert_eq!(std::fs::read_to_string(root.path().join("p.csv")).unwrap(), "precious");
}

#[test]
fn the_predictions_of_training_are_what_validation_measured() {
    let root = tempfile::tempdir().unwrap();
    let predictions = train(root.path(), &[]);
    let items = validation_images();
    assert_eq!(predictions.len(), items.len());
    assert!(predictions.iter().zip(&items).all(|((label, _), item)| *label == item.label));
    let right = predictions.iter().filter(|(label, probabilities)| largest(probabilities) == *label).count();
    let loss = |(label, probabilities): &(i64, Vec<String>)| {
        -probabilities[*label as usize].parse::<f64>().unwrap().ln()
    };
    // Over the images, though the last batch is smaller.
    let loss = predictions.iter().map(loss).sum::<f64>() / predictions.len() as f64;
    let measured = &metadata(&checkpoints(root.path()).join("last.ckpt"))["metrics"];
    let accuracy = 100.0 * right as f64 / predictions.len() as f64;
    assert!((accuracy - measured["val_accuracy"].as_f64().unwrap()).abs() < 1e-3, "{accuracy} {measured}");
    assert!((loss - measured["val_loss"].as_f64().unwrap()).abs() < 1e-5, "{loss} {measured}");
}

#[test]
fn predictions_are_written_again_by_a_run_that_is_done() {
    let root = tempfile::tempdir().unwrap();
    let first = train(root.path(), &[]);
    let flags = ["--run-id", "r1", "--epochs", "1", "--ckpt-path", "auto", "--predictions", "again.csv"];
    assert!(stdout(&train_example(root.path(), &flags)).contains("nothing to do"));
    assert_eq!(predictions(&root.path().join("again.csv")), first);
}

#[test]
fn predictions_that_cannot_be_written_are_an_error_before_training() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("file"), "mine").unwrap();
    for (place, expected) in [
        ("file/p.csv", "file/p.csv cannot be written"),
        ("s3://hunter2@b/p.csv", "it is an address"),
        (".", ". is a directory"),
    ] {
        let output = train_example(root.path(), &["--run-id", "r1", "--predictions", place]);
        let (printed, said) = ended_with(&output, 2);
        assert!(said.contains("--predictions") && said.contains(expected), "{said}");
        assert!(
            printed.is_empty() && !said.contains("hunter2") && !said.contains("epoch"),
            "{printed}{said}"
        );
    }
    assert!(!root.path().join("burn_trainer_logs").exists());
}

#[test]
fn predictions_go_to_a_directory_that_is_made() {
    let root = tempfile::tempdir().unwrap();
    let flags = ["--run-id", "r1", "--epochs", "1", "--predictions", "a/new/place.csv"];
    stdout(&train_example(root.path(), &flags));
    assert!(!predictions(&root.path().join("a/new/place.csv")).is_empty());
}

/// More than 512 products in a sum: flex adds them up in another order for a batch than for one image.
#[test]
fn a_wider_model_agrees_to_five_decimals() {
    let root = tempfile::tempdir().unwrap();
    let expected = train(root.path(), &["--set", "channels=24"]);
    let images = write_images(root.path());
    let all = printed(&stdout(&classify(&run_dir(root.path()).join("last"), &images, &[])));
    assert_eq!(all.len(), LOOKED_AT);
    for ((file, _, probabilities), (_, validation)) in all.iter().zip(&expected) {
        for (here, there) in probabilities.iter().zip(validation) {
            let (here, there): (f32, f32) = (here.parse().unwrap(), there.parse().unwrap());
            assert!((here - there).abs() < 5e-6, "{file}: {here} {there}");
        }
    }
}

/// The sample images, made again from the validation set.
fn samples() -> Vec<(i64, String, GrayImage)> {
    let items = validation_images();
    let first = |digit: i64| items.iter().find(|item| item.label == digit).unwrap();
    let mut samples: Vec<_> =
        SAMPLES.iter().map(|digit| (*digit, format!("{digit}.png"), picture(first(*digit)))).collect();
    let mut large = imageops::resize(&picture(first(DARK_SAMPLE)), 64, 64, FilterType::CatmullRom);
    imageops::invert(&mut large);
    samples.push((DARK_SAMPLE, DARK_SAMPLE_FILE.to_owned(), large));
    samples
}

/// With `WRITE_SAMPLES` in the environment they are written.
#[test]
fn the_sample_images_are_of_the_validation_set() {
    let directory = workspace().join("examples/native-inference/images");
    for (_, name, picture) in samples() {
        let path = directory.join(&name);
        if std::env::var_os("WRITE_SAMPLES").is_some() {
            picture.save(&path).unwrap();
        }
        assert_eq!(image::open(&path).unwrap().to_luma8(), picture, "{name}");
    }
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), SAMPLES.len() + 1);
}

#[test]
fn the_sample_images_are_recognised() {
    let root = tempfile::tempdir().unwrap();
    stdout(&train_example(root.path(), &["--run-id", "r1", "--epochs", "4"]));
    let directory = workspace().join("examples/native-inference/images");
    for (digit, name, _) in samples() {
        let flags: &[&str] = if name == DARK_SAMPLE_FILE { &["--invert"] } else { &[] };
        let output = classify(&run_dir(root.path()).join("best"), &[directory.join(&name)], flags);
        assert_eq!(printed(&stdout(&output))[0].1, digit, "{name}");
    }
}

#[test]
fn a_picture_in_colour_of_another_format_and_size_is_the_same_digit() {
    let root = tempfile::tempdir().unwrap();
    stdout(&train_example(root.path(), &["--run-id", "r1", "--epochs", "4"]));
    for (digit, _, small) in samples() {
        if digit == DARK_SAMPLE {
            continue;
        }
        let large = imageops::resize(&small, 80, 80, FilterType::CatmullRom);
        let coloured = RgbImage::from_fn(80, 80, |x, y| Rgb([large.get_pixel(x, y).0[0]; 3]));
        for name in ["digit.jpg", "digit.ppm"] {
            let path = root.path().join(name);
            coloured.save(&path).unwrap();
            let output = classify(&run_dir(root.path()).join("best"), &[path], &[]);
            assert_eq!(printed(&stdout(&output))[0].1, digit, "{digit} {name}");
        }
    }
}

#[test]
fn what_it_cannot_use_is_an_error_that_names_the_file_and_the_reason() {
    let root = tempfile::tempdir().unwrap();
    train(root.path(), &[]);
    let run = run_dir(root.path());
    let file = |name: &str, bytes: &[u8]| {
        let path = root.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let image = write_images(root.path())[0].clone();
    let whole = std::fs::read(&image).unwrap();
    let text = file("text.png", b"not an image");
    let unknown = file("unknown", b"not an image");
    let cut = file("cut.png", &whole[..whole.len() - 20]);
    let empty = file("empty.png", b"");
    let missing = root.path().join("missing.png");
    let other = root.path().join("other");
    stdout(&warmup(&other));
    let other = run_dir(&other).join("last");
    let damaged = root.path().join("damaged.ckpt");
    copy_checkpoint(&run.join("checkpoint/last.ckpt"), &damaged);
    flip_a_bit_of_the_model(&damaged);
    for (checkpoint, picture, words) in [
        (run.join("last"), &text, &["text.png", "PNG"][..]),
        (run.join("last"), &unknown, &["unknown", "PNG, JPEG, PNM"]),
        (run.join("last"), &cut, &["cut.png"]),
        (run.join("last"), &empty, &["empty.png"]),
        (run.join("last"), &missing, &["missing.png", "No such file"]),
        (run.join("last"), &root.path().to_path_buf(), &["directory"]),
        (run.join("checkpoint/last.ckpt.metadata.json"), &image, &["last.ckpt.metadata.json", "metadata"]),
        (run.join("first"), &image, &["first", "last"]),
        (run.clone(), &image, &["directory", "r1/last"]),
        (root.path().join("no.ckpt"), &image, &["no.ckpt", "No such file"]),
        (image.clone(), &image, &["0.png", "not a checkpoint"]),
        (other, &image, &["step=", "hyperparameters"]),
        (damaged, &image, &["damaged.ckpt", "damaged: "]),
    ] {
        let output = classify(&checkpoint, std::slice::from_ref(picture), &[]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(output.stdout.is_empty(), "{words:?}");
        assert!(said.starts_with("error: ") && said.lines().count() == 1, "{words:?}: {said}");
        for word in words {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
    }
    // The others are looked at all the same.
    let output = classify(&run.join("last"), &[text, image.clone()], &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[0]["file"].as_str(), image.to_str());
    for arguments in [&[][..], &["--no-such-flag"]] {
        let output = classify(&run.join("last"), &[], arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
    }
}

/// Hyperparameters of a layer that needs more memory than there is, and weights that are not numbers.
#[test]
fn a_model_that_cannot_be_made_or_computes_nothing_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let image = &write_images(root.path())[..1];
    let path = root.path().join("wide.ckpt");
    let hparams = DigitsConfig::new().with_channels(usize::MAX / 2);
    let contents = Contents::new(&hparams).unwrap().with_section("model", Section::default());
    contents.save(&path, Metadata::new(Timestamp::now())).unwrap();
    let output = classify(&path, image, &[]);
    assert_eq!(output.status.code(), Some(1));
    for word in ["wide.ckpt", "channels", "at most"] {
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
    }
    train(root.path(), &["--set", "learning_rate=1e30"]);
    let output = classify(&run_dir(root.path()).join("last"), image, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("0.png") && stderr(&output).contains("not a number"), "{output:?}");
}

/// In the model's part, which is what an inference program reads.
fn flip_a_bit_of_the_model(path: &Path) {
    let model = Checkpoint::open(path).unwrap().section("model").unwrap();
    let tensor = model.tensors.into_iter().find(|tensor| tensor.name == "hidden.weight").unwrap();
    let weights = tensor.into_bytes().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let place = bytes.windows(weights.len()).position(|window| *window == *weights).unwrap();
    bytes[place + weights.len() / 2] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn warmup(root: &Path) -> Output {
    program("warmup").arg("--root").arg(root).args(["--run-id", "r1", "--epochs", "1"]).output().unwrap()
}
