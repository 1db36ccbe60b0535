//! `cargo xtask train [EXAMPLE] [--backend B] ..`: builds an example for a backend, and becomes it.

use std::path::Path;
use std::process::ExitCode;

use crate::cargo;

const DEFAULT_EXAMPLE: &str = "digits";
const EXAMPLES: [&str; 2] = [DEFAULT_EXAMPLE, "char-lm"];
const BACKENDS: [&str; 4] = ["flex", "wgpu", "vulkan", "cuda"];
/// Exit status for wrong usage.
const USAGE: u8 = 2;

/// Everything but the example's name and the backend is the example's.
#[derive(clap::Args)]
pub struct Args {
    /// The example, digits unless named first; then --backend auto|flex|wgpu|vulkan|cuda and the example's flags
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "EXAMPLE | FLAGS")]
    arguments: Vec<String>,
}

/// What is to be built and started.
#[derive(Debug, PartialEq)]
struct Plan {
    example: String,
    backend: String,
    features: Vec<String>,
    arguments: Vec<String>,
}

/// Builds the example and runs it in this process's place, so that its exit status and signals are its own.
pub fn run(args: &Args) -> ExitCode {
    let plan = match plan(&args.arguments, gpu_is_present) {
        Ok(plan) => plan,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(USAGE);
        }
    };
    let mut build = vec!["build", "--workspace", "--bin", &plan.example];
    let features = plan.features.join(",");
    if !plan.features.is_empty() {
        build.extend(["--features", &features]);
    }
    if let Err(failed) = cargo::run(&build) {
        return failed;
    }
    cargo::become_program(&plan.example, |program| {
        program.args(["--backend", &plan.backend]).args(&plan.arguments);
    })
}

fn plan(arguments: &[String], gpu_is_present: fn() -> bool) -> Result<Plan, String> {
    let mut arguments = arguments.iter();
    let mut example = None;
    let mut backend = "auto".to_owned();
    let mut rest: Vec<String> = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--backend" {
            backend = arguments.next().ok_or("--backend needs a name")?.clone();
        } else if let Some(name) = argument.strip_prefix("--backend=") {
            backend = name.to_owned();
        } else if !argument.starts_with('-') && rest.is_empty() && example.is_none() {
            example = Some(argument.as_str());
        } else {
            rest.push(argument.clone());
        }
    }
    let example = example.unwrap_or(DEFAULT_EXAMPLE).to_owned();
    if !EXAMPLES.contains(&example.as_str()) {
        return Err(format!("there is no example {example:?}; there is {}", EXAMPLES.join(", ")));
    }
    if backend == "auto" {
        backend = if gpu_is_present() {
            "wgpu".to_owned()
        } else {
            eprintln!("no GPU found: training on the CPU (--backend flex)");
            "flex".to_owned()
        };
    }
    if !BACKENDS.contains(&backend.as_str()) {
        return Err(format!("there is no backend {backend:?}; there are auto, {}", BACKENDS.join(", ")));
    }
    let mut features = Vec::new();
    if backend != "flex" {
        features.push(format!("{example}/{backend}"));
    }
    let wants_mnist = rest.iter().any(|argument| argument == "--data=mnist")
        || rest.windows(2).any(|pair| pair[0] == "--data" && pair[1] == "mnist");
    if wants_mnist {
        features.push(format!("{example}/mnist"));
    }
    Ok(Plan { example, backend, features, arguments: rest })
}

/// Looks for a GPU without compiling anything: device files on Linux, the platform on macOS.
fn gpu_is_present() -> bool {
    cfg!(target_os = "macos")
        || ["/dev/nvidia0", "/dev/kfd", "/dev/dri/renderD128", "/dev/dxg"]
            .iter()
            .any(|path| Path::new(path).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(words: &[&str], gpu: fn() -> bool) -> Result<Plan, String> {
        plan(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), gpu)
    }

    #[test]
    fn without_anything_it_is_digits_on_the_cpu_with_no_feature() {
        let plan = planned(&[], || false).unwrap();
        assert_eq!((plan.example.as_str(), plan.backend.as_str()), ("digits", "flex"));
        assert!(plan.features.is_empty() && plan.arguments.is_empty());
    }

    #[test]
    fn a_gpu_is_used_where_there_is_one() {
        assert_eq!(planned(&[], || true).unwrap().features, ["digits/wgpu"]);
        assert_eq!(planned(&["--backend", "flex"], || true).unwrap().features, Vec::<String>::new());
        for words in [["digits", "--backend=cuda"], ["--backend=cuda", "digits"]] {
            assert_eq!(planned(&words, || false).unwrap().features, ["digits/cuda"]);
        }
    }

    #[test]
    fn the_examples_flags_are_handed_on() {
        let plan =
            planned(&["digits", "--epochs", "4", "--backend", "flex", "--set", "seed=1"], || false).unwrap();
        assert_eq!(plan.arguments, ["--epochs", "4", "--set", "seed=1"]);
        let plan = planned(&["--data", "mnist"], || false).unwrap();
        assert_eq!(plan.features, ["digits/mnist"]);
    }

    #[test]
    fn unknown_names_are_wrong_usage() {
        assert!(planned(&["numbers"], || false).unwrap_err().contains("digits"));
        assert!(planned(&["--backend", "tpu"], || false).unwrap_err().contains("vulkan"));
        assert!(planned(&["--backend"], || false).is_err());
    }
}
