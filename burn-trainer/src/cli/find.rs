//! `--find-lr` and `--find-batch-size`: what a program would train with, found in place of training.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::train::metric::Adaptor;
use burn::train::{LearnerModel, TrainStep};
use burn_ckpt::plumbing::SerializedValue;
use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::finder_input::FinderInput;
use super::print_result::{print, shown};
use super::{found_file, set};
use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::finders::{BatchFit, BatchSizeFinder, LearningRateFinder};
use crate::metric::MeanLossInput;
use crate::process::console::say;
use crate::process::progress::figures::significant;
use crate::process::run_output::OpenOutput;

/// The flags `--find-lr` and `--find-batch-size`, for programs that call [`FindArgs::run`]. A program that
/// does not flatten them has no such flags, so that none is ignored.
#[derive(Debug, Clone, Default, Args)]
#[non_exhaustive]
pub struct FindArgs {
    /// In place of training, find a learning rate and print it. With a FILE, write the losses there: a
    /// picture (.svg) or a table (.csv), in place of one of an earlier search. Leaves nothing else
    #[arg(long, value_name = "FILE", value_parser = parse_curve)]
    pub find_lr: Option<Option<PathBuf>>,
    /// In place of training, find the largest batch that fits and print it. With a FILE, write what was tried
    /// there: a table (.csv). Leaves nothing else
    #[arg(long, value_name = "FILE", value_parser = parse_table)]
    pub find_batch_size: Option<Option<PathBuf>>,
    /// The most memory that --find-batch-size may use, such as 8GiB: of the process on a CPU, of the device
    /// on a GPU
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, requires = "find_batch_size")]
    pub memory_limit: Option<u64>,
}

impl FindArgs {
    /// Does what the flags ask for, and prints what is found with the `--set` that sets it. Without a flag it
    /// returns `None`, and the program trains. No run is opened: nothing is written but the files that are
    /// asked for.
    ///
    /// With both flags the learning rate is that of the batch size found.
    ///
    /// ```no_run
    /// # use std::process::ExitCode;
    /// # use std::sync::Arc;
    /// # use burn::data::dataloader::DataLoader;
    /// # use burn::data::dataset::InMemDataset;
    /// # use burn::data::dataloader::batcher::Batcher;
    /// # use burn::optim::AdamConfig;
    /// # use burn::train::metric::Adaptor;
    /// # use burn::train::{LearnerModel, TrainStep};
    /// # use burn_trainer::cli::{FindArgs, FinderInput};
    /// # use burn_trainer::metric::MeanLossInput;
    /// # use burn_trainer::optimizer::InitStreamed;
    /// # use burn_trainer::{ResumableDataLoader, Result, TrainerConfig};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Hparams { batch_size: usize, learning_rate: f64 }
    /// # fn model<M>() -> M { unimplemented!() }
    /// # fn start<M: LearnerModel, B>(args: FindArgs, config: TrainerConfig, hparams: Hparams, batcher: B) -> Result<Option<ExitCode>>
    /// # where B: Batcher<f32, <M as TrainStep>::Input> + Clone + 'static, <M as TrainStep>::Input: Send,
    /// #       <M as TrainStep>::Output: Adaptor<MeanLossInput> {
    /// let found = args.run(&config, &hparams, || {
    ///     let (seed, data) = (config.seed, Arc::new(InMemDataset::new(vec![0.0; 64])));
    ///     let loader = move |hparams: &Hparams| {
    ///         let loader = ResumableDataLoader::builder(batcher.clone()).batch_size(hparams.batch_size);
    ///         loader.shuffle(seed).build(data.clone())
    ///     };
    ///     Ok(FinderInput::new(model::<M>(), AdamConfig::new().init_streamed(), loader))
    /// })?;
    /// if let Some(status) = found {
    ///     return Ok(Some(status));
    /// }
    /// // Train.
    /// # Ok(None) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `input`, and of [`Trainer::find_learning_rate`](crate::Trainer::find_learning_rate) and
    /// [`Trainer::find_batch_size`](crate::Trainer::find_batch_size). [`Error::Config`] if the program's
    /// configuration has no such batch size, and for `--fast-dev-run`, which is another thing to do in place
    /// of training.
    pub fn run<M, C>(
        &self,
        config: &TrainerConfig,
        program: &C,
        input: impl FnOnce() -> Result<FinderInput<M, C>>,
    ) -> Result<Option<ExitCode>>
    where
        M: LearnerModel,
        C: Serialize + DeserializeOwned,
        <M as TrainStep>::Output: Adaptor<MeanLossInput>,
    {
        let Some(flag) = self.first_flag() else { return Ok(None) };
        if config.fast_dev_run {
            return Err(Error::config(
                flag,
                "it trains no run that --fast-dev-run could try: give one of them",
            ));
        }
        if !config.writes() {
            // The process of rank 0 searches.
            return Ok(Some(ExitCode::SUCCESS));
        }
        for (flag, file) in [("--find-batch-size", &self.find_batch_size), ("--find-lr", &self.find_lr)] {
            if let Some(Some(file)) = file {
                found_file::check(flag, file)?;
            }
        }
        if let (Some(Some(sizes)), Some(Some(rates))) = (&self.find_batch_size, &self.find_lr)
            && found_file::is_same(sizes, rates)?
        {
            let reason = format!(
                "{} is that of --find-batch-size too: each search needs a file of its own",
                rates.display()
            );
            return Err(Error::config("--find-lr", reason));
        }
        let output = OpenOutput::open(config.run_id.as_deref().unwrap_or_default(), config.progress);
        let _entered = output.enter();
        if config.progress.is_on() {
            say(&format!("{flag}: no run is trained, saved, resumed or evaluated"));
        }
        let input = input()?;
        let (changed, printed) = match &self.find_batch_size {
            Some(file) => {
                let (changed, printed) = self.find_batch_size(config, program, &input, file.as_deref())?;
                (Some(changed), printed)
            }
            None => (None, true),
        };
        let status = match &self.find_lr {
            Some(file) => {
                find_learning_rate(config, changed.as_ref().unwrap_or(program), &input, file.as_deref())?
            }
            None => ExitCode::SUCCESS,
        };
        Ok(Some(if printed { status } else { ExitCode::FAILURE }))
    }

