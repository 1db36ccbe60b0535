//! Every value of the environment in a checkpoint's metadata is what another source says: the system, the
//! compiler, cargo, git, and the variables of a job, written down by hand. (Processors, memory and GPUs:
//! `gpus/`.)

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use system_tests::git_repository::{Repository, expected, without_settings};
use system_tests::programs::commands::{stdout, workspace};
use system_tests::programs::running::{Running, digits, programs};
use system_tests::run_files::{checkpoints, metadata};

/// Runs the program `digits` in a directory with these variables, and returns what it says of its
/// environment.
fn environment(directory: &Path, variables: &[(&str, &str)]) -> Value {
    let root = tempfile::tempdir().unwrap();
    let mut command = digits(root.path(), "--run-id r1 --epochs 1 --backend flex");
    command.current_dir(directory).envs(variables.iter().copied());
    Running::start(without_settings(command)).end_well();
    metadata(&checkpoints(root.path()).join("last.ckpt"))["environment"].take()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(workspace()).output();
    stdout(&output.unwrap_or_else(|error| panic!("{program}: {error}"))).trim().to_owned()
}

fn cargo(arguments: &[&str]) -> String {
    said(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), arguments)
}

#[test]
fn the_system_the_compiler_and_the_repository_are_what_they_say_themselves() {
    let repository = Repository::with_a_commit();
    repository.write("tracked", "changed since\n");
    let environment = environment(repository.path(), &[]);

    let release = |key: &str| said("sh", &["-c", &format!(". /etc/os-release; echo \"${key}\"")]);
    let version = release("VERSION_ID");
    let os = json!({
        "name": release("NAME"),
        // Rolling distributions have none.
        "version": (!version.is_empty()).then_some(version),
        "kernel": said("uname", &["-r"]),
        "hostname": said("uname", &["-n"]),
    });
    assert_eq!(environment["os"], os);

    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let verbose = said(&rustc, &["-vV"]);
    let host = verbose.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let rust = json!({
        "version": said(&rustc, &["-V"]),
        "target": host,
        "profile": programs().file_name().unwrap().to_str().unwrap(),
        "program": format!("digits {}", env!("CARGO_PKG_VERSION")),
        "features": default_features(),
    });
    assert_eq!(environment["rust"], rust);

    assert_eq!(environment["git"], expected(repository.path()));
    assert_eq!(environment["git"]["dirty"], true);
    assert_eq!((&environment["slurm"], &environment["lsf"]), (&Value::Null, &Value::Null));
}

/// The features of `digits` that its manifest switches on, and those that these do.
fn default_features() -> BTreeSet<String> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--frozen", "--format-version", "1"]))
            .unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let digits = packages.iter().find(|package| package["name"] == "digits").unwrap();
    let mut on = BTreeSet::new();
    let mut next = vec!["default"];
    while let Some(feature) = next.pop() {
        // A feature of another package is not a feature of this one.
        if let Some(more) = digits["features"][feature].as_array()
            && on.insert(feature.to_owned())
        {
            next.extend(more.iter().filter_map(Value::as_str));
        }
    }
    on
}

#[test]
fn the_packages_are_those_that_cargo_builds_the_program_from() {
    let elsewhere = tempfile::tempdir().unwrap();
    let environment = environment(elsewhere.path(), &[]);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let recorded: BTreeMap<(String, String), (Option<String>, Option<String>)> = environment["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            assert_eq!(package.as_object().unwrap().len(), 4, "{package}");
            let key = (text(&package["name"]).unwrap(), text(&package["version"]).unwrap());
            (key, (text(&package["source"]), text(&package["checksum"])))
        })
        .collect();
    assert_eq!(recorded.len(), environment["packages"].as_array().unwrap().len());

    let tree = cargo(&["tree", "--frozen", "--package", "digits", "--edges", "normal", "--prefix", "none"]);
    let built: BTreeSet<(String, String)> = tree
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap());
            (name.to_owned(), version.trim_start_matches('v').to_owned())
        })
        .collect();
    assert_eq!(recorded.keys().cloned().collect::<BTreeSet<_>>(), built);

    // The lock file, read by its lines.
    let lock = std::fs::read_to_string(workspace().join("Cargo.lock")).unwrap();
    let mut locked = BTreeMap::new();
    for entry in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let mut values = entry.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            values.next().map(|value| value.trim_matches('"').to_owned())
        };
        locked.insert(
            (value("name").unwrap(), value("version").unwrap()),
            (value("source").map(|_| "registry".to_owned()), value("checksum")),
        );
    }
    for (package, said) in &recorded {
        assert_eq!(Some(said), locked.get(package), "{package:?}");
    }
    // And none of the others, which tests, tools and other platforms ask for.
    let names: BTreeSet<&str> = recorded.keys().map(|(name, _)| name.as_str()).collect();
    assert!(recorded.len() < locked.len() && names.contains("burn-train") && names.contains("digits"));
    for name in ["proptest", "clap_complete", "native-inference", "xtask", "windows-sys", "wgpu"] {
        assert!(!names.contains(name), "{name}");
    }
}

