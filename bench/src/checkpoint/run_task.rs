//! Runs a task in this process: which part of `contenders/` does what each contender is named for.

use burn::optim::AdamConfig;
use burn_trainer::config::WhenBusy;
use burn_trainer::optimizer::InitStreamed;

use crate::program::Result;

use super::contender::{Contender, Phase, STEPS_BETWEEN_FREQUENT_SAVES};
use super::contenders::trainer::{self, Pace};
use super::contenders::{burn_loop, loading, loop_without_saves, machine_limits, plain_write};
use super::measurement::{Measurement, peak_of_this_process, written_by_this_process};
use super::task::Task;

/// Measures what the task says, in this process.
///
/// # Errors
///
/// What the contender could not do.
pub fn run_task(task: &Task) -> Result<Measurement> {
    use Contender::{
        Burn, BurnSteady, Lightning, Limits, Loop, Orbax, Ours, OursOpaque, OursReplace, OursSkip,
        OursSteady, PlainWrite, Safetensors, SystemAllocator, Torch,
    };
    let before = written_by_this_process();
    let adam = AdamConfig::new();
    let every = STEPS_BETWEEN_FREQUENT_SAVES;
    let mut measured = match (task.contender, task.phase) {
        (Limits, _) => machine_limits::measure(task)?,
        (PlainWrite, _) => plain_write::train(task)?,
        (Loop, _) => loop_without_saves::compare(task)?,
        (Ours, Phase::Load) => loading::trainers_checkpoint(task)?,
        (Burn, Phase::Load) => loading::burns_checkpoint(task)?,
        (Ours | SystemAllocator, _) => {
            trainer::train(task, adam.init_streamed(), Pace::Apart, WhenBusy::Wait)?
        }
        (OursOpaque, _) => trainer::train(task, adam.init(), Pace::Apart, WhenBusy::Wait)?,
        (OursSteady, _) => trainer::train(task, adam.init_streamed(), Pace::Every(every), WhenBusy::Wait)?,
        (OursSkip, _) => trainer::train(task, adam.init_streamed(), Pace::Every(every), WhenBusy::Skip)?,
        (OursReplace, _) => {
            trainer::train(task, adam.init_streamed(), Pace::Every(every), WhenBusy::Replace)?
        }
        (Burn, _) => burn_loop::train(task)?,
        (BurnSteady, _) => burn_loop::train_steadily(task, every as usize)?,
        (Torch | Lightning | Orbax | Safetensors, _) => {
            return Err("this contender is a Python script".into());
        }
    };
    measured.peak = peak_of_this_process();
    let saves = measured.saves.len() + usize::from(measured.idle.is_some());
    if let (None, Some(before), Some(after), true) =
        (measured.written, before, written_by_this_process(), saves > 0)
    {
        measured.written = Some((after - before) / saves as u64);
    }
    Ok(measured)
}
