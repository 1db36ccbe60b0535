//! `--backend auto`: whether this machine has a GPU, found out without compiling anything.
//!
//! Device files and `nvidia-smi` tell that there is one; the driver's manifests tell whether burn's wgpu
//! backend reaches it, through Vulkan. On macOS and Windows the platform itself brings Metal and DirectX.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where Vulkan's loader looks for the manifests of drivers, below the root of the file system.
const MANIFESTS: [&str; 4] = [
    "usr/share/vulkan/icd.d",
    "usr/local/share/vulkan/icd.d",
    "etc/vulkan/icd.d",
    "run/opengl-driver/share/vulkan/icd.d",
];
/// Variables that name such manifests, or directories of them, in place of those directories.
const ONLY_MANIFESTS: [&str; 2] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];
/// A variable that names some beside those directories. It does not count beside one of the others.
const MORE_MANIFESTS: &str = "VK_ADD_DRIVER_FILES";
/// How Mesa's software rasterizer names its manifest. It is not a GPU.
const SOFTWARE: &str = "lvp_icd";
/// How NVIDIA's driver names its manifest.
const NVIDIA: &str = "nvidia_icd";
/// How long `nvidia-smi` may take; with a wedged driver it never answers.
const NVIDIA_SMI_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The backend to train on, and the line that says why.
#[derive(Debug, PartialEq)]
pub struct Choice {
    pub backend: &'static str,
    pub why: String,
}

/// The parts of a machine that are looked at.
pub struct Machine<'a> {
    /// `std::env::consts::OS`.
    pub os: &'a str,
    /// The root of the file system.
    pub root: PathBuf,
    /// A variable of the process.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Whether `nvidia-smi` lists a GPU.
    pub nvidia_smi: &'a dyn Fn() -> bool,
}

/// What to train on, here.
pub fn choose() -> Choice {
    choose_on(&Machine {
        os: std::env::consts::OS,
        root: PathBuf::from("/"),
        variable: &|name| std::env::var(name).ok(),
        nvidia_smi: &nvidia_smi_lists_a_gpu,
    })
}

fn choose_on(machine: &Machine<'_>) -> Choice {
    let gpu = |found: &str, backend| Choice {
        backend,
        why: format!("{found}: computing on the GPU (--backend {backend})"),
    };
    let cpu = |found: &str| Choice {
        backend: "flex",
        why: format!("{found}: computing on the CPU (--backend flex)"),
    };
    match machine.os {
        "macos" | "ios" => return gpu("macOS has Metal", "wgpu"),
        "windows" => return gpu("Windows has DirectX 12", "wgpu"),
        _ => {}
    }
    let Some((found, is_nvidia)) = machine.device() else { return cpu("no GPU found") };
    if machine.has_vulkan_driver(is_nvidia) {
        return gpu(&format!("{found} found"), "wgpu");
    }
    if is_nvidia && machine.has_cuda() {
        return gpu(&format!("{found} found, with CUDA and without a Vulkan driver"), "cuda");
    }
    cpu(&format!("{found} found, but no Vulkan driver for it"))
}

