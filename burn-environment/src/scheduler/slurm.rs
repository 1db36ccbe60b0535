//! The `slurm` part: the Slurm job that a run is part of, from an allow-list of its variables.

use serde::{Deserialize, Serialize};

use super::host_list::{MAX_HOST_BYTES, MAX_HOSTS, host_name};
use super::variables::{Lookup, Variables};

/// Most pairs of brackets in one name. Slurm itself allows as many dimensions as its largest
/// machines have.
const MAX_BRACKETS: usize = 5;

/// A Slurm job, and which of its processes this is.
///
/// Numbers are numbers where they count or rank something, and text where they identify something.
///
/// The [crate's page](crate) has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Slurm {
    /// Identifier of the job.
    pub job_id: Option<String>,
    /// Name of the job.
    pub job_name: Option<String>,
    /// Identifier of the array that the job is a task of.
    pub array_job_id: Option<String>,
    /// Index of the job in its array.
    pub array_task_id: Option<u64>,
    /// Number of jobs in the array.
    pub array_task_count: Option<u64>,
    /// Lowest index in the array.
    pub array_task_min: Option<u64>,
    /// Highest index in the array.
    pub array_task_max: Option<u64>,
    /// Cluster that the job runs on.
    pub cluster_name: Option<String>,
    /// Partition that the job runs in.
    pub partition: Option<String>,
    /// Number of nodes of the job.
    pub nnodes: Option<u64>,
    /// Names of these nodes, the first 4096 of them, or `None` where the list is not one of
    /// Slurm's.
    pub nodelist: Option<Vec<String>>,
    /// Number of tasks, which are the processes of the job.
    pub ntasks: Option<u64>,
    /// Rank of this process among all.
    pub procid: Option<u64>,
    /// Rank of this process on its node.
    pub localid: Option<u64>,
    /// Rank of this process's node.
    pub nodeid: Option<u64>,
    /// Processors for each task.
    pub cpus_per_task: Option<u64>,
    /// GPUs of the job on this node.
    pub gpus_on_node: Option<u64>,
    /// How many times the job was started again, by a preemption for instance.
    pub restart_count: Option<u64>,
}

/// The job in the variables, or `None` outside of one.
pub(crate) fn slurm(lookup: Lookup<'_>) -> Option<Slurm> {
    let variables = Variables::new(lookup);
    let job_id = variables.text("SLURM_JOB_ID")?;
    // The second of two names is the older one, which some sites set alone.
    let nodelist = variables.list("SLURM_JOB_NODELIST").or_else(|| variables.list("SLURM_NODELIST"));
    Some(Slurm {
        job_id: Some(job_id),
        job_name: variables.text("SLURM_JOB_NAME"),
        array_job_id: variables.text("SLURM_ARRAY_JOB_ID"),
        array_task_id: variables.number("SLURM_ARRAY_TASK_ID"),
        array_task_count: variables.number("SLURM_ARRAY_TASK_COUNT"),
        array_task_min: variables.number("SLURM_ARRAY_TASK_MIN"),
        array_task_max: variables.number("SLURM_ARRAY_TASK_MAX"),
        cluster_name: variables.text("SLURM_CLUSTER_NAME"),
        partition: variables.text("SLURM_JOB_PARTITION"),
        nnodes: variables.number("SLURM_JOB_NUM_NODES").or_else(|| variables.number("SLURM_NNODES")),
        nodelist: nodelist.and_then(|list| hosts(&list)),
        ntasks: variables.number("SLURM_NTASKS"),
        procid: variables.number("SLURM_PROCID"),
        localid: variables.number("SLURM_LOCALID"),
        nodeid: variables.number("SLURM_NODEID"),
        cpus_per_task: variables.number("SLURM_CPUS_PER_TASK"),
        gpus_on_node: variables.number("SLURM_GPUS_ON_NODE"),
        restart_count: variables.number("SLURM_RESTART_COUNT"),
    })
}

