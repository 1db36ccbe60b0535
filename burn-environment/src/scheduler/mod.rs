//! The job of a scheduler that a run is part of: Slurm's or LSF's, from an allow-list of variables.

mod host_list;
mod lsf;
mod slurm;
mod variables;

pub(crate) use lsf::lsf;
pub use lsf::{Lsf, LsfHost};
pub use slurm::Slurm;
pub(crate) use slurm::slurm;
pub(crate) use variables::{Lookup, variable_of_process};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_of_a_job_there_is_none_whatever_else_is_set() {
        let but = |unset: &'static str| move |name: &str| (name != unset).then(|| "1".to_owned());
        let empty = |_: &str| Some(String::new());
        assert_eq!((slurm(&but("SLURM_JOB_ID")), slurm(&empty)), (None, None));
        assert_eq!((lsf(&but("LSB_JOBID")), lsf(&empty)), (None, None));
    }
}