    fn first_flag(&self) -> Option<&'static str> {
        let batch_size = self.find_batch_size.is_some().then_some("--find-batch-size");
        batch_size.or(self.find_lr.is_some().then_some("--find-lr"))
    }

    /// Returns the program's configuration with the size that was found, and whether it could be printed.
    fn find_batch_size<M: LearnerModel, C: Serialize + DeserializeOwned>(
        &self,
        config: &TrainerConfig,
        program: &C,
        input: &FinderInput<M, C>,
        file: Option<&Path>,
    ) -> Result<(C, bool)> {
        let with_size = |size: usize| {
            let changed = set::with(program, &input.batch_size_key, SerializedValue::Int(size as i128));
            changed.map_err(|reason| Error::config("--find-batch-size", reason))
        };
        let mut finder = BatchSizeFinder::new().with_grads_accumulation(input.grads_accumulation);
        finder.memory_limit = self.memory_limit;
        let loader = |size| with_size(size).map(|changed| (input.loader)(&changed));
        let found = finder.run(input.trial(config)?, loader, &input.model, &input.optimizer)?;
        let size = found.batch_size;
        let mut lines = vec![found.to_string()];
        if let Some(rate) = found.fastest()
            && rate.batch_size != size
        {
            let rates = [Some(rate), found.tried.iter().find(|it| it.batch_size == size)];
            let [fastest, largest] =
                rates.map(|it| it.and_then(|it| it.items_per_second).map(significant).unwrap_or_default());
            lines.push(format!(
                "fastest: batch size {}, with {fastest} items/s where {size} has {largest}",
                rate.batch_size
            ));
        }
        if found.tried.iter().all(|tried| tried.fit == BatchFit::Fits) && found.memory_limit.is_none() {
            lines.push("the memory of the device is not used up".to_owned());
        }
        lines.push(format!("set it: --set {}={size}", input.batch_size_key));
        if let Some(file) = file {
            found.write_csv(file)?;
            lines.push(format!("what was tried: {}", shown(file)));
        }
        let printed = print(&lines);
        Ok((with_size(size)?, printed))
    }
}

