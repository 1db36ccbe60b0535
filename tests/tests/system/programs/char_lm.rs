//! The language model: the same model is trained, measured, saved, resumed, and written with.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_ckpt::{Checkpoint, Contents, FromCheckpoint, Metadata, Section};
use char_lm::{BYTES, CharLm, CharLmConfig};
use jiff::Timestamp;
use system_tests::programs::commands::{build, ended_with, stdout, train_example};
use system_tests::programs::running::Running;
use system_tests::run_files::{checkpoints, metadata, run_dir, target};
use system_tests::soak::{Program, Signal, Soak};

/// A model that trains in seconds. Each of 20 optimizer steps an epoch takes two batches; the last batch of
/// validation has 5 windows.
const SMALL: &str = "--set width=32 --set layers=2 --set heads=2 --set context=32 --set batch_size=8 \
                     --set grads_accumulation=2 --set windows_per_epoch=320 --set valid_windows=45 \
                     --set learning_rate=0.01 --set dropout=0.1";
const CONTEXT: usize = 32;
const WINDOWS: usize = 45;
const STEPS_PER_EPOCH: usize = 20;

/// The programs as they are now.
fn programs() -> PathBuf {
    build(&["char-lm", "sample", "digits"])
}

fn small(root: &Path, epochs: usize) -> Command {
    let mut command = Command::new(programs().join("char-lm"));
    command.arg("--root").arg(root).args(["--run-id", "r1", "--epochs", &epochs.to_string()]);
    command.args(SMALL.split_whitespace());
    command
}

fn train(root: &Path, epochs: usize) {
    stdout(&small(root, epochs).output().unwrap());
}

fn sample(checkpoint: &Path, arguments: &[&str]) -> Output {
    Command::new(programs().join("sample")).arg(checkpoint).args(arguments).output().unwrap()
}

/// What it wrote.
fn sampled(checkpoint: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = sample(checkpoint, arguments);
    stdout(&output);
    output.stdout
}

/// What the model says of each byte after each place of a text.
fn logits(model: &CharLm, text: &[u8]) -> Vec<f64> {
    let bytes: Vec<i64> = text.iter().map(|byte| i64::from(*byte)).collect();
    let texts = Tensor::<2, Int>::from_data(TensorData::new(bytes, [1, text.len()]), &Device::flex());
    model.forward(texts).into_data().iter::<f32>().map(f64::from).collect()
}

