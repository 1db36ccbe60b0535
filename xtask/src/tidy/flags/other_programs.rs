//! Flags of programs that are not this project's, as far as its pages name them.

/// This file, which a message names: a flag is added here.
pub const PATH: &str = "xtask/src/tidy/flags/other_programs.rs";

/// A program and flags that it has, without `--`.
#[derive(Debug, PartialEq)]
pub struct OtherProgram {
    /// As it is written in a command line.
    pub name: &'static str,
    pub flags: &'static [&'static str],
    /// Whether it starts another program, whose flags follow that one's name.
    pub starts_another: bool,
}

/// `cargo xtask` is not among cargo's: it is a program of this project.
pub const CARGO: &str = "cargo";
/// What is behind `--` in `cargo test`.
pub const TEST_RUNNER: OtherProgram = OtherProgram {
    name: "cargo test --",
    flags: &[
        "exact",
        "ignored",
        "include-ignored",
        "list",
        "nocapture",
        "no-capture",
        "show-output",
        "skip",
        "test-threads",
    ],
    starts_another: false,
};
const SLURM: &[&str] =
    &["cpus-per-task", "gpus-per-node", "nodes", "ntasks", "ntasks-per-node", "requeue", "signal", "time"];

/// All of them.
pub const OTHER_PROGRAMS: &[OtherProgram] = &[
    OtherProgram {
        name: CARGO,
        flags: &[
            "all",
            "all-features",
            "all-targets",
            "bench",
            "bin",
            "bins",
            "check",
            "doc",
            "edges",
            "example",
            "examples",
            "features",
            "force",
            "frozen",
            "git",
            "invert",
            "jobs",
            "lib",
            "locked",
            "manifest-path",
            "no-default-features",
            "no-deps",
            "no-fail-fast",
            "no-run",
            "offline",
            "open",
            "package",
            "path",
            "profile",
            "quiet",
            "release",
            "rev",
            "root",
            "target",
            "target-dir",
            "test",
            "tests",
            "timings",
            "verbose",
            "version",
            "workspace",
        ],
        starts_another: false,
    },
    OtherProgram { name: "git", flags: &["branch", "depth", "version"], starts_another: false },
    OtherProgram { name: "pip", flags: &["requirement", "upgrade"], starts_another: false },
    OtherProgram { name: "#SBATCH", flags: SLURM, starts_another: false },
    OtherProgram { name: "sbatch", flags: SLURM, starts_another: false },
    OtherProgram { name: "srun", flags: SLURM, starts_another: true },
    OtherProgram { name: "tensorboard", flags: &["logdir"], starts_another: false },
    OtherProgram { name: "bash", flags: &[], starts_another: true },
    OtherProgram { name: "sudo", flags: &[], starts_another: true },
];

/// Whether any of them has a flag.
pub fn any_knows(flag: &str) -> bool {
    OTHER_PROGRAMS.iter().chain([&TEST_RUNNER]).any(|program| program.flags.contains(&flag))
}
