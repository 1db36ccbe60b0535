//! Classifies images with a checkpoint of `digits`. There is nothing in it that trains: burn with its CPU
//! backend, burn-ckpt, and the model's own crate without its feature `train`.

mod picture;

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::Device;
use burn_ckpt::{FromCheckpoint, chain};
use clap::Parser;
use digits::{CLASSES, Data, Digits};
use serde::Serialize;

use crate::picture::Result;

/// Classify images of handwritten digits with a trained model.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// A checkpoint: a file, a link, or a run's directory with /best or /last
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Images: PNG, JPEG or PNM, of any size
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// The images are dark on light: bright is ink otherwise, as in the data that the model was trained on
    #[arg(long)]
    invert: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What the model makes of an image.
#[derive(Serialize)]
struct Prediction {
    file: String,
    class: usize,
    probabilities: [f32; CLASSES],
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (model, data) = match load(&args.checkpoint) {
        Ok(loaded) => loaded,
        Err(error) => return failed(&chain(&*error)),
    };
    let mut status = ExitCode::SUCCESS;
    let mut predictions = Vec::new();
    for path in &args.images {
        // One image that cannot be read does not keep the others from being looked at.
        match classify(&model, data, path, args.invert) {
            Ok(prediction) => predictions.push(prediction),
            Err(error) => status = failed(&format!("{}: {}", path.display(), chain(&*error))),
        }
    }
    match print(&predictions, args.json) {
        Ok(()) => status,
        Err(error) => failed(&format!("cannot print: {error}")),
    }
}

/// The model of a checkpoint, and the data that it was trained on, which says what images it looks at.
fn load(path: &Path) -> Result<(Digits, Data)> {
    let hparams = Digits::hparams_from_checkpoint(path)?;
    // They come from the file, and can be invalid.
    hparams.check().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((Digits::from_checkpoint(path, &Device::flex())?, hparams.data))
}

fn classify(model: &Digits, data: Data, path: &Path, invert: bool) -> Result<Prediction> {
    let image = picture::read(path, data, invert)?;
    let probabilities = model.classify(&[image])[0];
    if !probabilities.iter().all(|probability| probability.is_finite()) {
        return Err("the model's answer is not a number, as if its training had diverged".into());
    }
    let class = (0..CLASSES).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
    Ok(Prediction { file: path.display().to_string(), class: class.unwrap_or_default(), probabilities })
}

/// Every number is printed with as many digits as make the same number again.
fn print(predictions: &[Prediction], json: bool) -> std::io::Result<()> {
    let mut text = String::new();
    if json {
        text = serde_json::to_string_pretty(predictions)? + "\n";
    } else {
        for Prediction { file, class, probabilities } in predictions {
            text.push_str(&format!("{file}: {class}\n"));
            for (digit, probability) in probabilities.iter().enumerate() {
                text.push_str(&format!("  {digit}  {probability}\n"));
            }
        }
    }
    match std::io::stdout().write_all(text.as_bytes()) {
        // A reader that has gone (`| head`) is not an error.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn failed(error: &dyn Display) -> ExitCode {
    // Where standard error is closed, the exit status still reports the error.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::FAILURE
}
