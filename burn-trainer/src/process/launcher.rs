//! How the process was launched: which rank it has among several, and which Slurm job it is part of.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::console::warn;
use crate::process::signals::StopSignal;
use burn_environment::{Slurm, output_of, slurm};

/// The variables in which launchers pass a process its rank: torchrun and its like, Open MPI, MPICH, PMIx, LSF's jsrun, Slurm.
const RANK_VARIABLES: [&str; 6] =
    ["RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "JSM_NAMESPACE_RANK", "SLURM_PROCID"];
/// How long Slurm's controller may take for an answer.
const SCONTROL_TIMEOUT: Duration = Duration::from_secs(30);

/// The rank of this process, 0 without a launcher.
pub(crate) fn rank() -> u64 {
    rank_by(&|name| std::env::var(name).ok())
}

fn rank_by(lookup: &dyn Fn(&str) -> Option<String>) -> u64 {
    RANK_VARIABLES.iter().find_map(|name| lookup(name)?.trim().parse().ok()).unwrap_or(0)
}

/// The id of the Slurm job, as Slurm's commands write it: `42`, or `41_7` for a task of an array.
pub(crate) fn slurm_job() -> Option<String> {
    slurm().and_then(|slurm| job_id(&slurm))
}

fn job_id(slurm: &Slurm) -> Option<String> {
    match (&slurm.array_job_id, slurm.array_task_id) {
        (Some(array), Some(task)) => Some(format!("{array}_{task}")),
        _ => slurm.job_id.clone(),
    }
}

/// Requeues the Slurm job, if the signal was Slurm's warning before a time limit. Returns the job's id.
pub(crate) fn requeue_after(signal: StopSignal) -> Option<String> {
    let job = slurm_job().filter(|_| signal.is_warning())?;
    match requeue(&job) {
        Ok(()) => Some(job),
        Err(error) => {
            let message = format!("the Slurm job {job} is not requeued: scontrol: {error}");
            warn(&message);
            None
        }
    }
}

/// Asks Slurm to start a job again.
fn requeue(job: &str) -> std::io::Result<()> {
    let mut command = Command::new("scontrol");
    command.args(["requeue", job]);
    output_of(command, Instant::now() + SCONTROL_TIMEOUT).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_is_the_launchers() {
        let rank = |variables: &[(&str, &str)]| {
            rank_by(&|name| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(rank(&[]), 0);
        assert_eq!(rank(&[("SLURM_PROCID", "3")]), 3);
        assert_eq!(rank(&[("SLURM_PROCID", "0"), ("RANK", "5")]), 5, "torchrun inside a Slurm job");
        assert_eq!(rank(&[("RANK", ""), ("PMI_RANK", "2")]), 2);
    }

    #[test]
    fn a_task_of_an_array_is_requeued_alone() {
        let slurm = Slurm { job_id: Some("49".to_owned()), ..Slurm::default() };
        assert_eq!(job_id(&slurm).as_deref(), Some("49"));
        let task = Slurm { array_job_id: Some("41".to_owned()), array_task_id: Some(7), ..slurm };
        assert_eq!(job_id(&task).as_deref(), Some("41_7"));
    }
}
