//! The `lsf` part: the LSF job that a run is part of, from an allow-list of the variables of LSF, and of the
//! launchers that start processes in its jobs.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::host_list::{MAX_HOSTS, host_name};
use super::variables::{Lookup, Variables};

/// The variables in which IBM's `jsrun`, Open MPI, PMIx and MPICH's relatives tell a process its rank; the
/// first that is set counts. LSF itself starts one process, and gives no ranks.
const RANK: [&str; 4] = ["JSM_NAMESPACE_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"];
const LOCAL_RANK: [&str; 3] = ["JSM_NAMESPACE_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"];
const RANKS: [&str; 3] = ["JSM_NAMESPACE_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];

/// An LSF job, and which of its processes this is.
///
/// The [crate's page](crate) has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Lsf {
    /// Identifier of the job.
    pub job_id: Option<String>,
    /// Name of the job.
    pub job_name: Option<String>,
    /// Index of the job in its array, or `None` for a job that is not in one.
    pub job_index: Option<u64>,
    /// Highest index in the array.
    pub job_index_end: Option<u64>,
    /// Queue that the job was submitted to.
    pub queue: Option<String>,
    /// The hosts of the job, each one once, the first 4096 of them; `None` where the list is not one of
    /// LSF's.
    pub hosts: Option<Vec<LsfHost>>,
    /// Number of slots, over all hosts.
    pub djob_numproc: Option<u64>,
    /// Rank of this process among all.
    pub rank: Option<u64>,
    /// Rank of this process on its host.
    pub local_rank: Option<u64>,
    /// Number of processes that have a rank.
    pub ranks: Option<u64>,
}

/// A host of an LSF job.
///
/// The [crate's page](crate) has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LsfHost {
    /// Name of the host.
    pub name: String,
    /// How many slots the job has on it.
    pub slots: u64,
}

/// The job in the variables, or `None` outside of one.
pub(crate) fn lsf(lookup: Lookup<'_>) -> Option<Lsf> {
    let variables = Variables::new(lookup);
    let job_id = variables.text("LSB_JOBID")?;
    let first_of = |names: &[&str]| names.iter().find_map(|name| variables.number(name));
    // The second list grows with the slots, and LSF omits it where it would get too long.
    let with_slots = variables.list("LSB_MCPU_HOSTS").and_then(|list| counted(&list));
    let hosts = with_slots.or_else(|| repeated(&variables.list("LSB_HOSTS")?));
    Some(Lsf {
        job_id: Some(job_id),
        job_name: variables.text("LSB_JOBNAME"),
        // LSF counts from 1, and sets 0 where there is no array.
        job_index: variables.number("LSB_JOBINDEX").filter(|&index| index != 0),
        job_index_end: variables.number("LSB_JOBINDEX_END").filter(|&index| index != 0),
        queue: variables.text("LSB_QUEUE"),
        hosts,
        djob_numproc: variables.number("LSB_DJOB_NUMPROC"),
        rank: first_of(&RANK),
        local_rank: first_of(&LOCAL_RANK),
        ranks: first_of(&RANKS),
    })
}

/// The hosts of a list that has the number of slots after each of them: `a 4 b 2`.
fn counted(list: &str) -> Option<Vec<LsfHost>> {
    let mut words = list.split_whitespace();
    let pairs = std::iter::from_fn(|| {
        words.next().map(|name| (name, words.next().and_then(|slots| slots.parse().ok())))
    });
    hosts(pairs)
}

/// The hosts of a list that repeats each of them for each of its slots: `a a a a b b`.
fn repeated(list: &str) -> Option<Vec<LsfHost>> {
    hosts(list.split_whitespace().map(|name| (name, Some(1))))
}

