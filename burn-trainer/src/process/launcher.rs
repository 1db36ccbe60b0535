//! How the process was launched: which rank it has among several, and which Slurm job it is part of.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::console::{note, warn};
use crate::process::signals::StopSignal;
use burn_environment::plumbing::output_of;
use burn_environment::{Slurm, slurm};

/// The variables in which launchers pass a process its rank: torchrun and its like, Open MPI, MPICH, PMIx,
/// LSF's jsrun, Slurm.
const RANK_VARIABLES: [&str; 6] =
    ["RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "JSM_NAMESPACE_RANK", "SLURM_PROCID"];
/// How long Slurm's controller may take for an answer.
const SCONTROL_TIMEOUT: Duration = Duration::from_secs(30);

/// The rank of this process, and the variable that says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LauncherRank {
    pub(crate) number: u64,
    pub(crate) variable: &'static str,
}

/// The rank of this process. `None` without a launcher.
pub(crate) fn rank() -> Option<LauncherRank> {
    rank_by(&|name| std::env::var(name).ok())
}

fn rank_by(lookup: &dyn Fn(&str) -> Option<String>) -> Option<LauncherRank> {
    RANK_VARIABLES.iter().find_map(|variable| {
        let number = lookup(variable)?.trim().parse().ok()?;
        Some(LauncherRank { number, variable })
    })
}

/// The rank that Slurm itself has given this process. Another launcher's variable says nothing of the job,
/// and may be left over.
pub(crate) fn rank_in_job() -> Option<u64> {
    slurm()?.procid
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

/// Requeues the Slurm job, if the signal was Slurm's warning before a time limit. Returns the job's id. Of
/// several processes in a job, the one of rank 0 does it for all.
pub(crate) fn requeue_after(signal: StopSignal) -> Option<String> {
    let job = slurm_job().filter(|_| signal.is_warning())?;
    if let Some(rank) = rank_in_job().filter(|rank| *rank > 0) {
        note(&format!("rank {rank} leaves it to rank 0 to requeue the Slurm job {job}"));
        return None;
    }
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
        let of = |number, variable| Some(LauncherRank { number, variable });
        assert_eq!(rank(&[]), None);
        assert_eq!(rank(&[("SLURM_PROCID", "3")]), of(3, "SLURM_PROCID"));
        assert_eq!(
            rank(&[("SLURM_PROCID", "0"), ("RANK", "5")]),
            of(5, "RANK"),
            "torchrun inside a Slurm job"
        );
        assert_eq!(rank(&[("RANK", ""), ("PMI_RANK", "2")]), of(2, "PMI_RANK"));
    }

    #[test]
    fn a_task_of_an_array_is_requeued_alone() {
        let mut slurm = Slurm::default();
        slurm.job_id = Some("49".to_owned());
        assert_eq!(job_id(&slurm).as_deref(), Some("49"));
        let mut task = slurm.clone();
        (task.array_job_id, task.array_task_id) = (Some("41".to_owned()), Some(7));
        assert_eq!(job_id(&task).as_deref(), Some("41_7"));
    }
}
