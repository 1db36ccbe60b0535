//! [`Environment`]: all parts together, and the order in which they are collected.

use std::path::Path;

use burn_environment_build::Package;
use serde::{Deserialize, Serialize};

use crate::git::{self, Git};
use crate::gpu::try_gpus;
use crate::hardware::{GpusOfRun, Hardware};
use crate::os::Os;
use crate::packages;
use crate::scheduler::{self, Lookup, Lsf, Slurm, variable_of_process};
use crate::toolchain::Rust;

/// The machine, the program and the job that a checkpoint was written by.
///
/// The fields are written in this order. A file from another version may lack some of them; those
/// read back as `None` or empty.
///
/// The [crate's page](crate) has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Environment {
    /// Processors, memory and accelerators of the machine.
    pub hardware: Hardware,
    /// The packages that the program was built from, as far as [`program!`](crate::program) said; else all
    /// packages of the workspace that it was built in. Empty where no `Cargo.lock` was found.
    pub packages: Vec<Package>,
    /// The compiler, and what it compiled for.
    pub rust: Rust,
    /// The operating system.
    pub os: Os,
    /// The repository around the working directory, or `None` outside of one.
    pub git: Option<Git>,
    /// The Slurm job, or `None` outside of one.
    pub slurm: Option<Slurm>,
    /// The LSF job, or `None` outside of one.
    pub lsf: Option<Lsf>,
}

/// The Slurm job that this process is part of.
///
/// The [crate's page](crate) has an example.
#[must_use]
pub fn slurm() -> Option<Slurm> {
    scheduler::slurm(&variable_of_process)
}

impl Environment {
    /// Collects everything now, on this thread.
    ///
    /// This runs `git` (for two seconds at most) and asks the drivers of GPUs ([`gpus`](crate::gpus)), which
    /// can take seconds on some machines. GPUs stay unknown (`gpu_count` is `None`) if the drivers have not
    /// answered after 10 seconds. A training loop uses [`EnvironmentProbe`](crate::EnvironmentProbe) instead.
    #[must_use]
    pub fn collect() -> Self {
        let mut environment = Self::without_gpus();
        if let Some(devices) = try_gpus() {
            environment.hardware.add(GpusOfRun { devices, used: Vec::new() });
        }
        environment
    }

    /// Collects everything but the GPUs, which stay unknown. Asks no driver.
    #[must_use]
    pub fn without_gpus() -> Self {
        match std::env::current_dir() {
            Ok(directory) => Self::collect_with(Some(&directory), &variable_of_process),
            // It was deleted, mostly. Only the parts that depend on it stay unknown.
            Err(_) => Self::collect_with(None, &variable_of_process),
        }
    }

    /// Collects for a working directory, with the scheduler's variables from `lookup`.
    fn collect_with(directory: Option<&Path>, lookup: Lookup<'_>) -> Self {
        Self {
            hardware: Hardware::without_gpus(),
            packages: packages::of_program(directory),
            rust: Rust::of_build(),
            os: Os::collect(),
            git: directory.and_then(git::read),
            slurm: scheduler::slurm(lookup),
            lsf: scheduler::lsf(lookup),
        }
    }