/// The values of a metric in an epoch, batch by batch, or those of all epochs' ends.
fn logged(root: &Path, file: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(run_dir(root).join(file)).unwrap();
    text.lines().map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn it_learns_with_a_rate_that_rises_and_falls_as_it_is_set() {
    let root = tempfile::tempdir().unwrap();
    let arguments: Vec<&str> = ["char-lm", "--run-id", "r1", "--epochs", "2"].into_iter().collect();
    let small: Vec<&str> = SMALL.split_whitespace().collect();
    let printed = stdout(&train_example(root.path(), &[&arguments[..], &small].concat()));
    assert!(printed.contains("resume: cargo xtask train char-lm --backend flex"), "{printed}");

    let directory = checkpoints(root.path());
    assert_eq!(target(&directory.join("best_val_perplexity.ckpt")), Path::new("best/epoch=1-step=40.ckpt"));
    let first = *logged(root.path(), "valid/epoch-1/Perplexity.log").last().unwrap();
    let second = metadata(&directory.join("last.ckpt"))["metrics"]["val_perplexity"].as_f64().unwrap();
    // A model that knows nothing has 256.
    assert!(second < first && first < 80.0 && second < 25.0, "{first} {second}");

    // A tenth of the steps rises from nothing, the others fall along a cosine to a tenth.
    let rates: Vec<f64> = (1..=2).flat_map(|epoch| rates_of(root.path(), epoch)).collect();
    assert_eq!(rates.len(), 2 * STEPS_PER_EPOCH);
    for (step, rate) in rates.iter().enumerate() {
        let expected = match step {
            0..4 => 0.0025 * (step + 1) as f64,
            _ => 0.0055 + 0.0045 * ((step - 4) as f64 / 36.0 * std::f64::consts::PI).cos(),
        };
        assert!((rate - expected).abs() < 1e-12, "{step}: {rate} {expected}");
    }
}

/// The learning rate of each step of an epoch.
fn rates_of(root: &Path, epoch: usize) -> Vec<f64> {
    let rates = logged(root, &format!("train/epoch-{epoch}/Learning_Rate.log"));
    rates.chunks_exact(2).map(|batches| batches[1]).collect()
}

#[test]
fn a_finished_run_that_is_extended_continues_where_the_longer_schedule_is() {
    let (parts, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(parts.path(), 1);
    let (_, said) = ended_with(&small(parts.path(), 4).args(["--ckpt-path", "auto"]).output().unwrap(), 0);
    train(whole.path(), 4);
    for epoch in 2..=4 {
        assert_eq!(rates_of(parts.path(), epoch), rates_of(whole.path(), epoch), "{epoch}");
    }
    let first = rates_of(whole.path(), 2)[0];
    // Between 0.001 and 0.01: four digits.
    let jump = format!(
        "the learning rate of step 21 is {first:.6}, and 0.001000 in the run that saved the checkpoint"
    );
    assert!(said.contains(&jump), "{said}");
}

#[test]
fn the_perplexity_is_that_of_the_saved_model() {
    let root = tempfile::tempdir().unwrap();
    train(root.path(), 1);
    let model = CharLm::from_checkpoint(run_dir(root.path()).join("best"), &Device::flex()).unwrap();
    let (_, valid) = char_lm::load().unwrap();
    let mut information = 0.0;
    for number in 0..WINDOWS {
        let start = number * (valid.len() - CONTEXT) / WINDOWS;
        for (place, logits) in logits(&model, &valid[start..start + CONTEXT]).chunks(BYTES).enumerate() {
            let next = usize::from(valid[start + place + 1]);
            let all = logits.iter().map(|logit| logit.exp()).sum::<f64>();
            information -= (logits[next].exp() / all).ln();
        }
    }
    let perplexity = (information / (WINDOWS * CONTEXT) as f64).exp();
    let metrics = &metadata(&checkpoints(root.path()).join("last.ckpt"))["metrics"];
    let measured = metrics["val_perplexity"].as_f64().unwrap();
    assert!((perplexity / measured - 1.0).abs() < 1e-5, "{perplexity} {measured}");
    // burn's loss is the mean of the batches, the last of which is a smaller one.
    let loss = metrics["val_loss"].as_f64().unwrap();
    assert!((loss.exp() / measured - 1.0).abs() < 0.05, "{loss} {measured}");
}

#[test]
fn killed_and_resumed_it_ends_with_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = format!("--epochs 3 --save-every-steps 3 {SMALL}");
    let program = Program {
        name: "char-lm".to_owned(),
        path: programs().join("char-lm"),
        arguments: arguments.split_whitespace().map(str::to_owned).collect(),
        batches_per_step: 2,
    };
    let soak =
        Soak { program, kills: 2, signal: Signal::Kill, seed: 1, directory: directory.path().join("soak") };
    let report = soak.run().unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!((report.kills.total(), report.same.steps), (2, 3 * STEPS_PER_EPOCH as u64), "{report}");
}

#[test]
fn a_sample_has_the_length_that_was_asked_for_and_is_the_same_for_the_same_seed() {
    let root = tempfile::tempdir().unwrap();
    train(root.path(), 1);
    let best = run_dir(root.path()).join("best");
    let written = sampled(&best, &["--tokens", "150", "--seed", "3"]);
    assert_eq!(written.len(), 150);
    assert_eq!(written, sampled(&best, &["--tokens", "150", "--seed", "3"]));
    assert_ne!(written, sampled(&best, &["--tokens", "150", "--seed", "4"]));
    // It is longer than the context, and a shorter one is its beginning.
    assert_eq!(written[..20], sampled(&best, &["--tokens", "20", "--seed", "3"])[..]);
    assert!(sampled(&best, &["--tokens", "0"]).is_empty());
    // The text's bytes, not any.
    assert!(written.iter().all(u8::is_ascii), "{}", String::from_utf8_lossy(&written));

    // What is likeliest does not depend on the seed, and what is drawn among one byte is that.
    let greedy = sampled(&best, &["--tokens", "40", "--temperature", "0", "--seed", "1"]);
    assert_eq!(greedy, sampled(&best, &["--tokens", "40", "--temperature", "0", "--seed", "2"]));
    assert_eq!(greedy, sampled(&best, &["--tokens", "40", "--temperature", "2", "--top-k", "1"]));

    // Of a prompt the last bytes count, whichever they are.
    let long = [&[b'x'; 3 * CONTEXT][..], &[0xff, 0xfe], &[b'y'; CONTEXT - 2]].concat();
    let prompted = |prompt: &[u8]| {
        let mut command = Command::new(programs().join("sample"));
        command.arg(&best).args(["--tokens", "40", "--prompt"]).arg(OsStr::from_bytes(prompt));
        let output = command.output().unwrap();
        stdout(&output);
        output.stdout
    };
    assert_eq!(prompted(&long), prompted(&long[3 * CONTEXT..]));
    assert_ne!(prompted(&long), prompted(b"In the "));
    assert_eq!(prompted(b""), prompted(b"\n"));
}

#[test]
fn the_likeliest_text_is_what_the_whole_model_says() {
    let root = tempfile::tempdir().unwrap();
    train(root.path(), 2);
    let best = run_dir(root.path()).join("best");
    let model = CharLm::from_checkpoint(&best, &Device::flex()).unwrap();
    let prompt = "And he said unto them, ";
    // As many as it looks back at; each is computed from the one before it alone, and here from all of them.
    let count = 1 + CONTEXT - prompt.len();
    let mut text = prompt.as_bytes().to_vec();
    for _ in 0..count {
        let logits = logits(&model, &text);
        let last = &logits[logits.len() - BYTES..];
        let likeliest = (0..=u8::MAX).max_by(|a, b| last[usize::from(*a)].total_cmp(&last[usize::from(*b)]));
        text.push(likeliest.unwrap());
    }
    let count = count.to_string();
    let written = sampled(&best, &["--prompt", prompt, "--temperature", "0", "--tokens", &count]);
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&text[prompt.len()..]));
}

