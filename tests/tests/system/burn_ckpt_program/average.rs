//! `burn-ckpt average`: the mean as NumPy computes it, where it comes from, and what does not fit.

use std::path::{Path, PathBuf};
use std::process::Output;

use burn::tensor::Tensor;
use burn_ckpt::{Checkpoint, ErrorKind, FromCheckpoint, Section};
use burn_trainer::strategy::{Best, Last, TopK};
use serde_json::Value;
use system_tests::backend;
use system_tests::models::small::{Model, Script, train_and_keep_all, train_scripted};
use system_tests::programs::commands::{burn_ckpt_command, ended_with, sha256sum, stdout};
use system_tests::programs::python::run_script;
use system_tests::run_files::{checkpoints, metadata, run_dir};
use system_tests::{config, train};

fn average(arguments: &[&Path], more: &[&str]) -> Output {
    burn_ckpt_command().arg("average").args(arguments).args(more).output().unwrap()
}

/// A run of four epochs, and the checkpoints of its last three.
fn three(root: &Path) -> [PathBuf; 3] {
    train_and_keep_all(root, &[1.0, 2.0, 3.0, 4.0], 1).unwrap();
    [1, 2, 3]
        .map(|epoch| checkpoints(root).join(format!("last/epoch={epoch}-step={}.ckpt", 10 * (epoch + 1))))
}

fn exported(checkpoint: &Path, root: &Path, name: &str) -> PathBuf {
    let out = root.join(name);
    stdout(&burn_ckpt_command().arg("export").args([checkpoint, &out]).output().unwrap());
    out
}

#[test]
fn the_average_is_numpys_mean_and_loads_as_the_model() {
    let root = tempfile::tempdir().unwrap();
    let inputs = three(root.path());
    let out = root.path().join("average.ckpt");
    let paths: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    let printed = stdout(&average(&paths, &["-o", out.to_str().unwrap()]));
    assert!(printed.contains(&sha256sum(&out).unwrap()), "{printed}");
    let said = "the mean of 3 checkpoints since step 20: steps 20, 30, 40";
    assert!(printed.starts_with(&format!("{said}\n")), "{printed}");
    let shown = stdout(&burn_ckpt_command().arg("show").arg(&out).output().unwrap());
    assert!(shown.lines().any(|line| line.contains("average ") && line.ends_with(said)), "{shown}");

    let mut files = vec![exported(&out, root.path(), "average.safetensors")];
    files.extend((0..3).map(|index| exported(&inputs[index], root.path(), &format!("{index}.safetensors"))));
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let answer = run_script("average.py", &files);
    // Two linear layers, and a batch normalisation with its running statistics.
    assert_eq!(answer, serde_json::json!({"tensors": 8, "differing": []}));

    let model = Model::from_checkpoint(&out, &backend::device()).unwrap();
    let output = model.predict(Tensor::<2>::zeros([1, 4], &backend::device()));
    assert!(output.into_scalar::<f32>().is_finite());
    let checkpoint = Checkpoint::open(&out).unwrap();
    checkpoint.verify().unwrap();
    assert_eq!(checkpoint.sections(), [Section::MODEL, "user.average"]);
}

#[test]
fn it_says_what_it_is_made_of_and_claims_no_metrics() {
    let root = tempfile::tempdir().unwrap();
    let inputs = three(root.path());
    let out = root.path().join("average.ckpt");
    // The order does not matter.
    let paths = [&*inputs[2], &*inputs[0], &*inputs[1]];
    stdout(&average(&paths, &["-o", out.to_str().unwrap()]));
    let sources = Checkpoint::open(&out).unwrap().section("user.average").unwrap().strings["sources"].clone();
    let sources: Value = serde_json::from_str(&sources).unwrap();
    for (index, input) in inputs.iter().enumerate() {
        let source = &sources[index];
        assert_eq!(source["checksum"], format!("sha256:{}", sha256sum(input).unwrap()));
        assert_eq!(source["global_step"], 10 * (index + 2));
        assert!(source["path"].as_str().unwrap().ends_with(input.file_name().unwrap().to_str().unwrap()));
    }
    let described = metadata(&out);
    assert_eq!(described["start_timestamp"], metadata(&inputs[2])["start_timestamp"]);
    assert_eq!(described["reason"], "average of 3 checkpoints");
    assert_eq!((&described["epoch"], &described["global_step"]), (&3.into(), &40.into()));
    assert_eq!(described["metrics"], serde_json::json!({}));
    assert_eq!(described["hparams"], metadata(&inputs[0])["hparams"]);
}