impl Machine<'_> {
    /// A GPU's name for a message, and whether it is NVIDIA's.
    fn device(&self) -> Option<(String, bool)> {
        let named = |path: &str| self.root.join(path).exists().then(|| format!("a GPU (/{path})"));
        let numbered = |directory: &str, prefix: &str| {
            let names = names_in(&self.root.join(directory));
            let name = names.into_iter().find(|name| {
                let number = name.strip_prefix(prefix);
                number.is_some_and(|number| {
                    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
                })
            })?;
            Some(format!("a GPU (/{directory}/{name})"))
        };
        // WSL reaches the card of Windows' driver through this one; `nvidia-smi` tells whose it is.
        let wsl = || named("dev/dxg").map(|found| (found, (self.nvidia_smi)()));
        numbered("dev", "nvidia")
            .map(|found| (found, true))
            .or_else(|| {
                numbered("dev/dri", "renderD").or_else(|| named("dev/kfd")).map(|found| (found, false))
            })
            .or_else(wsl)
            .or_else(|| (self.nvidia_smi)().then(|| ("a GPU (nvidia-smi)".to_owned(), true)))
    }

    /// Whether a driver for a GPU is installed where Vulkan's loader looks for it.
    fn has_vulkan_driver(&self, is_nvidia: bool) -> bool {
        let named = |variable: &str| -> Vec<String> {
            let paths = (self.variable)(variable).unwrap_or_default();
            std::env::split_paths(&paths).flat_map(|path| self.manifests_at(&path)).collect()
        };
        let only: Vec<String> = ONLY_MANIFESTS.into_iter().flat_map(named).collect();
        let installed = MANIFESTS.iter().flat_map(|directory| names_in(&self.root.join(directory)));
        let of_gpu = |name: &String| match is_nvidia {
            true => name.starts_with(NVIDIA),
            false => name.ends_with(".json") && !name.starts_with(SOFTWARE) && !name.starts_with(NVIDIA),
        };
        if ONLY_MANIFESTS.iter().any(|name| (self.variable)(name).is_some_and(|paths| !paths.is_empty())) {
            only.iter().any(of_gpu)
        } else {
            installed.chain(named(MORE_MANIFESTS)).any(|name| of_gpu(&name))
        }
    }

    /// The names of the manifests that a path of a variable stands for: of itself, or of those in it.
    fn manifests_at(&self, path: &Path) -> Vec<String> {
        let path = path.strip_prefix("/").map_or_else(|_| path.to_path_buf(), |path| self.root.join(path));
        if path.is_dir() { names_in(&path) } else { vec![file_name(&path)] }
    }

    /// Whether CUDA's toolkit is there, whose compiler burn's backend needs while a program runs.
    fn has_cuda(&self) -> bool {
        ["CUDA_PATH", "CUDA_HOME"].iter().any(|name| (self.variable)(name).is_some())
            || self.root.join("usr/local/cuda").exists()
    }
}

