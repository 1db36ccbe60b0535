//! Twenty processes read the best checkpoint while a run replaces it two hundred times: a thousand times, and
//! more, with `REPLACEMENTS=1000`.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use burn::nn::{Linear, LinearConfig};
use burn_ckpt::plumbing::Limits;
use burn_ckpt::{Checkpoint, Section};
use serde_json::{Value, json};
use system_tests::backend;
use system_tests::run_files::in_memory;
use system_tests::saves_by_hand::BestWriter;

/// How often, unless the environment has another number.
const REPLACEMENTS: u64 = 200;
const READERS: usize = 20;
/// The run's directory, for a process that reads.
const RUN: &str = "RUN_TO_READ";
/// The file that ends the readers.
const END: &str = "end";

#[test]
fn twenty_processes_never_see_a_missing_partial_or_mismatching_best() {
    let test = "twenty_processes_never_see_a_missing_partial_or_mismatching_best";
    read_while_it_is_replaced(test, Limits::READER, replacements());
}

#[test]
fn nor_one_of_several_files() {
    // A tensor in each.
    let limits = Limits { tensors: 1, ..Limits::READER };
    read_while_it_is_replaced("nor_one_of_several_files", limits, replacements() / 4);
}

fn replacements() -> u64 {
    let asked_for = std::env::var("REPLACEMENTS").ok();
    asked_for.map_or(REPLACEMENTS, |number| {
        number.parse().unwrap_or_else(|error| panic!("REPLACEMENTS={number}: {error}"))
    })
}

fn read_while_it_is_replaced(test: &str, limits: Limits, replacements: u64) {
    if let Some(run) = std::env::var_os(RUN) {
        return read_until_the_end(Path::new(&run));
    }
    let run = in_memory();
    let mut writer = Writer::new(run.path(), limits);
    writer.save(1);
    let readers: Vec<Child> = (0..READERS).map(|_| reader(test, run.path())).collect();
    for step in 2..=replacements {
        writer.save(step);
    }
    let end = writer.writer.finish();
    assert!(end.is_complete && end.unmoved_link.is_none());
    let failed: Vec<_> = end.reports.iter().filter(|report| report.outcome.is_err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    std::fs::write(run.path().join(END), "").unwrap();
    let mut reads = Vec::new();
    for reader in readers {
        let output = reader.wait_with_output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
        let read = printed.split("read it ").nth(1).unwrap().split(' ').next().unwrap();
        reads.push(read.parse::<u64>().unwrap());
    }
    println!(
        "{READERS} processes read it {} times while it was replaced {replacements} times",
        reads.iter().sum::<u64>()
    );
    assert!(reads.iter().all(|read| *read > 0), "{reads:?}");
    let left = burn_ckpt::Catalog::scan(&burn_ckpt::RunLayout::at(run.path())).unwrap();
    assert_eq!((left.entries.len(), left.broken.len()), (1, 0));
}

/// This test in a process of its own, as a reader.
fn reader(test: &str, run: &Path) -> Child {
    let (_, module) = module_path!().split_once("::").unwrap();
    let name = format!("{module}::{test}");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &name, "--nocapture"]).env(RUN, run);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Reads the best checkpoint by its link again and again. What is read must fit together.
fn read_until_the_end(run: &Path) {
    let (mut reads, mut newest) = (0_u64, 0);
    while reads == 0 || !run.join(END).exists() {
        let checkpoint = Checkpoint::open(run.join("best_val_loss")).unwrap();
        let metadata = checkpoint.verify().unwrap();
        let step = metadata.global_step;
        assert_eq!(checkpoint.trainer_state::<Value>().unwrap()["step"], step);
        let model = checkpoint.load_into(LinearConfig::new(4, 2).init(&backend::device())).unwrap();
        assert_eq!(model.weight.val().into_data().iter::<f32>().next(), Some(step as f32));
        assert!(step >= newest, "{step} after {newest}");
        newest = step;
        reads += 1;
    }
    println!("read it {reads} times");
}

/// A run whose best checkpoint is replaced by each save.
struct Writer {
    writer: BestWriter,
    model: Linear,
}

impl Writer {
    fn new(run: &Path, limits: Limits) -> Self {
        let model = LinearConfig::new(4, 2).init(&backend::device());
        Self { writer: BestWriter::start(run, limits), model }
    }

    fn save(&mut self, step: u64) {
        let mut model = self.model.clone();
        model.weight = model.weight.map(|weight| weight.zeros_like() + step as f64);
        self.writer.save(
            step,
            move || Section::from_module(&model),
            |save| {
                save.trainer_state = Box::new(move |_| json!({ "step": step }));
                save.urgent = true;
            },
        );
        let directory = &self.writer.directory;
        if step == 1 {
            // The readers need one to begin with.
            while !directory.join("step=1.ckpt").exists() || !directory.join("../best_val_loss.ckpt").exists()
            {
                std::thread::yield_now();
            }
        }
    }
}
