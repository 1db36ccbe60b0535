//! Several devices at once, and burn's distributed data parallel training, as far as the machine's devices
//! allow.
//!
//! `day` starts each way in a process of its own: burn ends the process where its collectives fail.

use std::process::ExitCode;

use backend::DeviceArgs;
use bench::{DigitsJob, Job, Stopwatch};
use burn::tensor::Device;
use burn::tensor::distributed::{DistributedConfig, ReduceOperation};
use burn_trainer::environment::device_name;
use burn_trainer::{Result, TrainerConfig};

use crate::check::io;

/// Its flags.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    devices: DeviceArgs,
    /// By burn's distributed data parallel training, in place of the trainer's own loop
    #[arg(long)]
    ddp: bool,
}

/// Trains the digits for an epoch on these devices, and prints a line.
///
/// # Errors
///
/// When a device cannot be used, or not in this way.
pub fn run(args: &Args) -> Result<ExitCode> {
    let devices = args.devices.devices()?;
    let names: Vec<String> = devices.iter().map(device_name).collect();
    let root = tempfile::tempdir().map_err(io("make a directory in", &std::env::temp_dir()))?;
    let config = TrainerConfig::new().with_root(root.path()).with_run_id("devices").with_max_epochs(1);
    let config = config.with_handle_signals(false);
    let job = DigitsJob::new()?;
    let outcome = match args.ddp {
        false => job.train(config, Stopwatch::saving_at([]).0, &devices)?,
        true => {
            let mean = DistributedConfig { all_reduce_op: ReduceOperation::Mean };
            let with_gradients: Vec<Device> = devices.into_iter().map(Device::autodiff).collect();
            let first = with_gradients[0].clone();
            job.train_with(config, &first, burn_trainer::burn_loops::ddp(with_gradients, mean)?)?
        }
    };
    let loop_name = if args.ddp { "burn's DDP" } else { "the trainer's loop" };
    let metrics: Vec<String> =
        outcome.metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    println!(
        "{loop_name} on {}: digits, one epoch in {:.1} s, {}",
        names.join(" and "),
        outcome.seconds,
        metrics.join(", ")
    );
    Ok(ExitCode::SUCCESS)
}