    /// What the build knows, without asking the machine: the rest is `None` or empty.
    pub(crate) fn unknown() -> Self {
        Self { rust: Rust::of_build(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;

    fn no_variables(_: &str) -> Option<String> {
        None
    }

    fn keys(value: &serde_json::Value) -> Vec<&str> {
        let object = value.as_object().expect("a JSON object");
        object.keys().map(String::as_str).collect()
    }

    #[test]
    fn the_keys_are_written_in_the_documented_order() {
        let value = serde_json::to_value(Environment::collect()).unwrap();
        assert_eq!(keys(&value), ["hardware", "packages", "rust", "os", "git", "slurm", "lsf"]);
        assert_eq!(
            keys(&value["hardware"]),
            [
                "cpu_count",
                "cpu_core_count",
                "cpu_model",
                "memory_bytes",
                "gpu_count",
                "gpu_devices",
                "devices_used"
            ]
        );
        assert_eq!(keys(&value["rust"]), ["version", "target", "profile", "program", "features"]);
        assert_eq!(keys(&value["os"]), ["name", "version", "kernel", "hostname"]);
    }

    #[test]
    fn what_is_absent_is_written_as_null() {
        let outside = tempfile::tempdir().unwrap();
        let environment = Environment::collect_with(Some(outside.path()), &no_variables);
        let value = serde_json::to_value(environment).unwrap();
        for key in ["git", "slurm", "lsf"] {
            assert!(value[key].is_null(), "{key} is {}", value[key]);
        }
        assert!(value.as_object().unwrap().contains_key("git"));
    }

    #[test]
    fn an_environment_survives_being_written_and_read_back() {
        let job = |name: &str| matches!(name, "SLURM_JOB_ID" | "LSB_JOBID").then(|| "7".to_owned());
        let written = Environment::collect_with(Some(Path::new(".")), &job);
        assert!(written.slurm.is_some() && written.lsf.is_some());
        let text = serde_json::to_string_pretty(&written).unwrap();
        let read: Environment = serde_json::from_str(&text).unwrap();
        assert_eq!(read, written);
    }

    #[test]
    fn a_file_of_another_version_reads_with_its_missing_parts_absent() {
        let text = r#"{"hardware": {"cpu_count": 4, "new_in_v9": true}, "git": {"commit": "c0ffee"}}"#;
        let read: Environment = serde_json::from_str(text).unwrap();
        assert_eq!(read.hardware.cpu_count, Some(4));
        assert_eq!(read.hardware.memory_bytes, None);
        assert_eq!(read.git.unwrap().commit.as_deref(), Some("c0ffee"));
        assert_eq!(read.rust, Rust::default());
        assert!(read.packages.is_empty());
    }

    #[test]
    fn only_named_variables_of_a_scheduler_are_asked_for() {
        let asked = RefCell::new(BTreeSet::new());
        let ask = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
        };
        let everything_is_set = |name: &str| {
            ask(name);
            Some("1".to_owned())
        };
        // With nothing but the jobs' ids set, the older spellings are asked for as well.
        let only_the_job_is_set = |name: &str| {
            ask(name);
            matches!(name, "SLURM_JOB_ID" | "LSB_JOBID").then(|| "1".to_owned())
        };
        for lookup in [&everything_is_set as &dyn Fn(&str) -> Option<String>, &only_the_job_is_set] {
            let environment = Environment::collect_with(None, lookup);
            assert!(environment.slurm.is_some() && environment.lsf.is_some());
        }
        let allowed = [
            "JSM_NAMESPACE_LOCAL_RANK",
            "JSM_NAMESPACE_RANK",
            "JSM_NAMESPACE_SIZE",
            "LSB_DJOB_NUMPROC",
            "LSB_HOSTS",
            "LSB_JOBID",
            "LSB_JOBINDEX",
            "LSB_JOBINDEX_END",
            "LSB_JOBNAME",
            "LSB_MCPU_HOSTS",
            "LSB_QUEUE",
            "MPI_LOCALRANKID",
            "OMPI_COMM_WORLD_LOCAL_RANK",
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_SIZE",
            "PMIX_RANK",
            "PMI_RANK",
            "PMI_SIZE",
            "SLURM_ARRAY_JOB_ID",
            "SLURM_ARRAY_TASK_COUNT",
            "SLURM_ARRAY_TASK_ID",
            "SLURM_ARRAY_TASK_MAX",
            "SLURM_ARRAY_TASK_MIN",
            "SLURM_CLUSTER_NAME",
            "SLURM_CPUS_PER_TASK",
            "SLURM_GPUS_ON_NODE",
            "SLURM_JOB_ID",
            "SLURM_JOB_NAME",
            "SLURM_JOB_NODELIST",
            "SLURM_JOB_NUM_NODES",
            "SLURM_JOB_PARTITION",
            "SLURM_LOCALID",
            "SLURM_NNODES",
            "SLURM_NODEID",
            "SLURM_NODELIST",
            "SLURM_NTASKS",
            "SLURM_PROCID",
            "SLURM_RESTART_COUNT",
        ];
        let asked = asked.into_inner();
        assert_eq!(asked.iter().collect::<Vec<_>>(), allowed);
    }

    #[test]
    fn a_working_directory_that_is_unknown_leaves_only_its_parts_unknown() {
        let environment = Environment::collect_with(None, &no_variables);
        assert_eq!(environment.git, None);
        assert_ne!(environment.hardware.cpu_count, None);
        assert_ne!(environment.os.name, None);
    }
}
