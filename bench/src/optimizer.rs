//! `bench-optimizer`: the update of a model's parameters alone, by burn's Adam and AdamW and by ours.
//!
//! Both update a model of their own in turns, by the same gradients, which are drawn: what an update costs
//! does not depend on them. In the end the models are compared, to the bit.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use burn_trainer::optimizer::InitStreamed;
use char_lm::{CharLmConfig, Size};
use clap::Parser;
use digits::DigitsConfig;

use crate::measure::kernel_counters::OtherPrograms;
use crate::measure::timing::median;
use crate::page::figure::milliseconds;
use crate::page::head::Head;
use crate::page::table::Table;
use crate::program::{Result, directory, exit_code};
use crate::training_jobs::parse_size;

const RATE: f64 = 1e-3;

/// How long an update of Adam takes on the CPU
#[derive(Parser)]
#[command(name = "cargo xtask bench optimizer", version)]
struct Args {
    /// The size of char-lm
    #[arg(long, default_value = "small", value_parser = parse_size)]
    size: Size,
    /// Updates of each, after one that is not counted
    #[arg(long, default_value_t = 50)]
    updates: usize,
    /// Where to write: `target` here unless given
    #[arg(long)]
    root: Option<PathBuf>,
}

/// The program: measures and prints the page.
#[must_use]
pub fn main() -> ExitCode {
    exit_code(measure(&Args::parse()))
}

fn measure(args: &Args) -> Result<()> {
    let root = directory(args.root.as_deref())?;
    let others = OtherPrograms::watch();
    let device = Device::flex().autodiff();
    let (adam, adam_w) = (AdamConfig::new(), AdamWConfig::new());
    let hparams = CharLmConfig::new().with_size(args.size);
    let mut table = Table::new(&[
        "model",
        "parameters",
        "optimizer",
        "burn's, ms (median)",
        "ours, ms (median)",
        "ratio",
        "the same bits",
    ]);
    let digits = || DigitsConfig::new().init(&device);
    let row = compare("digits", digits(), "Adam", [adam.init(), adam.init_streamed()], args.updates)?;
    table.row(row);
    let size = serde_json::to_value(args.size)?;
    let name = format!("char-lm {}", size.as_str().unwrap_or_default());
    let char_lm = hparams.init(&device);
    table.row(compare(&name, char_lm, "AdamW", [adam_w.init(), adam_w.init_streamed()], args.updates)?);
    println!("{}", Head::new("The optimizer's update", "optimizer", &root, others));
    println!(
        "On flex, {} threads; {} updates of each, in turns.\n",
        std::thread::available_parallelism().map_or(1, usize::from),
        args.updates
    );
    println!("{table}");
    Ok(())
}

/// A row: updates by both optimizers, from the same parameters and by the same gradients.
fn compare<M: Module>(
    name: &str,
    model: M,
    optimizer: &str,
    optimizers: [ModuleOptimizer; 2],
    updates: usize,
) -> Result<[String; 7]> {
    let parameters = model.num_params();
    let mut contenders = optimizers.map(|optimizer| (optimizer, Some(model.clone()), Vec::new()));
    for update in 0..=updates {
        let drawn = Drawn::of(&model);
        for (optimizer, model, times) in &mut contenders {
            let gradients = drawn.gradients();
            let before = model.take().ok_or("an update gives the model back")?;
            let begun = Instant::now();
            *model = Some(optimizer.step(RATE, before, gradients));
            if update > 0 {
                times.push(begun.elapsed().as_secs_f64());
            }
        }
    }
    let [burns, ours] = contenders.map(|(_, model, times)| (model.map(bits), median(&times)));
    Ok([
        name.to_owned(),
        parameters.to_string(),
        optimizer.to_owned(),
        milliseconds(burns.1, 3),
        milliseconds(ours.1, 3),
        burns.1.zip(ours.1).map(|(burns, ours)| format!("{:.2}", ours / burns)).unwrap_or_default(),
        if burns.0 == ours.0 { "yes" } else { "no" }.to_owned(),
    ])
}

/// Gradients for all parameters of a model.
#[derive(Default)]
struct Drawn(Vec<Register>);

/// Adds the gradient of one parameter.
type Register = Box<dyn Fn(&mut GradientsParams)>;

impl Drawn {
    fn of(model: &impl Module) -> Self {
        let mut drawn = Self::default();
        model.visit(&mut drawn);
        drawn
    }

    /// Tensors that nothing else holds, as the backward pass leaves them.
    fn gradients(&self) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        for register in &self.0 {
            register(&mut gradients);
        }
        gradients
    }
}

impl ModuleVisitor for Drawn {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let (id, device) = (parameter.id, parameter.device().inner());
        let gradient = Tensor::<D>::random(parameter.shape(), Distribution::Normal(0.0, 1e-2), &device);
        let gradient = gradient.into_data();
        self.0.push(Box::new(move |gradients| {
            gradients.register(id, Tensor::<D>::from_data(gradient.clone(), &device));
        }));
    }
}

/// All numbers of a model.
fn bits(model: impl Module) -> Vec<TensorData> {
    struct Numbers(Vec<TensorData>);
    impl ModuleVisitor for Numbers {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.0.push(parameter.val().into_data());
        }
    }
    let mut numbers = Numbers(Vec::new());
    model.visit(&mut numbers);
    numbers.0
}
