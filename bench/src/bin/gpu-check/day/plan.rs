//! The steps of the day: what each is, how long it may take, and in which order: what is asked most comes
//! first.

use std::path::Path;
use std::time::Duration;

use backend::Backend;

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// On a card.
    Card,
    /// On processors, with tiny models.
    Rehearsal,
    /// The same with as few steps as can be.
    Smallest,
}

/// One process of this program.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name, also of its files.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// How long it may take.
    pub limit: Duration,
    /// Whether the day fails with it. Some ways to train are only tried: burn or the machine may not have
    /// them.
    pub must_pass: bool,
}

/// How much longer a step may take in a rehearsal: its machine is slow, and may be busy. The whole has a
/// limit there too.
const PATIENCE: u64 = 4;

/// What the sizes of a day follow from.
struct Planner<'a> {
    extent: Extent,
    python: &'a Path,
    out: &'a Path,
    steps: Vec<Step>,
}

/// All steps.
pub fn steps(extent: Extent, backends: &[Backend], python: &Path, out: &Path) -> Vec<Step> {
    let mut planner = Planner { extent, python, out, steps: Vec::new() };
    planner.add("environment", 20, true, &["environment"]);
    // One backend whole, then the other: what comes last is what may be left out.
    for backend in backends {
        planner.check(*backend, "small", 100);
        planner.train(*backend, "char-lm-small", "0,20,1", 110);
        if extent != Extent::Smallest {
            planner.train(*backend, "digits", "0", 50);
        }
        if extent == Extent::Card {
            planner.check(*backend, "gpt2-small", 110);
        }
        planner.devices(*backend);
    }
    if let (Extent::Card, Some(first)) = (extent, backends.first()) {
        planner.train(*first, "char-lm-gpt2-small", "0,20,1", 120);
    }
    planner.steps
}

impl Planner<'_> {
    fn add(&mut self, name: &str, limit: u64, must_pass: bool, arguments: &[&str]) {
        let limit = if self.extent == Extent::Card { limit } else { limit * PATIENCE };
        self.steps.push(Step {
            name: name.to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            limit: Duration::from_secs(limit),
            must_pass,
        });
    }

    /// Training, saving and resuming: the digits with the first size of char-lm only.
    fn check(&mut self, backend: Backend, size: &str, limit: u64) {
        let name = format!("check-{backend}-{size}");
        let json = self.out.join(format!("{name}.jsonl")).display().to_string();
        let jobs = if size == "small" { "digits,char-lm" } else { "char-lm" };
        let (backend, steps) =
            (backend.to_string(), if self.extent == Extent::Smallest { "4" } else { "20" });
        let mut arguments = vec!["--backend", &backend, "--jobs", jobs, "--steps", steps, "--json", &json];
        match self.extent {
            Extent::Card => arguments.extend(["--size", size]),
            Extent::Rehearsal | Extent::Smallest => {
                arguments.extend(["--size", "tiny", "--quick", "--saves", "1"]);
            }
        }
        self.add(&name, limit, true, &arguments);
    }

    /// How fast it trains, without saves and with them, beside PyTorch and Lightning where there are any.
    fn train(&mut self, backend: Backend, model: &str, save_every: &str, limit: u64) {
        let name = format!("train-{backend}-{model}");
        let json = self.out.join(format!("{name}.jsonl")).display().to_string();
        let (python, root) = (self.python.display().to_string(), self.out.display().to_string());
        let backend = backend.to_string();
        let mut arguments = vec!["bench-train", "--backend", &backend, "--python", &python, "--root", &root];
        arguments.extend(["--json", &json, "--rounds", "1", "--contenders", "ours,burn,torch,lightning"]);
        let per_process = (limit / 2).to_string();
        arguments.extend(["--limit", &per_process]);
        match self.extent {
            // On a card the usual numbers of steps would take milliseconds.
            Extent::Card => {
                let steps = if model == "digits" { "450" } else { "60" };
                arguments.extend(["--models", model, "--save-every", save_every, "--steps", steps]);
            }
            Extent::Rehearsal | Extent::Smallest => {
                let model = if model == "digits" { model } else { "char-lm-quick" };
                let save_every = if save_every == "0" { "0" } else { "0,1" };
                arguments.extend([
                    "--models",
                    model,
                    "--save-every",
                    save_every,
                    "--quick",
                    "--threads",
                    "1",
                ]);
            }
        }
        self.add(&name, limit, true, &arguments);
    }

    /// Two devices, and DDP. burn has collectives for CUDA alone, and one card may not be two of its devices.
    fn devices(&mut self, backend: Backend) {
        let name = if backend == Backend::Flex { "cpu".to_owned() } else { backend.to_string() };
        let (first, second) = (format!("{name}:0"), format!("{name}:1"));
        let way = |more: &[&str]| {
            let mut arguments = vec!["devices".to_owned(), "--device".to_owned(), first.clone()];
            arguments.extend(more.iter().map(|word| (*word).to_owned()));
            arguments
        };
        let ways = [
            ("one-device-twice", way(&["--device", &first]), true),
            ("ddp-on-one-device", way(&["--ddp"]), false),
            ("two-devices", way(&["--device", &second]), false),
            ("ddp-on-two-devices", way(&["--device", &second, "--ddp"]), false),
        ];
        for (way, arguments, must_pass) in ways {
            if self.extent == Extent::Smallest && way.contains("two") {
                continue;
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            self.add(&format!("{way}-{backend}"), 20, must_pass, &arguments);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_s_day_has_every_step_of_both_backends_and_what_must_be_known_comes_first() {
        let steps =
            steps(Extent::Card, &[Backend::Cuda, Backend::Vulkan], "python3".as_ref(), "/out".as_ref());
        let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names[..3], ["environment", "check-cuda-small", "train-cuda-char-lm-small"]);
        for name in ["check-cuda-gpt2-small", "check-vulkan-gpt2-small", "ddp-on-one-device-cuda"] {
            assert!(names.contains(&name), "{names:?}");
        }
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
    }
}
