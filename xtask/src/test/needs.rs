//! What the tests need beside Rust: the table, and which of it this machine lacks. `set_up.rs` installs the
//! rest.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use crate::{cargo, gpu};

/// One thing that the tests need.
#[derive(Debug, PartialEq)]
pub struct Need {
    pub what: What,
    /// Debian's packages that have it.
    pub packages: &'static [&'static str],
    pub why: &'static str,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// A program that the search path leads to. A command that is built into a shell does not count.
    Program(&'static str),
    /// `python3` with these modules, separated by commas.
    PythonModules(&'static str),
    /// A driver that Vulkan's loader finds, of a GPU or in software.
    VulkanDriver,
}

/// Everything that the tests need. Each program or file stands here once, however many tests use it.
#[rustfmt::skip]
pub const NEEDS: [Need; 12] = [
    Need::program("cc", &["gcc", "libc6-dev"], "links Rust's programs, and assembles a part of blake3"),
    Need::program("git", &["git"], "makes the repositories whose commits are found in metadata"),
    Need::program("sha256sum", &["coreutils"], "judges the digests of checkpoints"),
    Need::program("script", &["bsdutils"], "gives programs a terminal"),
    Need::program("tmux", &["tmux"], "shows what a program draws on a terminal"),
    Need::program("setpriv", &["util-linux"], "ends the servers that a test started when the test ends"),
    Need::program("prlimit", &["util-linux"], "limits the memory of a server"),
    Need::program("kill", &["procps"], "sends signals to training runs"),
    Need { what: What::PythonModules("venv, ensurepip"), packages: &["python3", "python3-venv"],
           why: "makes the environment in which PyTorch judges files that are exported" },
    Need { what: What::VulkanDriver, packages: &["mesa-vulkan-drivers", "libvulkan1"],
           why: "is what burn's wgpu backend computes on where there is no GPU" },
    Need::program("vulkaninfo", &["vulkan-tools"], "judges the list of GPUs"),
    Need::program("chromium", &["chromium"], "shows the page of a report"),
];

impl Need {
    const fn program(name: &'static str, packages: &'static [&'static str], why: &'static str) -> Self {
        Self { what: What::Program(name), packages, why }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(name) => f.write_str(name),
            Self::PythonModules(modules) => write!(f, "python3 with the modules {modules}"),
            Self::VulkanDriver => f.write_str("a Vulkan driver"),
        }
    }
}

/// The needs that are not met.
pub fn missing(is_here: impl Fn(What) -> bool) -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| !is_here(need.what)).collect()
}

/// Debian's packages for these needs, each once, in the table's order.
pub fn packages(needs: &[&Need]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = Vec::new();
    for package in needs.iter().flat_map(|need| need.packages) {
        if !packages.contains(package) {
            packages.push(package);
        }
    }
    packages
}

/// Looks on this machine.
pub fn is_here(what: What) -> bool {
    match what {
        What::Program(name) => has_program(name),
        What::PythonModules(modules) => cargo::succeeds("python3", &["-c", &format!("import {modules}")]),
        What::VulkanDriver => gpu::has_any_vulkan_driver(Path::new("/")),
    }
}

/// Whether the search path leads to a program.
pub fn has_program(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| is_in(&path, name))
}

fn is_in(path: &OsStr, name: &str) -> bool {
    std::env::split_paths(path).any(|directory| is_executable(&directory.join(name)))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.with_extension(std::env::consts::EXE_EXTENSION).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_names_each_package_once() {
        let missing = missing(|what| !matches!(what, What::Program("prlimit" | "kill" | "setpriv")));
        assert_eq!(packages(&missing), ["util-linux", "procps"]);
        assert!(super::missing(|_| true).is_empty());
    }

    #[test]
    fn every_need_has_a_package_and_a_reason() {
        for need in &NEEDS {
            assert!(!need.packages.is_empty() && !need.why.is_empty(), "{need:?}");
            assert_eq!(NEEDS.iter().filter(|other| other.what == need.what).count(), 1, "{need:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_a_file_that_can_be_started_is_a_program() {
        use std::fs::{self, Permissions};
        use std::os::unix::fs::PermissionsExt;
        let directory = std::env::temp_dir().join(format!("xtask-needs-{}", std::process::id()));
        fs::create_dir_all(directory.join("tmux")).unwrap();
        fs::write(directory.join("git"), "").unwrap();
        fs::write(directory.join("kill"), "").unwrap();
        fs::set_permissions(directory.join("git"), Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(directory.join("kill"), Permissions::from_mode(0o755)).unwrap();
        let path = std::env::join_paths([Path::new("/nowhere"), &directory]).unwrap();
        let found = ["kill", "git", "tmux", "script"].map(|name| is_in(&path, name));
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found, [true, false, false, false]);
    }
}