fn find_learning_rate<M, C>(
    config: &TrainerConfig,
    program: &C,
    input: &FinderInput<M, C>,
    file: Option<&Path>,
) -> Result<ExitCode>
where
    M: LearnerModel,
    C: Serialize + DeserializeOwned,
    <M as TrainStep>::Output: Adaptor<MeanLossInput>,
{
    let finder = LearningRateFinder::new().with_grads_accumulation(input.grads_accumulation);
    let loader = (input.loader)(program);
    let sweep = finder.run(input.trial(config)?, &loader, &input.model, &input.optimizer)?;
    let mut lines = vec![sweep.to_string()];
    let suggestion = sweep.suggestion();
    if let Ok(rate) = suggestion {
        let key = &input.learning_rate_key;
        lines.push(match set::with(program, key, SerializedValue::Float(rate)) {
            Ok(_) => format!("set it: --set {key}={rate:.2e}"),
            Err(_) => format!("set it in the program: its configuration has no {key}"),
        });
    }
    if let Some(file) = file {
        match is_svg(file) {
            true => sweep.write_svg(file)?,
            false => sweep.write_csv(file)?,
        }
        lines.push(format!("losses: {}", shown(file)));
    }
    let printed = print(&lines);
    Ok(if printed && suggestion.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn is_svg(path: &Path) -> bool {
    has_extension(path, "svg")
}

fn parse_curve(text: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_known = is_svg(&path) || has_extension(&path, "csv");
    if is_known { Ok(path) } else { Err("a file's name that ends with .svg or .csv".to_owned()) }
}

fn parse_table(text: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if has_extension(&path, "csv") { Ok(path) } else { Err("a file's name that ends with .csv".to_owned()) }
}

/// `8GiB`, `500 MiB`, or bytes.
fn parse_bytes(text: &str) -> std::result::Result<u64, String> {
    const UNITS: [(&str, u64); 5] =
        [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
    let text = text.trim();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), *unit)))
        .unwrap_or((text, 1));
    let bytes = number.parse::<f64>().map(|number| number * unit as f64);
    match bytes {
        Ok(bytes) if bytes.is_finite() && bytes >= 1.0 => Ok(bytes as u64),
        _ => Err("bytes, or a number with KiB, MiB, GiB or TiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        find: FindArgs,
    }

    fn parsed(words: &[&str]) -> Result<FindArgs, clap::Error> {
        Program::try_parse_from(std::iter::once(&"program").chain(words)).map(|program| program.find)
    }

    #[test]
    fn both_flags_take_a_file_or_none() {
        let given =
            parsed(&["--find-lr", "--find-batch-size", "sizes.csv", "--memory-limit", "1.5GiB"]).unwrap();
        assert_eq!(given.find_lr, Some(None));
        assert_eq!(given.find_batch_size, Some(Some("sizes.csv".into())));
        assert_eq!(given.memory_limit, Some(3 << 29));
        assert_eq!(given.first_flag(), Some("--find-batch-size"));
        assert_eq!(parsed(&["--find-lr=a.SVG"]).unwrap().find_lr, Some(Some("a.SVG".into())));
        assert_eq!(parsed(&[]).unwrap().first_flag(), None);
    }

    #[test]
    fn a_file_of_another_kind_and_a_limit_alone_are_wrong_usage() {
        for (words, expected) in [
            (&["--find-lr", "a.png"][..], ".svg or .csv"),
            (&["--find-batch-size", "a.svg"], ".csv"),
            (&["--memory-limit", "8GiB"], "--find-batch-size"),
            (&["--find-batch-size", "--memory-limit", "8GB"], "MiB"),
            (&["--find-batch-size", "--memory-limit", "0"], "MiB"),
            (&["--find-batch-size", "--memory-limit", "-1"], "-1"),
            (&["--find-batch-size", "--memory-limit", "inf"], "MiB"),
        ] {
            let error = parsed(words).unwrap_err().to_string();
            assert!(error.contains(expected), "{words:?}: {error}");
        }
        assert_eq!(["4096", "4 KiB", "4096B"].map(|text| parse_bytes(text).unwrap()), [4096; 3]);
    }
}