/// The host names that a list such as `n[01-03,7],m1` stands for, up to [`MAX_HOSTS`] of them.
///
/// `None` where the list breaks Slurm's rules or one of the other limits.
fn hosts(list: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for pattern in patterns(list)? {
        if pattern.matches('[').count() > MAX_BRACKETS {
            return None;
        }
        expand(String::new(), pattern, &mut found)?;
    }
    Some(found)
}

/// The parts of a list between the commas that stand outside of brackets.
fn patterns(list: &str) -> Option<Vec<&str>> {
    let mut patterns = Vec::new();
    let mut start = 0;
    let mut in_brackets = false;
    for (position, byte) in list.bytes().enumerate() {
        match byte {
            b'[' if !in_brackets => in_brackets = true,
            b']' if in_brackets => in_brackets = false,
            b'[' | b']' => return None,
            b',' if !in_brackets => {
                patterns.push(&list[start..position]);
                start = position + 1;
            }
            _ => {}
        }
    }
    patterns.push(&list[start..]);
    let whole = !in_brackets && patterns.iter().all(|pattern| !pattern.is_empty());
    whole.then_some(patterns)
}

/// Appends every name that begins with `name` and continues as `pattern` says. Brackets vary from the
/// last to the first.
///
/// Calls itself once for each pair of brackets, of which the caller allows [`MAX_BRACKETS`].
fn expand(mut name: String, pattern: &str, found: &mut Vec<String>) -> Option<()> {
    let (literal, rest) = match pattern.split_once('[') {
        Some((literal, rest)) => (literal, Some(rest)),
        None => (pattern, None),
    };
    name.push_str(host_name(literal)?);
    host_name(&name)?;
    let Some((ranges, rest)) = rest.and_then(|rest| rest.split_once(']')) else {
        if found.len() < MAX_HOSTS {
            found.push(name);
        }
        return Some(());
    };
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let width = first.len();
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        for number in first..=last {
            if found.len() >= MAX_HOSTS {
                return Some(());
            }
            // The first number says how many digits all have at least: `[08-10]` is 08, 09, 10.
            expand(format!("{name}{number:0width$}"), rest, found)?;
        }
    }
    Some(())
}