/// Each host once, in the order of their first mention, with the sum of its slots.
fn hosts<'a>(mentions: impl Iterator<Item = (&'a str, Option<u64>)>) -> Option<Vec<LsfHost>> {
    let mut found: IndexMap<&str, u64> = IndexMap::new();
    for (name, slots) in mentions {
        let (name, slots) = (host_name(name)?, slots?);
        if let Some(known) = found.get_mut(name) {
            *known = known.saturating_add(slots);
        } else if found.len() < MAX_HOSTS {
            found.insert(name, slots);
        }
    }
    Some(found.into_iter().map(|(name, slots)| LsfHost { name: name.to_owned(), slots }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::host_list::MAX_HOST_BYTES;

    fn host(name: &str, slots: u64) -> LsfHost {
        LsfHost { name: name.to_owned(), slots }
    }

    #[test]
    fn every_variable_reaches_its_own_field() {
        let lookup = |name: &str| {
            let value = match name {
                "LSB_JOBID" => "4021",
                "LSB_JOBNAME" => "digits[3]",
                "LSB_JOBINDEX" => "3",
                "LSB_JOBINDEX_END" => "12",
                "LSB_QUEUE" => "gpu",
                "LSB_MCPU_HOSTS" => "b 4 a 2",
                "LSB_DJOB_NUMPROC" => "6",
                "JSM_NAMESPACE_RANK" => "5",
                "JSM_NAMESPACE_LOCAL_RANK" => "1",
                "JSM_NAMESPACE_SIZE" => "8",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let text = |value: &str| Some(value.to_owned());
        let expected = Lsf {
            job_id: text("4021"),
            job_name: text("digits[3]"),
            job_index: Some(3),
            job_index_end: Some(12),
            queue: text("gpu"),
            hosts: Some(vec![host("b", 4), host("a", 2)]),
            djob_numproc: Some(6),
            rank: Some(5),
            local_rank: Some(1),
            ranks: Some(8),
        };
        assert_eq!(lsf(&lookup), Some(expected));
    }

    #[test]
    fn a_job_outside_of_an_array_has_no_index() {
        let lookup = |name: &str| match name {
            "LSB_JOBID" => Some("7".to_owned()),
            "LSB_JOBINDEX" | "LSB_JOBINDEX_END" => Some("0".to_owned()),
            _ => None,
        };
        let expected = Lsf { job_id: Some("7".to_owned()), ..Lsf::default() };
        assert_eq!(lsf(&lookup), Some(expected));
    }

    #[test]
    fn each_launcher_tells_the_rank_and_the_nearest_to_lsf_goes_first() {
        for (names, field) in [(&RANK[..], 0), (&LOCAL_RANK, 1), (&RANKS, 2)] {
            for (position, name) in names.iter().enumerate() {
                let lookup = |asked: &str| match names.iter().position(|name| *name == asked) {
                    // The variables before it are not numbers, and those after it have other values.
                    Some(at) if at < position => Some("none".to_owned()),
                    Some(at) => Some(at.to_string()),
                    None => (asked == "LSB_JOBID").then(|| "7".to_owned()),
                };
                let job = lsf(&lookup).unwrap();
                let value = [job.rank, job.local_rank, job.ranks][field];
                assert_eq!(value, Some(position as u64), "{name}");
            }
        }
    }

    #[test]
    fn a_host_with_several_slots_is_listed_once_by_either_list() {
        let expected = Some(vec![host("b", 3), host("a", 2), host("c", 1)]);
        assert_eq!(repeated("b b  a b c a"), expected);
        assert_eq!(counted("b 1 a 2  c 1 b 2"), expected);
    }

    #[test]
    fn a_list_with_slots_that_breaks_the_rules_leaves_the_other_one() {
        for list in ["a", "a 1 b", "a b", "a -1", "a 1.5", "1 a", "a 99999999999999999999"] {
            assert_eq!(counted(list), None, "{list}");
            let lookup = |name: &str| match name {
                "LSB_JOBID" => Some("7".to_owned()),
                "LSB_MCPU_HOSTS" => Some(list.to_owned()),
                "LSB_HOSTS" => Some("n n".to_owned()),
                _ => None,
            };
            assert_eq!(lsf(&lookup).unwrap().hosts, Some(vec![host("n", 2)]), "{list}");
        }
        assert_eq!(counted(&format!("a {0} a {0}", u64::MAX)), Some(vec![host("a", u64::MAX)]));
    }

    #[test]
    fn no_more_hosts_are_kept_than_the_limit_and_no_longer_names() {
        let many: Vec<String> = (0..=MAX_HOSTS).map(|number| format!("n{number}")).collect();
        let kept = repeated(&many.join(" ")).unwrap();
        assert_eq!(kept.len(), MAX_HOSTS);
        assert!(kept.iter().zip(&many).all(|(kept, name)| kept.name == *name));
        let longest = "n".repeat(MAX_HOST_BYTES);
        assert_eq!(repeated(&longest), Some(vec![host(&longest, 1)]));
        assert_eq!(repeated(&format!("{longest}n")), None);
    }
}