#[test]
fn a_reader_that_closes_the_pipe_ends_the_sample_and_is_not_an_error() {
    let root = tempfile::tempdir().unwrap();
    train(root.path(), 1);
    let mut command = Command::new(programs().join("sample"));
    command.arg(run_dir(root.path()).join("best")).args(["--tokens", &usize::MAX.to_string()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 5];
    std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(ended_with(&output, 0), (String::new(), String::new()));
}

#[test]
fn what_cannot_be_written_with_is_an_error_that_says_why() {
    let root = tempfile::tempdir().unwrap();
    let digits = Command::new(programs().join("digits"))
        .arg("--root")
        .arg(root.path())
        .args(["--run-id", "r1", "--epochs", "1"])
        .output();
    stdout(&digits.unwrap());
    let digits = run_dir(root.path()).join("last");
    let made_up = |name: &str, hparams: CharLmConfig| {
        let path = root.path().join(name);
        let contents = Contents::new(&hparams).unwrap().with_section("model", Section::default());
        contents.save(&path, Metadata::new(Timestamp::now())).unwrap();
        path
    };
    let config = CharLmConfig::new;
    let wide = made_up("wide.ckpt", config().with_width(Some(usize::MAX / 2)));
    let odd = made_up("odd.ckpt", config().with_heads(Some(7)));
    let empty = made_up("empty.ckpt", config());
    for (checkpoint, words) in [
        (&digits, &["hyperparameters", "CharLmConfig"][..]),
        (&wide, &["wide.ckpt", "width", "at most"]),
        (&odd, &["odd.ckpt", "heads", "128"]),
        (&empty, &["empty.ckpt", "tokens.weight"]),
        (&root.path().join("none.ckpt"), &["none.ckpt"]),
    ] {
        let (out, error) = ended_with(&sample(checkpoint, &[]), 1);
        assert!(out.is_empty() && error.starts_with("error: "), "{out} {error}");
        for word in words {
            assert!(error.contains(word), "no {word:?} in {error}");
        }
    }
    for (arguments, word) in [
        (&["--temperature", "-1"][..], "--temperature"),
        (&["--temperature", "NaN"], "--temperature"),
        (&["--top-k", "0"], "--top-k"),
        (&["--tokens", "-1"], "--tokens"),
        (&["--backend", "wgpu"], "--backend"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let (out, error) = ended_with(&sample(&empty, arguments), 2);
        assert!(out.is_empty() && error.contains(word), "{arguments:?}: {error}");
    }
}

#[test]
fn hyperparameters_that_cannot_be_trained_with_are_wrong_usage() {
    let root = tempfile::tempdir().unwrap();
    for (set, words) in [
        ("size=\"huge\"", &["huge", "gpt2-small"][..]),
        ("heads=7", &["heads", "128"]),
        ("batch_size=0", &["batch_size", "above 0"]),
        ("learning_rate=2", &["learning_rate", "at most 1"]),
    ] {
        let mut command = Command::new(programs().join("char-lm"));
        command.arg("--root").arg(root.path()).args(["--set", set]);
        let (_, error) = ended_with(&command.output().unwrap(), 2);
        for word in words {
            assert!(error.contains(word), "no {word:?} in {error}");
        }
    }
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

/// The digests of the model and the optimizer after the last step.
fn last_state(root: &Path) -> Vec<(String, String)> {
    let metadata = metadata(&checkpoints(root).join("last.ckpt"));
    let tensors = metadata["tensors"].as_object().unwrap();
    let of_state = |name: &str| name.starts_with("model.") || name.starts_with("optimizer.");
    let state = tensors.iter().filter(|(name, _)| of_state(name));
    state.map(|(name, tensor)| (name.clone(), tensor["blake3"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn a_run_that_saves_at_every_step_and_is_killed_ends_with_the_bits_of_one_that_was_not() {
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole");
    train(&whole, 3);
    let expected = last_state(&whole);
    assert!(expected.len() > 100, "{}", expected.len());
    for when_busy in ["skip", "replace", "wait"] {
        let root = directory.path().join(when_busy);
        let every_step = || {
            let mut command = small(&root, 3);
            command.args(["--save-every-steps", "1", "--topk", "2"]);
            command.args(["--set", &format!("when_busy={when_busy:?}")]);
            command
        };
        let mut killed = Running::start(every_step());
        let has_saved = || {
            let last = std::fs::read_dir(checkpoints(&root).join("last")).into_iter().flatten();
            last.flatten().any(|file| file.path().extension().is_some_and(|ending| ending == "ckpt"))
        };
        killed.wait_for("a save", |_| has_saved());
        killed.stop_in_a_save(&run_dir(&root));
        assert_eq!(killed.kill().signal(), Some(9), "{when_busy}");
        let again = every_step().args(["--ckpt-path", "auto"]).output().unwrap();
        stdout(&again);
        assert_eq!(last_state(&root), expected, "{when_busy}");
    }
}

#[test]
fn activations_that_are_computed_again_change_no_byte_of_the_model() {
    let (without, with) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(without.path(), 1);
    stdout(&small(with.path(), 1).args(["--set", "gradient_checkpointing=true"]).output().unwrap());
    let digests = |root: &Path| {
        let last = Checkpoint::open(checkpoints(root).join("last.ckpt")).unwrap();
        last.verify()
            .unwrap()
            .tensors
            .into_iter()
            .map(|(name, tensor)| (name, tensor.blake3))
            .collect::<Vec<_>>()
    };
    assert_eq!(digests(without.path()), digests(with.path()));
}