/// A number in a range. Digits only: `parse` alone would take a sign as well.
fn number(digits: &str) -> Option<u64> {
    let short = digits.len() <= MAX_HOST_BYTES;
    let digits_only = short && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits_only.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_reaches_its_own_field() {
        let lookup = |name: &str| {
            let value = match name {
                "SLURM_JOB_ID" => "4021",
                "SLURM_JOB_NAME" => "train digits",
                "SLURM_ARRAY_JOB_ID" => "4000",
                "SLURM_ARRAY_TASK_ID" => "21",
                "SLURM_ARRAY_TASK_COUNT" => "10",
                "SLURM_ARRAY_TASK_MIN" => "12",
                "SLURM_ARRAY_TASK_MAX" => "30",
                "SLURM_CLUSTER_NAME" => "east",
                "SLURM_JOB_PARTITION" => "gpu",
                "SLURM_NNODES" => "2",
                "SLURM_NODELIST" => "n[1-2]",
                "SLURM_NTASKS" => "8",
                "SLURM_PROCID" => "5",
                "SLURM_LOCALID" => "1",
                "SLURM_NODEID" => "0",
                "SLURM_CPUS_PER_TASK" => "16",
                "SLURM_GPUS_ON_NODE" => "4",
                "SLURM_RESTART_COUNT" => "3",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let text = |value: &str| Some(value.to_owned());
        let expected = Slurm {
            job_id: text("4021"),
            job_name: text("train digits"),
            array_job_id: text("4000"),
            array_task_id: Some(21),
            array_task_count: Some(10),
            array_task_min: Some(12),
            array_task_max: Some(30),
            cluster_name: text("east"),
            partition: text("gpu"),
            nnodes: Some(2),
            nodelist: Some(vec!["n1".to_owned(), "n2".to_owned()]),
            ntasks: Some(8),
            procid: Some(5),
            localid: Some(1),
            nodeid: Some(0),
            cpus_per_task: Some(16),
            gpus_on_node: Some(4),
            restart_count: Some(3),
        };
        assert_eq!(slurm(&lookup), Some(expected));
    }

    #[test]
    fn a_variable_that_is_not_a_number_is_absent_and_the_rest_is_kept() {
        let lookup = |name: &str| match name {
            "SLURM_JOB_ID" => Some("7".to_owned()),
            "SLURM_NTASKS" => Some("many".to_owned()),
            "SLURM_NODELIST" => Some("n[1-".to_owned()),
            _ => None,
        };
        let expected = Slurm { job_id: Some("7".to_owned()), ..Slurm::default() };
        assert_eq!(slurm(&lookup), Some(expected));
    }

    #[test]
    fn a_node_list_names_the_hosts_that_slurm_means_by_it() {
        // What `scontrol show hostnames` prints for each.
        let cases: [(&str, &[&str]); 7] = [
            ("m1", &["m1"]),
            ("m1,m2", &["m1", "m2"]),
            ("n[01-03,7],m1", &["n01", "n02", "n03", "n7", "m1"]),
            ("n[08-11]", &["n08", "n09", "n10", "n11"]),
            ("n[9-11]", &["n9", "n10", "n11"]),
            ("n[1-2]-ib.x", &["n1-ib.x", "n2-ib.x"]),
            ("r[1-2]n[1,3]", &["r1n1", "r1n3", "r2n1", "r2n3"]),
        ];
        for (list, expected) in cases {
            assert_eq!(hosts(list).unwrap(), expected, "{list}");
        }
    }

    #[test]
    fn a_list_that_breaks_the_rules_is_absent() {
        let lists = [
            "",
            ",",
            "a,,b",
            "a,",
            "n[",
            "n]",
            "n[1",
            "n]1[",
            "n[[1]]",
            "n[]",
            "n[1,]",
            "n[-1]",
            "n[1-]",
            "n[a-b]",
            "n[3-1]",
            "n[1-2-3]",
            "n[+1-2]",
            "n[99999999999999999999]",
        ];
        for list in lists {
            assert_eq!(hosts(list), None, "{list}");
        }
    }

    #[test]
    fn no_list_expands_to_more_hosts_than_the_limit() {
        let at_limit = format!("n[1-{MAX_HOSTS}]");
        assert_eq!(hosts(&at_limit).unwrap().len(), MAX_HOSTS);
        for list in [
            format!("n[1-{}]", MAX_HOSTS + 1),
            "n[0-18446744073709551615]".to_owned(),
            "a[0-99999]b[0-99999]c[0-99999]".to_owned(),
            format!("n[1-{MAX_HOSTS}],m[1-999999999]"),
            vec!["m1"; MAX_HOSTS + 1].join(","),
        ] {
            let hosts = hosts(&list).unwrap();
            assert_eq!(hosts.len(), MAX_HOSTS, "{list}");
        }
    }

    #[test]
    fn a_name_that_is_longer_than_the_limit_makes_the_list_absent() {
        let longest = "n".repeat(MAX_HOST_BYTES);
        assert_eq!(hosts(&longest), Some(vec![longest.clone()]));
        assert_eq!(hosts(&format!("{longest}n")), None);
        assert_eq!(hosts(&format!("{longest}[1]")), None);
        assert_eq!(hosts(&format!("n[{}1]", "0".repeat(MAX_HOST_BYTES))), None);
    }

    #[test]
    fn more_brackets_than_the_limit_make_the_list_absent() {
        let host = "1".repeat(MAX_BRACKETS);
        assert_eq!(hosts(&"[1]".repeat(MAX_BRACKETS)), Some(vec![host]));
        assert_eq!(hosts(&"[1]".repeat(MAX_BRACKETS + 1)), None);
        assert_eq!(hosts(&"[1]".repeat(100_000)), None);
    }
}
