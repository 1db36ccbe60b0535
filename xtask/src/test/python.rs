//! Python's packages for the tests that it judges: virtual environments below the target directory, one for
//! each list of requirements. `cargo xtask test` makes them while it checks; a test that is run by itself
//! makes the one that it needs.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::thread::{self, JoinHandle};

use crate::cargo;
use crate::usage::failed;

/// The lists of requirements in `tests/python`.
const LISTS: [List; 3] = [
    List { file: "requirements.txt", size: "PyTorch and what it needs take 3.1 GB" },
    List { file: "requirements-trackers.txt", size: "TensorBoard, MLflow and what they need take 1.1 GB" },
    List { file: "requirements-mirrors.txt", size: "moto and what it needs take 320 MB" },
];

/// Node.js, for `cargo xtask azurite` alone.
const OF_AZURITE: List = List { file: "requirements-azurite.txt", size: "Node.js takes 230 MB" };

/// How the names begin of what PyTorch loads only on a GPU: PyPI has no PyTorch for CPUs alone. It is 2.3 GB.
const OF_GPUS: [&str; 4] = ["triton", "libcudnn_", "libcusolver", "libnvshmem_device"];

#[derive(Debug, Clone, Copy)]
struct List {
    file: &'static str,
    /// What is in it, and how large that is.
    size: &'static str,
}

/// The verb's own flags.
#[derive(clap::Args)]
pub struct Args {
    /// The list in tests/python
    #[arg(value_parser = List::named)]
    list: List,
}

impl List {
    fn named(file: &str) -> Result<Self, String> {
        LISTS.into_iter().find(|list| list.file == file).ok_or_else(|| {
            format!("there is no such list; there is {}", LISTS.map(|list| list.file).join(", "))
        })
    }
}

/// Makes an environment where it is missing, and prints the path of its Python.
pub fn run(args: &Args) -> ExitCode {
    match environment(args.list) {
        Ok(directory) => {
            println!("{}", directory.join("bin/python").display());
            ExitCode::SUCCESS
        }
        Err(message) => failed(&message),
    }
}

/// Makes all that are missing, beside other work: what takes long is the network. A test that needs one which
/// could not be made tries again, and fails with the reason.
pub fn make_all() -> JoinHandle<()> {
    thread::spawn(|| {
        for list in LISTS {
            if let Err(message) = environment(list) {
                eprintln!("warning: {message}");
            }
        }
    })
}

/// Where the packages are that `cargo xtask azurite` needs.
pub fn packages_of_azurite() -> Result<PathBuf, String> {
    packages(&environment(OF_AZURITE)?)
}

/// The directory of an environment, whose name changes with what it has.
fn environment(list: List) -> Result<PathBuf, String> {
    let requirements = cargo::root().join("tests/python").join(list.file);
    let told = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let wanted = fs::read(&requirements).map_err(|error| told(&requirements, error))?;
    let version = checked(Command::new("python3").arg("--version"), "python3 is needed")?;
    let mut hasher = DefaultHasher::new();
    (wanted, version.stdout).hash(&mut hasher);
    let target = cargo::target().map_err(|error| format!("the target directory is not known: {error}"))?;
    let directory = target.join(format!("python-venv-{:016x}", hasher.finish()));
    // Another process may be about to make it too.
    let path = target.join("python-venv.lock");
    let lock = File::create(&path).map_err(|error| told(&path, error))?;
    lock.lock().map_err(|error| told(&path, error))?;
    if directory.is_dir() {
        return Ok(directory);
    }
    // Under another name until it is complete; what a kill left under that name goes.
    let unfinished = directory.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(|error| told(&unfinished, error))?;
    }
    eprintln!("making {}, once: {}", directory.display(), list.size);
    let venv = "python3 -m venv is needed (Debian: apt-get install python3-venv)";
    checked(Command::new("python3").args(["-m", "venv"]).arg(&unfinished), venv)?;
    let mut pip = Command::new(unfinished.join("bin/python"));
    // Compiling every module takes a minute. Python compiles those that a test imports.
    pip.args(["-m", "pip", "install", "--quiet", "--no-compile", "--requirement"]).arg(&requirements);
    checked(&mut pip, "pip has to install packages, for which the network is needed")?;
    let packages = packages(&unfinished)?;
    remove_of_gpus(&packages).map_err(|error| told(&packages, error))?;
    if packages.join("torch").is_dir() {
        let mut python = Command::new(unfinished.join("bin/python"));
        checked(python.args(["-c", "import torch"]), "PyTorch has to start without what is only for GPUs")?;
    }
    fs::rename(&unfinished, &directory).map_err(|error| told(&directory, error))?;
    Ok(directory)
}

/// Where an environment has its packages.
fn packages(environment: &Path) -> Result<PathBuf, String> {
    let ask = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let answer =
        checked(Command::new(environment.join("bin/python")).args(["-c", ask]), "Python has to start")?;
    Ok(PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim_end()))
}

/// Removes what is only for GPUs: packages, and libraries of NVIDIA's.
fn remove_of_gpus(packages: &Path) -> io::Result<()> {
    let nvidia = packages.join("nvidia");
    let parts = if nvidia.is_dir() { entries(&nvidia)? } else { Vec::new() };
    let libraries = parts.into_iter().map(|part| part.join("lib")).filter(|part| part.is_dir());
    for directory in libraries.chain([packages.to_owned()]) {
        for path in entries(&directory)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if OF_GPUS.iter().any(|beginning| name.starts_with(beginning)) {
                if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
            }
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

fn checked(command: &mut Command, needed: &str) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{needed}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{needed}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end()))
}
