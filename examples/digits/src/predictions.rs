//! `--predictions FILE`: what the trained model makes of the validation images.

use std::fmt::Write;
use std::path::Path;

use burn_trainer::evaluation::predict;
use burn_trainer::{FitResult, Result, ResumableDataLoader};
use digits::{CLASSES, Digits, DigitsConfig, ImageBatcher, probabilities};

/// Writes a line for each validation image, in their order: the digit it shows, and the probability of each
/// digit, with as many decimals as make the same number again. They are computed as validation does, by the
/// same step on the same batches.
///
/// Nothing is written for a run that was stopped: its model is not yet the one that was asked for.
pub fn write(path: &Path, result: &FitResult<Digits>, hparams: &DigitsConfig) -> Result<()> {
    if result.outcome.is_stopped() {
        eprintln!("the predictions are not written: the run was stopped");
        return Ok(());
    }
    let mut text = header();
    let (_, valid) = digits::load(hparams.data)?;
    let loader = ResumableDataLoader::builder(ImageBatcher).batch_size(hparams.batch_size).build(valid);
    for output in &predict(&result.model, loader) {
        let output = output?;
        let labels = output.targets.into_data();
        for (label, probabilities) in labels.iter::<i64>().zip(probabilities(output.output)) {
            text.push_str(&line(label, &probabilities));
        }
    }
    let directory = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    directory
        .and_then(|()| std::fs::write(path, text))
        .map_err(|source| burn_ckpt::Error::Io { action: "write", path: path.to_path_buf(), source }.into())
}

fn header() -> String {
    let columns: Vec<String> = (0..CLASSES).map(|digit| format!("p{digit}")).collect();
    format!("label,{}\n", columns.join(","))
}

fn line(label: i64, probabilities: &[f32]) -> String {
    let mut line = label.to_string();
    for probability in probabilities {
        // Writing to a string does not fail.
        let _ = write!(line, ",{probability}");
    }
    line.push('\n');
    line
}
