//! `cargo xtask llvm`: LLVM for builds with CUDA, where the place that burn downloads it from cannot be
//! reached.
//!
//! burn's `cuda` links LLVM's static libraries. The build script of `tracel-llvm-bundler` downloads them from
//! GitHub into the user's data directory, and takes what is there already. PyPI has the same libraries of the
//! next patch version; a firewall that lets packages through, or a mirror of them, is enough for that. Each
//! verb that builds for CUDA does this by itself.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::cargo;
use crate::usage::failed;

/// The package whose build script needs LLVM.
const BUNDLER: &str = "tracel-llvm-bundler";
/// The version of it for which the packages below were tried.
const BUNDLER_VERSION: &str = "23.1.0-4";
/// 92 MB, 397 MB unpacked. LLVM 23.1.1, all targets.
const PACKAGES: [&str; 2] = ["mlc-llvm-static==23.1.1.post0", "mlc-llvm-static-extra-targets==23.1.1.post0"];
/// Where the packages have LLVM, below the directory that they are installed into.
const LLVM_IN_PACKAGES: &str = "mlc_llvm_static/static";
/// The file that tells the bundler that a directory has all of LLVM.
const INSTALLED: &str = ".tracel-llvm-installed";
/// Where the bundler looks: below this variable, or below `.local/share` of the user's home directory.
const DATA_HOME: &str = "XDG_DATA_HOME";
/// The version of CUDA's interface that is built against where no toolkit says one: 13.0.
const CUDA_VERSION: (&str, &str) = ("CUDARC_CUDA_VERSION", "13000");
/// Asks for the head of a file of the network. Python, since the packages need it anyway.
const REACHES: &str = "import sys, urllib.request as u; \
                       u.urlopen(u.Request(sys.argv[1], method='HEAD'), timeout=20)";

/// The parts of a machine that are looked at.
struct Machine<'a> {
    /// Whether a directory has all of LLVM.
    has_llvm: &'a dyn Fn(&Path) -> bool,
    /// The user's data directory, where the bundler looks.
    data_home: Option<PathBuf>,
    /// The one that this command makes.
    own_data_home: PathBuf,
    /// Whether there is Python, without which no package can be installed.
    has_python: &'a dyn Fn() -> bool,
    /// Whether an address of the network can be read.
    reaches: &'a dyn Fn(&str) -> bool,
}

/// Where a build gets LLVM from.
#[derive(Debug, PartialEq)]
enum Source {
    /// It is in the user's data directory.
    Installed,
    /// It is in the directory that this command has made.
    Prepared,
    /// The build downloads it, as burn does everywhere.
    Download,
    /// The packages of PyPI have it.
    Packages,
}

/// Sets it up, and says where it is.
pub fn run() -> ExitCode {
    match set_up() {
        Ok((source, data_home)) => {
            let where_it_is = match source {
                Source::Installed => "LLVM is in the user's data directory already".to_owned(),
                Source::Download => "the build downloads LLVM itself: nothing was done".to_owned(),
                Source::Prepared | Source::Packages => format!(
                    "LLVM is below {}; the verbs that build for CUDA use it. For another build: {DATA_HOME}={}",
                    data_home.display(),
                    data_home.display()
                ),
            };
            eprintln!("{where_it_is}");
            ExitCode::SUCCESS
        }
        Err(message) => failed(&message),
    }
}

/// The variables of a cargo process that builds these features: none without CUDA. LLVM is set up first. The
/// error is the exit status to end with.
pub fn variables_for(features: &[String]) -> Result<Vec<(&'static str, String)>, ExitCode> {
    if !features.iter().any(|feature| feature.ends_with("/cuda")) {
        return Ok(Vec::new());
    }
    let (source, data_home) = set_up().map_err(|message| failed(&message))?;
    let mut variables = Vec::new();
    if matches!(source, Source::Prepared | Source::Packages) {
        variables.push((DATA_HOME, data_home.display().to_string()));
    }
    let (name, version) = CUDA_VERSION;
    if std::env::var_os(name).is_none() && !cargo::succeeds("nvcc", &["--version"]) {
        variables.push((name, version.to_owned()));
    }
    Ok(variables)
}