#[test]
fn last_averages_the_newest_states_of_a_run_each_once() {
    let root = tempfile::tempdir().unwrap();
    let inputs = three(root.path());
    let (named, last) = (root.path().join("named.ckpt"), root.path().join("last.ckpt"));
    let paths: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    stdout(&average(&paths, &["-o", named.to_str().unwrap()]));
    // The first epoch has two names: it is the best one too.
    let output = average(&[&run_dir(root.path())], &["--last", "3", "-o", last.to_str().unwrap()]);
    stdout(&output);
    assert_eq!(
        metadata(&last)["tensors"]["model.input.weight"],
        metadata(&named)["tensors"]["model.input.weight"]
    );
    let all = root.path().join("all.ckpt");
    stdout(&average(&[&run_dir(root.path())], &["--last", "4", "-o", all.to_str().unwrap()]));
    let (_, said) = ended_with(&average(&[&run_dir(root.path())], &["--last", "5", "-o", "x.ckpt"]), 1);
    assert!(said.contains("has 4 states, and 5 are asked for"), "{said}");

    // A damaged one is named, whether the others are enough or not.
    std::fs::write(&inputs[1], "damaged").unwrap();
    let three = root.path().join("three.ckpt");
    let output = average(&[&run_dir(root.path())], &["--last", "3", "-o", three.to_str().unwrap()]);
    let (_, said) = ended_with(&output, 0);
    assert!(
        said.lines().any(|line| line.starts_with("left out: ") && line.contains("epoch=2-step=30.ckpt: ")),
        "{said}"
    );
    let (_, said) = ended_with(&average(&[&run_dir(root.path())], &["--last", "4", "-o", "x.ckpt"]), 1);
    assert!(said.contains("has 3 whole states, and 4 are asked for") && said.contains("left out"), "{said}");
    assert!(!said.contains("topk"), "{said}");
}

#[test]
fn a_state_that_is_kept_whole_and_as_weights_only_counts_once() {
    let root = tempfile::tempdir().unwrap();
    let best = Best::new().with_save_weights_only(true);
    let last = Last::new().with_topk(TopK::All);
    train(config(root.path(), 2).with_best(best).with_last(last)).unwrap();
    let [weights, whole] = ["best", "last"].map(|name| checkpoints(root.path()).join(name));
    let name = std::fs::read_dir(&weights).unwrap().map(|entry| entry.unwrap().file_name());
    let name = name.into_iter().find(|name| name.to_string_lossy().ends_with(".ckpt")).unwrap();
    let (weights, whole) = (weights.join(&name), whole.join(&name));
    assert_ne!(sha256sum(&weights), sha256sum(&whole), "one has the optimizer too");
    let out = root.path().join("average.ckpt");
    let (_, said) = ended_with(&average(&[&weights, &whole], &["-o", out.to_str().unwrap()]), 1);
    assert!(said.contains("they are the same state: leave out one"), "{said}");
    // The newest states of the run are two.
    stdout(&average(&[&run_dir(root.path())], &["--last", "2", "-o", out.to_str().unwrap()]));
}