/// The names in a directory, sorted; none where it cannot be read.
fn names_in(directory: &Path) -> Vec<String> {
    let Ok(entries) = directory.read_dir() else { return Vec::new() };
    let mut names: Vec<String> = entries.flatten().map(|entry| file_name(&entry.path())).collect();
    names.sort();
    names
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether Vulkan's loader finds any driver, of a GPU or in software.
pub fn has_any_vulkan_driver(root: &Path) -> bool {
    MANIFESTS
        .iter()
        .any(|directory| names_in(&root.join(directory)).iter().any(|name| name.ends_with(".json")))
}

/// `nvidia-smi -L` prints a line for each GPU, and fails where it reaches no driver.
fn nvidia_smi_lists_a_gpu() -> bool {
    let deadline = Instant::now() + NVIDIA_SMI_TIMEOUT;
    let program = Command::new("nvidia-smi")
        .arg("-L")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut program) = program else { return false };
    while Instant::now() < deadline {
        match program.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => thread::sleep(POLL_INTERVAL),
            Err(_) => break,
        }
    }
    // It may not even die while the driver holds it: it is left to itself then.
    let _ = program.kill();
    false
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A directory that looks like the root of a machine with these files.
    struct Root(PathBuf);

    impl Root {
        fn with(name: &str, files: &[&str]) -> Self {
            let root = std::env::temp_dir().join(format!("xtask-gpu-{name}-{}", std::process::id()));
            for file in files {
                let path = root.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            Self(root)
        }

        fn choice(&self, variable: &dyn Fn(&str) -> Option<String>, nvidia_smi: bool) -> Choice {
            let nvidia_smi = &|| nvidia_smi;
            choose_on(&Machine { os: "linux", root: self.0.clone(), variable, nvidia_smi })
        }

        fn backend(&self) -> &'static str {
            self.choice(&|_| None, false).backend
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const NVIDIA_DRIVER: &str = "usr/share/vulkan/icd.d/nvidia_icd.json";
    const AMD_DRIVER: &str = "usr/share/vulkan/icd.d/radeon_icd.x86_64.json";
    const LAVAPIPE: &str = "usr/share/vulkan/icd.d/lvp_icd.x86_64.json";

    #[test]
    fn without_a_gpu_it_is_the_cpu_and_one_line_says_so() {
        let choice = Root::with("none", &[LAVAPIPE]).choice(&|_| None, false);
        assert_eq!(choice.backend, "flex");
        assert_eq!(choice.why, "no GPU found: computing on the CPU (--backend flex)");
    }

    #[test]
    fn a_gpu_with_its_driver_is_trained_on_by_wgpu() {
        assert_eq!(Root::with("nvidia", &["dev/nvidia0", NVIDIA_DRIVER]).backend(), "wgpu");
        assert_eq!(Root::with("amd", &["dev/kfd", AMD_DRIVER]).backend(), "wgpu");
        assert_eq!(Root::with("render", &["dev/dri/renderD129", LAVAPIPE, AMD_DRIVER]).backend(), "wgpu");
    }

    #[test]
    fn a_gpu_without_a_driver_that_reaches_it_is_not() {
        let root = Root::with("no-driver", &["dev/dri/renderD128", LAVAPIPE]);
        let choice = root.choice(&|_| None, false);
        assert_eq!(choice.backend, "flex");
        assert!(
            choice.why.starts_with("a GPU (/dev/dri/renderD128) found, but no Vulkan driver"),
            "{choice:?}"
        );
        // The control device alone is not a card, and another vendor's driver does not reach NVIDIA's.
        assert_eq!(Root::with("control", &["dev/nvidiactl", NVIDIA_DRIVER]).backend(), "flex");
        assert_eq!(Root::with("other", &["dev/nvidia0", AMD_DRIVER]).backend(), "flex");
    }

    #[test]
    fn nvidias_card_without_vulkan_is_trained_on_by_cuda_where_that_is_installed() {
        assert_eq!(Root::with("cuda", &["dev/nvidia0", "usr/local/cuda/version.json"]).backend(), "cuda");
        let root = Root::with("cuda-path", &["dev/nvidia3"]);
        let cuda_path = |name: &str| (name == "CUDA_PATH").then(|| "/opt/cuda".to_owned());
        assert_eq!(root.choice(&cuda_path, false).backend, "cuda");
    }

    #[test]
    fn drivers_that_a_variable_names_are_the_only_ones() {
        let root = Root::with("variable", &["dev/nvidia0", NVIDIA_DRIVER]);
        let software = |name: &str| (name == "VK_ICD_FILENAMES").then(|| format!("/{LAVAPIPE}"));
        assert_eq!(root.choice(&software, false).backend, "flex");
        let root = Root::with("variable-only", &["dev/nvidia0"]);
        let nvidia =
            |name: &str| (name == "VK_DRIVER_FILES").then(|| format!("/{LAVAPIPE}:/{NVIDIA_DRIVER}"));
        assert_eq!(root.choice(&nvidia, false).backend, "wgpu");
    }

    #[test]
    fn drivers_can_be_named_beside_those_that_are_installed_and_by_their_directory() {
        let of = |variable: &'static str, path: &'static str| {
            move |name: &str| (name == variable).then(|| path.to_owned())
        };
        let root = Root::with("added", &["dev/nvidia0", NVIDIA_DRIVER, "opt/amd_icd.json"]);
        assert_eq!(root.choice(&of("VK_ADD_DRIVER_FILES", "/opt/amd_icd.json"), false).backend, "wgpu");
        assert_eq!(root.choice(&of("VK_DRIVER_FILES", "/opt"), false).backend, "flex");
        let root = Root::with("directory", &["dev/nvidia0", "opt/nvidia_icd.json"]);
        for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES"] {
            assert_eq!(root.choice(&of(variable, "/opt"), false).backend, "wgpu", "{variable}");
        }
        // Those that are added do not count beside the only ones.
        let both = |name: &str| match name {
            "VK_DRIVER_FILES" => Some(format!("/{LAVAPIPE}")),
            "VK_ADD_DRIVER_FILES" => Some("/opt".to_owned()),
            _ => None,
        };
        assert_eq!(root.choice(&both, false).backend, "flex");
    }

    #[test]
    fn nvidia_smi_tells_of_a_card_without_a_device_file() {
        let root = Root::with("smi", &[NVIDIA_DRIVER]);
        assert_eq!(root.choice(&|_| None, true).backend, "wgpu");
        assert_eq!(root.choice(&|_| None, false).backend, "flex");
    }

    #[test]
    fn other_platforms_bring_their_own() {
        for os in ["macos", "windows"] {
            let machine =
                Machine { os, root: PathBuf::from("/nowhere"), variable: &|_| None, nvidia_smi: &|| false };
            assert_eq!(choose_on(&machine).backend, "wgpu");
        }
    }
}