/// Finds LLVM, and installs it where neither it nor its download is there. Returns where it is from, and the
/// data directory that this command makes.
fn set_up() -> Result<(Source, PathBuf), String> {
    let lock = cargo::root().join("Cargo.lock");
    let lock = std::fs::read_to_string(&lock)
        .map_err(|error| format!("{} cannot be read: {error}", lock.display()))?;
    let version = version_in(&lock).ok_or_else(|| format!("Cargo.lock has no {BUNDLER}"))?;
    let own_data_home = cargo::target().unwrap_or_else(|_| cargo::root().join("target")).join("llvm");
    let machine = Machine {
        has_llvm: &|directory| directory.join(INSTALLED).exists(),
        data_home: data_home(|name| std::env::var_os(name).map(PathBuf::from)),
        own_data_home: own_data_home.clone(),
        has_python: &|| cargo::succeeds("python3", &["-m", "pip", "--version"]),
        reaches: &|address| cargo::succeeds("python3", &["-c", REACHES, address]),
    };
    let source = source(&version, &machine)?;
    if source == Source::Packages {
        install(&version, &own_data_home)?;
    }
    Ok((source, own_data_home))
}

fn source(version: &str, machine: &Machine<'_>) -> Result<Source, String> {
    let has = |data_home: &Path| (machine.has_llvm)(&llvm_below(data_home, version));
    if machine.data_home.as_deref().is_some_and(has) {
        return Ok(Source::Installed);
    }
    if has(&machine.own_data_home) {
        return Ok(Source::Prepared);
    }
    let address = format!("https://github.com/tracel-ai/tracel-llvm/releases/download/v{version}");
    // Without Python the build has to try it.
    if !(machine.has_python)() || (machine.reaches)(&format!("{address}/{}", archive())) {
        return Ok(Source::Download);
    }
    match version == BUNDLER_VERSION {
        true => Ok(Source::Packages),
        false => Err(format!(
            "LLVM for {BUNDLER} {version} cannot be downloaded here, and packages of PyPI are known for \
             {BUNDLER_VERSION} alone: put what {address} has into {}, or change xtask/src/llvm.rs",
            llvm_below(&machine.own_data_home, version).display()
        )),
    }
}

/// The name of the archive for this machine, as the bundler has it.
fn archive() -> String {
    let system = match std::env::consts::OS {
        "macos" => "macos",
        "windows" => "windows",
        _ => "linux",
    };
    let processor = if std::env::consts::ARCH == "aarch64" { "AArch64" } else { "x64" };
    format!("{system}-{processor}.tar.xz")
}

/// Installs the packages, and puts their LLVM where the bundler looks. The file that says that all is there
/// comes last.
fn install(version: &str, data_home: &Path) -> Result<(), String> {
    eprintln!(
        "LLVM's download cannot be reached: installing {} from PyPI into {} (92 MB)",
        PACKAGES.join(" and "),
        data_home.display()
    );
    let packages = data_home.join("packages");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]);
    pip.args(["--no-deps", "--upgrade", "--target"]);
    let installed = pip.arg(&packages).args(PACKAGES).status();
    if !installed.is_ok_and(|status| status.success()) {
        return Err("pip could not install LLVM: see its messages above".to_owned());
    }
    let llvm = llvm_below(data_home, version);
    let failed = |error| format!("{} cannot be made: {error}", llvm.display());
    if let Some(parent) = llvm.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    link(&packages.join(LLVM_IN_PACKAGES), &llvm).map_err(failed)?;
    std::fs::write(llvm.join(INSTALLED), "").map_err(failed)
}

