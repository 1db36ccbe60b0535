//! The `lsf` part: which LSF job a run is part of, from an allow-list of its variables.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::variables::Variables;

/// Most hosts that are kept of a job's list.
const MAX_HOSTS: usize = 4096;

/// An LSF job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lsf {
    /// Identifier of the job.
    pub job_id: Option<String>,
    /// Name of the job.
    pub job_name: Option<String>,
    /// Index of the job in its array, or `None` for a job that is not in one.
    pub job_index: Option<u64>,
    /// Queue that the job was submitted to.
    pub queue: Option<String>,
    /// The hosts of the job, each one once, the first 4096 of them.
    pub hosts: Option<Vec<String>>,
    /// Number of slots, over all hosts.
    pub djob_numproc: Option<u64>,
}

/// The job that the variables tell of, or `None` outside of one.
pub(crate) fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Option<Lsf> {
    let variables = Variables::new(lookup);
    let job_id = variables.text("LSB_JOBID")?;
    Some(Lsf {
        job_id: Some(job_id),
        job_name: variables.text("LSB_JOBNAME"),
        // LSF counts from one, and says zero where there is no array.
        job_index: variables.number("LSB_JOBINDEX").filter(|&index| index != 0),
        queue: variables.text("LSB_QUEUE"),
        hosts: variables.text("LSB_HOSTS").map(|list| hosts(&list)),
        djob_numproc: variables.number("LSB_DJOB_NUMPROC"),
    })
}

/// The hosts of a list that repeats each of them for each of its slots, in the list's order.
fn hosts(list: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let distinct = list.split_whitespace().filter(|host| seen.insert(*host));
    distinct.take(MAX_HOSTS).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_of_a_job_there_is_none_whatever_else_is_set() {
        let lookup = |name: &str| (name != "LSB_JOBID").then(|| "1".to_owned());
        assert_eq!(read(&lookup), None);
        let empty = |_: &str| Some(String::new());
        assert_eq!(read(&empty), None);
    }

    #[test]
    fn every_variable_reaches_its_own_field() {
        let lookup = |name: &str| {
            let value = match name {
                "LSB_JOBID" => "4021",
                "LSB_JOBNAME" => "digits[3]",
                "LSB_JOBINDEX" => "3",
                "LSB_QUEUE" => "gpu",
                "LSB_HOSTS" => "b a",
                "LSB_DJOB_NUMPROC" => "2",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let text = |value: &str| Some(value.to_owned());
        let expected = Lsf {
            job_id: text("4021"),
            job_name: text("digits[3]"),
            job_index: Some(3),
            queue: text("gpu"),
            hosts: Some(vec!["b".to_owned(), "a".to_owned()]),
            djob_numproc: Some(2),
        };
        assert_eq!(read(&lookup), Some(expected));
    }

    #[test]
    fn a_job_outside_of_an_array_has_no_index() {
        let lookup = |name: &str| match name {
            "LSB_JOBID" => Some("7".to_owned()),
            "LSB_JOBINDEX" => Some("0".to_owned()),
            _ => None,
        };
        let expected = Lsf { job_id: Some("7".to_owned()), ..Lsf::default() };
        assert_eq!(read(&lookup), Some(expected));
    }

    #[test]
    fn a_host_with_several_slots_is_listed_once() {
        assert_eq!(hosts("b b  a b c a"), ["b", "a", "c"]);
    }

    #[test]
    fn no_more_hosts_are_kept_than_the_limit() {
        let many: Vec<String> = (0..=MAX_HOSTS).map(|number| format!("n{number}")).collect();
        let kept = hosts(&many.join(" "));
        assert_eq!(kept.len(), MAX_HOSTS);
        assert_eq!(kept, many[..MAX_HOSTS]);
    }
}