/// The variables of a Slurm job and of an LSF job.
const JOBS: [(&str, &str); 29] = [
    ("SLURM_JOB_ID", "4021"),
    ("SLURM_JOB_NAME", "train digits"),
    ("SLURM_ARRAY_JOB_ID", "4000"),
    ("SLURM_ARRAY_TASK_ID", "21"),
    ("SLURM_ARRAY_TASK_COUNT", "3"),
    ("SLURM_ARRAY_TASK_MIN", "20"),
    ("SLURM_ARRAY_TASK_MAX", "22"),
    ("SLURM_CLUSTER_NAME", "east"),
    ("SLURM_JOB_PARTITION", "gpu"),
    ("SLURM_JOB_NUM_NODES", "6"),
    ("SLURM_JOB_NODELIST", "n[08-10,12]-ib,login,r[1]n2"),
    ("SLURM_NTASKS", "24"),
    ("SLURM_PROCID", "0"),
    ("SLURM_LOCALID", "0"),
    ("SLURM_NODEID", "0"),
    ("SLURM_CPUS_PER_TASK", "16"),
    ("SLURM_GPUS_ON_NODE", "4"),
    ("SLURM_RESTART_COUNT", "2"),
    ("LSB_JOBID", "77"),
    ("LSB_JOBNAME", "train[3]"),
    ("LSB_JOBINDEX", "3"),
    ("LSB_JOBINDEX_END", "9"),
    ("LSB_QUEUE", "long"),
    ("LSB_MCPU_HOSTS", "h1 4 h2 2"),
    ("LSB_HOSTS", "h1 h1 h1 h1 h2 h2"),
    ("LSB_DJOB_NUMPROC", "6"),
    ("JSM_NAMESPACE_RANK", "0"),
    ("JSM_NAMESPACE_LOCAL_RANK", "0"),
    ("JSM_NAMESPACE_SIZE", "6"),
];

/// What the metadata has to say of the Slurm job.
fn slurm_job() -> Value {
    json!({
        "job_id": "4021",
        "job_name": "train digits",
        "array_job_id": "4000",
        "array_task_id": 21,
        "array_task_count": 3,
        "array_task_min": 20,
        "array_task_max": 22,
        "cluster_name": "east",
        "partition": "gpu",
        "nnodes": 6,
        "nodelist": ["n08-ib", "n09-ib", "n10-ib", "n12-ib", "login", "r1n2"],
        "ntasks": 24,
        "procid": 0,
        "localid": 0,
        "nodeid": 0,
        "cpus_per_task": 16,
        "gpus_on_node": 4,
        "restart_count": 2,
    })
}

/// What the metadata has to say of the LSF job.
fn lsf_job() -> Value {
    json!({
        "job_id": "77",
        "job_name": "train[3]",
        "job_index": 3,
        "job_index_end": 9,
        "queue": "long",
        "hosts": [{ "name": "h1", "slots": 4 }, { "name": "h2", "slots": 2 }],
        "djob_numproc": 6,
        "rank": 0,
        "local_rank": 0,
        "ranks": 6,
    })
}

#[test]
fn the_jobs_of_slurm_and_of_lsf_are_as_their_variables_say() {
    let repository = Repository::with_a_commit();
    let environment = environment(repository.path(), &JOBS);
    assert_eq!(environment["slurm"], slurm_job());
    assert_eq!(environment["lsf"], lsf_job());
    // Nothing has changed since the commit.
    assert_eq!(environment["git"], expected(repository.path()));
    assert_eq!(environment["git"]["dirty"], false);
}

#[test]
fn the_environment_has_these_parts_in_this_order() {
    let elsewhere = tempfile::tempdir().unwrap();
    let environment = environment(elsewhere.path(), &[]);
    let keys: Vec<&str> = environment.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["hardware", "packages", "rust", "os", "git", "slurm", "lsf"]);
    assert_eq!(environment["git"], Value::Null);
}