#[cfg(unix)]
fn link(to: &Path, at: &Path) -> std::io::Result<()> {
    if at.is_symlink() {
        std::fs::remove_file(at)?;
    }
    std::os::unix::fs::symlink(to, at)
}

#[cfg(not(unix))]
fn link(to: &Path, at: &Path) -> std::io::Result<()> {
    std::fs::rename(to, at)
}

/// Where the bundler of a version expects LLVM.
fn llvm_below(data_home: &Path, version: &str) -> PathBuf {
    data_home.join("tracel").join(format!("tracel-llvm-{version}"))
}

/// The user's data directory, as the bundler finds it.
fn data_home(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = variable(DATA_HOME).filter(|set| set.is_absolute());
    set.or_else(|| Some(variable("HOME")?.join(".local/share")))
}

/// The bundler's version in a lock file.
fn version_in(lock: &str) -> Option<String> {
    let lock: toml::Table = lock.parse().ok()?;
    let packages = lock.get("package")?.as_array()?;
    let bundler =
        packages.iter().find(|package| package.get("name").and_then(toml::Value::as_str) == Some(BUNDLER))?;
    Some(bundler.get("version")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is chosen where LLVM is in these data directories.
    fn chosen(version: &str, has: &[&str], has_python: bool, reaches: bool) -> Result<Source, String> {
        let has: Vec<PathBuf> =
            has.iter().map(|data_home| llvm_below(Path::new(data_home), version)).collect();
        source(
            version,
            &Machine {
                has_llvm: &|directory| has.iter().any(|llvm| llvm == directory),
                data_home: Some("/home/u/.local/share".into()),
                own_data_home: "/p/target/llvm".into(),
                has_python: &|| has_python,
                reaches: &|address| {
                    assert!(address.starts_with("https://") && address.contains(version), "{address}");
                    reaches
                },
            },
        )
    }

    #[test]
    fn nothing_is_installed_where_llvm_or_its_download_is_there() {
        let version = BUNDLER_VERSION;
        assert_eq!(chosen(version, &["/home/u/.local/share"], true, false), Ok(Source::Installed));
        assert_eq!(chosen(version, &["/p/target/llvm"], true, false), Ok(Source::Prepared));
        assert_eq!(chosen(version, &[], true, true), Ok(Source::Download));
        assert_eq!(chosen(version, &[], false, false), Ok(Source::Download));
        assert_eq!(chosen(version, &[], true, false), Ok(Source::Packages));
    }

    #[test]
    fn a_version_without_known_packages_is_an_error_that_says_what_to_do() {
        let error = chosen("99.0.0-1", &[], true, false).unwrap_err();
        assert!(
            error.contains("99.0.0-1") && error.contains("/p/target/llvm/tracel/tracel-llvm-99.0.0-1"),
            "{error}"
        );
        assert_eq!(chosen("99.0.0-1", &[], true, true), Ok(Source::Download));
    }

    #[test]
    fn the_lock_file_has_the_version_whose_packages_are_known() {
        let lock = std::fs::read_to_string(cargo::root().join("Cargo.lock")).unwrap();
        assert_eq!(version_in(&lock).as_deref(), Some(BUNDLER_VERSION));
        assert_eq!(version_in("version = 4"), None);
    }

    #[test]
    fn the_data_directory_is_the_one_where_the_bundler_looks() {
        let of = |set: &[(&str, &str)]| {
            data_home(|name| set.iter().find(|(set, _)| *set == name).map(|(_, value)| PathBuf::from(value)))
        };
        assert_eq!(of(&[("HOME", "/h"), (DATA_HOME, "/d")]), Some("/d".into()));
        assert_eq!(of(&[("HOME", "/h"), (DATA_HOME, "relative")]), Some("/h/.local/share".into()));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_build_without_cuda_needs_no_llvm() {
        assert_eq!(variables_for(&["digits/wgpu".to_owned()]), Ok(Vec::new()));
    }
}
