//! `cargo xtask train [EXAMPLE] [--backend B] ..`: builds an example for a backend, and becomes it.

use std::process::ExitCode;

use crate::backend::Backend;
use crate::gpu::{self, Choice};
use crate::program::Program;
use crate::usage::wrong_usage;

const DEFAULT_EXAMPLE: &str = "digits";
const EXAMPLES: [&str; 2] = [DEFAULT_EXAMPLE, "char-lm"];

/// Everything but the example's name and the backend is the example's.
#[derive(clap::Args)]
pub struct Args {
    /// The example, digits unless named first; then --backend auto|flex|wgpu|vulkan|cuda or --device DEV..,
    /// --autotune (measure which kernels are fastest), and the example's flags
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
    let plan = match plan(&args.arguments, gpu::choose) {
        Ok(plan) => plan,
        Err(message) => return wrong_usage(&message),
    };
    let backend = ["--backend".to_owned(), plan.backend];
    Program::new(&plan.example)
        .features(plan.features)
        .build_and_become(backend.iter().chain(&plan.arguments))
}

fn plan(arguments: &[String], choose: fn() -> Choice) -> Result<Plan, String> {
    let devices = devices(arguments)?;
    // Named devices say by themselves what has to be built.
    let choose = if devices.is_empty() { choose } else { on_named_devices };
    let mut backend = Backend::chosen(arguments, choose)?;
    let names_example = backend.rest.first().is_some_and(|argument| !argument.starts_with('-'));
    let example = if names_example { backend.rest.remove(0) } else { DEFAULT_EXAMPLE.to_owned() };
    if !EXAMPLES.contains(&example.as_str()) {
        return Err(format!(
            "there is no example {example:?}; the examples with flags are {}. Run minimal and finetune by `cargo run --bin NAME`",
            EXAMPLES.join(" and ")
        ));
    }
    let mut features = backend.features(&example);
    for feature in devices.iter().filter_map(|device| feature_of(device)) {
        let feature = format!("{example}/{feature}");
        if !features.contains(&feature) {
            features.push(feature);
        }
    }
    let rest = &backend.rest;
    let wants_mirror = rest.iter().any(|argument| {
        let assignment = argument.trim_start_matches("--set=");
        ["--mirror", "mirror"].contains(&assignment.split(['=', '.']).next().unwrap_or_default())
    });
    if wants_mirror {
        features.push(format!("{example}/mirror"));
    }
    let wants_mnist = rest.iter().any(|argument| argument == "--data=mnist")
        || rest.windows(2).any(|pair| pair[0] == "--data" && pair[1] == "mnist")
        || rest.iter().any(|argument| {
            ["data=mnist", "data=\"mnist\""].contains(&argument.trim_start_matches("--set="))
        });
    if wants_mnist && example == DEFAULT_EXAMPLE {
        features.push(format!("{example}/mnist"));
    }
    Ok(Plan { example, backend: backend.name, features, arguments: backend.rest })
}

fn on_named_devices() -> Choice {
    Choice { backend: "flex", why: "computing on the devices named".to_owned() }
}

/// The values of `--device`.
fn devices(arguments: &[String]) -> Result<Vec<String>, String> {
    let mut devices = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--device" {
            devices.push(rest.next().ok_or("--device needs a name")?.clone());
        } else if let Some(device) = argument.strip_prefix("--device=") {
            devices.push(device.to_owned());
        }
    }
    Ok(devices)
}

/// The feature that an example needs for a device. The example reports an invalid name.
fn feature_of(device: &str) -> Option<&'static str> {
    match device.split(':').next() {
        Some("remote") => Some("remote"),
        Some("wgpu") => Some("wgpu"),
        Some("vulkan") => Some("vulkan"),
        Some("cuda") => Some("cuda"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn planned(words: &[&str], choose: fn() -> Choice) -> Result<Plan, String> {
        plan(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), choose)
    }

    fn no_gpu() -> Choice {
        Choice { backend: "flex", why: "no GPU found".to_owned() }
    }

    fn a_gpu() -> Choice {
        Choice { backend: "wgpu", why: "a GPU found".to_owned() }
    }

    #[test]
    fn without_anything_it_is_digits_on_the_cpu_with_no_feature() {
        let plan = planned(&[], no_gpu).unwrap();
        assert_eq!((plan.example.as_str(), plan.backend.as_str()), ("digits", "flex"));
        assert!(plan.features.is_empty() && plan.arguments.is_empty());
    }

    #[test]
    fn a_gpu_is_used_where_there_is_one() {
        assert_eq!(planned(&[], a_gpu).unwrap().features, ["digits/wgpu"]);
        assert_eq!(planned(&["--backend", "flex"], a_gpu).unwrap().features, Vec::<String>::new());
        for words in [["digits", "--backend=cuda"], ["--backend=cuda", "digits"]] {
            assert_eq!(planned(&words, no_gpu).unwrap().features, ["digits/cuda"]);
        }
    }

    #[test]
    fn the_examples_flags_are_handed_on() {
        let plan =
            planned(&["digits", "--epochs", "4", "--backend", "flex", "--set", "seed=1"], no_gpu).unwrap();
        assert_eq!(plan.arguments, ["--epochs", "4", "--set", "seed=1"]);
        for mirror in [
            &["--mirror", "s3://b/p"][..],
            &["--mirror=s3://b"],
            &["--set", "mirror=s3://b"],
            &["--set=mirror.address=s3://b"],
        ] {
            assert_eq!(planned(mirror, no_gpu).unwrap().features, ["digits/mirror"]);
        }
        let plan = planned(&["--data", "mnist"], no_gpu).unwrap();
        assert_eq!(plan.features, ["digits/mnist"]);
        let plan = planned(&["--backend", "wgpu", "--autotune", "--epochs", "4"], no_gpu).unwrap();
        assert_eq!(
            (plan.features.join(" "), plan.arguments.join(" ")),
            ("digits/wgpu digits/autotune".into(), "--epochs 4".into())
        );
    }

    #[test]
    fn devices_say_what_is_built() {
        let words = ["--device", "remote:ws://a:1", "--device=cuda:0", "--device", "cpu", "--device=cuda:1"];
        let plan = planned(&words, a_gpu).unwrap();
        assert_eq!(
            (plan.backend.as_str(), plan.features.join(" ")),
            ("flex", "digits/remote digits/cuda".into())
        );
        assert_eq!(plan.arguments, words);
        let plan = planned(&["char-lm", "--backend=wgpu", "--device=wgpu:0"], no_gpu).unwrap();
        assert_eq!(plan.features, ["char-lm/wgpu"]);
        assert!(planned(&["--device"], no_gpu).is_err());
    }

    #[test]
    fn an_example_without_flags_is_wrong_usage_that_says_how_to_run_it() {
        let said = planned(&["minimal"], no_gpu).unwrap_err();
        assert!(said.contains("\"minimal\"") && said.contains("`cargo run --bin NAME`"), "{said}");
    }

    #[test]
    fn unknown_names_are_wrong_usage() {
        assert!(planned(&["numbers"], no_gpu).unwrap_err().contains("digits and char-lm"));
        assert!(planned(&["--backend", "tpu"], no_gpu).unwrap_err().contains("vulkan"));
        assert!(planned(&["--backend"], no_gpu).is_err());
    }
}
