//! Says on which spiral a point lies, with a checkpoint of the training program. Nothing in it trains:
//! `cargo build --no-default-features --bin predict` builds it without burn's training and without
//! burn-trainer.

use std::error::Error;
use std::process::ExitCode;

use burn::tensor::Device;
use burn_ckpt::FromCheckpoint;

use my_model::model::Classifier;

const USAGE: &str = "usage: predict CKPT X Y
  CKPT  a checkpoint: a file, a link, or a run's directory with /best or /last
  X Y   a point, each from -1 to 1";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, x, y] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match predict(checkpoint, x, y) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", burn_ckpt::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn predict(checkpoint: &str, x: &str, y: &str) -> Result<String, Box<dyn Error>> {
    let number = |text: &str| text.parse().map_err(|error| format!("{text:?}: {error}"));
    let (x, y) = (number(x)?, number(y)?);
    let model = Classifier::from_checkpoint(checkpoint, &Device::default())?;
    let [first, second] = model.classify(x, y);
    let spiral = usize::from(second > first);
    let probability = first.max(second);
    Ok(format!("spiral {spiral}, probability {probability:.3}"))
}