#[test]
fn checkpoints_that_do_not_fit_are_an_error_that_names_both_and_the_difference() {
    let root = tempfile::tempdir().unwrap();
    let [one, other, _] = three(root.path());
    let wider = tempfile::tempdir().unwrap();
    train_scripted(config(wider.path(), 1), Script { hidden: 7, ..Script::default() }).unwrap();
    let wider = checkpoints(wider.path()).join("last.ckpt");
    let out = root.path().join("average.ckpt");

    let error = burn_ckpt::average(&[&one, &wider], &out).unwrap_err();
    assert!(matches!(error, burn_ckpt::Error::Differs { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    let text = error.to_string();
    assert!(
        text.contains("hparams.hidden is 7 and 6") || text.contains("hparams.hidden is 6 and 7"),
        "{text}"
    );

    let last = checkpoints(root.path()).join("last.ckpt");
    let real = std::fs::canonicalize(&last).unwrap();
    let error = burn_ckpt::average(&[&last, &real], &out).unwrap_err();
    assert!(error.to_string().contains("the same state"), "{error}");
    let error = burn_ckpt::average(&[&one], &out).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName);
    assert!(!out.exists());

    // Nothing is overwritten, neither a file that is there nor an input.
    let arguments = [&*one, &*other];
    stdout(&average(&arguments, &["-o", out.to_str().unwrap()]));
    let (_, said) = ended_with(&average(&arguments, &["-o", out.to_str().unwrap()]), 1);
    assert!(said.contains("--force"), "{said}");
    let (_, said) = ended_with(&average(&arguments, &["--force", "-o", one.to_str().unwrap()]), 1);
    assert!(said.contains("would be overwritten while it is read"), "{said}");
    ended_with(&average(&[&one], &["-o", "x.ckpt"]), 2);
}

#[test]
fn a_damaged_input_is_found_and_nothing_is_written() {
    let root = tempfile::tempdir().unwrap();
    let [one, other, _] = three(root.path());
    let mut bytes = std::fs::read(&other).unwrap();
    // In the model's first tensor.
    let at = bytes.len() / 2;
    let model = Checkpoint::open(&other).unwrap().section(Section::MODEL).unwrap();
    let tensor = model.tensors[0].to_bytes().unwrap();
    let place = bytes.windows(tensor.len()).position(|window| *window == tensor[..]).unwrap_or(at);
    bytes[place] ^= 1;
    std::fs::write(&other, bytes).unwrap();
    let out = root.path().join("average.ckpt");
    let (_, said) = ended_with(&average(&[&one, &other], &["-o", out.to_str().unwrap()]), 1);
    assert!(said.contains("is damaged") && said.contains("epoch=2-step=30.ckpt"), "{said}");
    assert!(!out.exists());
}

#[test]
fn a_name_that_no_other_verb_would_see_is_wrong_usage() {
    let root = tempfile::tempdir().unwrap();
    let inputs = three(root.path());
    let paths: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    let out = root.path().join("mean");
    let file = exported(paths[0], root.path(), "one.safetensors");
    let refused = [
        average(&paths, &["-o", out.to_str().unwrap()]),
        burn_ckpt_command().arg("import").args([&file, &out]).output().unwrap(),
    ];
    for output in refused {
        let (_, err) = ended_with(&output, 2);
        assert!(err.contains("mean is not the name of a checkpoint, which ends in .ckpt"), "{err}");
    }
    assert!(!out.exists());
}

#[test]
fn a_mean_over_several_runs_is_noted_and_one_over_a_run_is_not() {
    let root = tempfile::tempdir().unwrap();
    let [one, other, _] = three(root.path());
    let second = config(root.path(), 1).with_run_id("r2");
    let second = train_scripted(second, Script::default()).unwrap().checkpoints["last"].path.clone();
    let out = root.path().join("average.ckpt");
    let written = ["-o", out.to_str().unwrap(), "--force"];
    let output = average(&[&one, &second], &written);
    stdout(&output);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("note: the checkpoints are of several runs (r1, r2)"), "{said}");
    let output = average(&[&one, &other], &written);
    stdout(&output);
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_model_with_nan_is_an_error_that_names_it() {
    use burn::module::Param;
    use burn::nn::LinearConfig;
    use burn_ckpt::{Contents, Metadata};

    let root = tempfile::tempdir().unwrap();
    let paths = [1.0, f32::NAN].map(|value| {
        let mut model = LinearConfig::new(1, 1).with_bias(false).init(&backend::device());
        model.weight = Param::from_tensor(Tensor::from_floats([[value]], &backend::device()));
        let path = root.path().join(format!("{value}.ckpt"));
        let contents = Contents::new(&()).unwrap().with_section(Section::MODEL, Section::from_module(&model));
        contents.save(&path, Metadata::new(jiff::Timestamp::now())).unwrap();
        path
    });
    let out = root.path().join("average.ckpt");
    let (_, said) = ended_with(&average(&[&paths[0], &paths[1]], &["-o", out.to_str().unwrap()]), 1);
    assert!(said.contains("NaN.ckpt") && said.contains("not finite in the tensor model.weight"), "{said}");
    assert!(!out.exists());
}

#[test]
fn a_file_that_another_process_makes_meanwhile_is_kept_unless_it_may_be_replaced() {
    use burn_ckpt::Error;
    use burn_ckpt::plumbing::{Existing, average_with};

    let root = tempfile::tempdir().unwrap();
    let inputs = three(root.path());
    let out = root.path().join("average.ckpt");
    std::fs::write(&out, "another's").unwrap();
    let error = average_with(&inputs, &out, Existing::Keep).unwrap_err();
    let Error::Io { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&out).unwrap(), b"another's");
    average_with(&inputs, &out, Existing::Replace).unwrap();
    Checkpoint::open(&out).unwrap().verify().unwrap();
}
