//! Writes text with a checkpoint of `char-lm`.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use backend::Backend;
use burn::tensor::Device;
use burn_ckpt::{FromCheckpoint, chain};
use char_lm::{CharLm, Drawing, NotANumber};
use clap::Parser;

/// Errors are printed, and not told apart.
type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Exit status for wrong usage.
const USAGE: u8 = 2;

/// Write text with a trained model.
///
/// Each byte is written to standard output as soon as it is drawn. The prompt is not written.
#[derive(Parser)]
#[command(version, allow_negative_numbers = true)]
struct Args {
    /// A checkpoint: a file, a link, or a run's directory with /best or /last
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// The text to continue: any bytes. The model sees the last ones, as many as its context. By default the
    /// beginning of a line
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prompt: OsString,
    /// Bytes to write
    #[arg(long, value_name = "N", default_value_t = 500)]
    tokens: usize,
    /// Sampling temperature: 0 takes the likeliest byte every time, 1 draws by the model's probabilities
    #[arg(long, value_name = "T", default_value_t = Drawing::default().temperature)]
    temperature: f64,
    /// Draw among the K likeliest bytes only
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// The same seed gives the same text
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// What to compute on, as far as the program was built for it
    #[arg(long, value_enum, default_value = "flex")]
    backend: Backend,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let drawing = Drawing { temperature: args.temperature, top_k: args.top_k, seed: args.seed };
    if let Err(error) = drawing.check() {
        return failed(&format!("--{error}"), ExitCode::from(USAGE));
    }
    let device = match args.backend.device() {
        Ok(device) => device,
        Err(error) => return failed(&error, ExitCode::from(USAGE)),
    };
    match write(&args, drawing, &device) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&chain(&*error), ExitCode::FAILURE),
    }
}

fn write(args: &Args, drawing: Drawing, device: &Device) -> Result<()> {
    let path = &args.checkpoint;
    // A file from elsewhere may contain any values.
    let hparams = CharLm::hparams_from_checkpoint(path)?;
    hparams.check().map_err(|error| format!("{}: {error}", path.display()))?;
    let model = CharLm::from_checkpoint(path, device)?;
    print(model.write(args.prompt.as_encoded_bytes(), drawing)?.take(args.tokens))
}

fn print(text: impl Iterator<Item = Result<u8, NotANumber>>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut write = |bytes: &[u8]| match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        // A reader that has gone (`| head`) is not an error.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(format!("cannot print: {error}")),
    };
    for byte in text {
        if !write(&[byte?])? {
            return Ok(());
        }
    }
    // What a shell prints next is on a line of its own.
    if std::io::stdout().is_terminal() {
        write(b"\n")?;
    }
    Ok(())
}

fn failed(error: &dyn Display, status: ExitCode) -> ExitCode {
    // Where standard error is closed, the exit status still reports the error.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    status
}
