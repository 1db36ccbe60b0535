//! `burn-ckpt export`: a section of a checkpoint as a safetensors file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_ckpt::burn_pack::Tensor;
use burn_ckpt::chain;
use burn_ckpt::plumbing::ModuleTypes;
use burn_ckpt::{Checkpoint, Metadata, Section, TensorLayout};
use serde_json::Value;

use crate::foreign::{self, FloatType, LayoutName, Notes};
use crate::terminal::output::say;
use crate::verb_result::{Failure, VerbResult};

/// The ending of the files that are written.
const SAFETENSORS: &str = "safetensors";
/// Endings of other formats of weights.
const OF_OTHERS: [&str; 7] = ["ckpt", "gguf", "h5", "mpk", "msgpack", "onnx", "pkl"];

/// Write a checkpoint's tensors as safetensors
///
/// By default, tensors keep their names and bytes. With `--layout pytorch` they get PyTorch's names and
/// layout, according to the module types in the checkpoint: weights of linear layers are transposed, gamma
/// and beta of batch, layer, group and RMS normalisation are called weight and bias, and names do not contain
/// the variants of enums. running_mean and running_var have the same names in both. burn does not store
/// num_batches_tracked of PyTorch's batch normalisation; load_state_dict does not need it. Layers that the
/// two build differently (RNN, GRU, LSTM, multi-head attention, transformers) or call by other names (PRelu,
/// InstanceNorm) keep burn's names: convert them in PyTorch. A note names them.
///
/// Hyperparameters, epoch, step, run and the checkpoint's digest are written to the file's metadata.
/// `burn-ckpt import` reads the hyperparameters from there.
#[derive(clap::Args)]
pub struct Args {
    /// The checkpoint: a file, a link, or `best` or `last` in a run's directory
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT.safetensors")]
    out: PathBuf,
    /// How tensors are named and laid out
    #[arg(long, value_enum, default_value_t = LayoutName::Burn)]
    layout: LayoutName,
    /// Cast tensors of floats to this type; the others stay as they are
    #[arg(long, value_enum, value_name = "TYPE")]
    dtype: Option<FloatType>,
    /// The section that is written
    #[arg(long, value_name = "NAME", default_value = Section::MODEL)]
    section: String,
    /// The program's own part that is written in place of the model: `ema` for the section `user.ema`
    #[arg(long, value_name = "NAME", conflicts_with = "section")]
    part: Option<String>,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
    /// Do not compare the tensors with their digests in the checkpoint's metadata
    #[arg(long)]
    no_verify: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Writes the file.
pub fn run(args: &Args) -> VerbResult {
    foreign::check_destination(&args.out, args.force)?;
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    check_is_another_file(&checkpoint, args)?;
    check_name(&args.out)?;
    let metadata = metadata(&checkpoint, args)?;
    let name = match &args.part {
        Some(part) => format!("{}{part}", Section::USER_PREFIX),
        None => args.section.clone(),
    };
    if name == Section::MODEL
        && let Some(part) = checkpoint.validated_part()?
    {
        say(format!(
            "note: these are the parameters that were trained. The run has validated with {part}: --part {part} writes that"
        ));
    }
    let mut section = match args.no_verify {
        true => checkpoint.section(&name)?,
        false => checkpoint.verified_section(&name)?,
    };
    let layout = TensorLayout::from(args.layout);
    let types = types_for(layout, &section, &checkpoint)?;

    let hparams: Value = checkpoint.hparams()?;
    let notes = Notes::of(layout, &section, &hparams, metadata.as_ref());
    let mut tensors = std::mem::take(&mut section.tensors);
    if tensors.is_empty() {
        let path = checkpoint.path().display();
        return Err(Failure::Other(format!("the section {name} of {path} has no tensors")));
    }
    if let Some(types) = types {
        let others = foreign::other_in_pytorch(&tensors, &types);
        if !others.is_empty() {
            say(format!(
                "note: PyTorch's modules of these kinds have other tensors, so convert them there: {}",
                others.join(", ")
            ));
        }
        tensors = as_pytorch(tensors, &types)?;
    }
    if let Some(dtype) = args.dtype {
        tensors = tensors.into_iter().map(|tensor| foreign::cast(tensor, dtype)).collect();
    }
    let count = tensors.len();
    foreign::write_safetensors(&args.out, tensors, &notes, args.force)?;
    foreign::print_written(&args.out, count, args.json)
}

/// With `--force` the checkpoint itself could be named as the file to replace.
fn check_is_another_file(checkpoint: &Checkpoint, args: &Args) -> Result<(), Failure> {
    for file in checkpoint.files() {
        if foreign::same_file(file, &args.out)? {
            return Err(Failure::Other(format!("{} is the checkpoint itself", args.out.display())));
        }
    }
    Ok(())
}

/// Fails for a name that says of the file that it has another format, or does not say which.
fn check_name(out: &Path) -> Result<(), Failure> {
    let ending = out.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let reader = match ending.as_deref() {
        Some(SAFETENSORS) => return Ok(()),
        Some("pt" | "pth" | "bin") => "; PyTorch reads it with safetensors.torch.load_file",
        Some("npy" | "npz") => "; NumPy reads it with safetensors.numpy.load_file",
        _ => "",
    };
    // What looks like an ending can be a part of the name: `model-1.5`.
    let is_format = !reader.is_empty() || ending.is_some_and(|ending| OF_OTHERS.contains(&&*ending));
    let mut name = if is_format { out.with_extension("") } else { out.to_owned() }.into_os_string();
    name.push(".");
    name.push(SAFETENSORS);
    Err(Failure::Usage(format!(
        "{} does not end in .{SAFETENSORS}, which is the format that export writes: name it {}{reader}",
        out.display(),
        Path::new(&name).display()
    )))
}

/// The checkpoint's metadata. An error if it is needed to verify the tensors and cannot be read.
fn metadata(checkpoint: &Checkpoint, args: &Args) -> Result<Option<Metadata>, Failure> {
    match checkpoint.metadata_with_checksum() {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if args.no_verify => {
            say(format!("warning: {}; epoch, step and run are left out", chain(&error)));
            Ok(None)
        }
        Err(error) => Err(Failure::Other(format!(
            "cannot verify {}: {}; --no-verify exports it without verification",
            checkpoint.path().display(),
            chain(&error)
        ))),
    }
}

/// The types of the modules, if they are needed to convert the tensors to the wanted layout.
fn types_for(
    wanted: TensorLayout,
    section: &Section,
    checkpoint: &Checkpoint,
) -> Result<Option<ModuleTypes>, Failure> {
    let path = checkpoint.path().display();
    match (section.layout()?, wanted) {
        (TensorLayout::Burn, TensorLayout::PyTorch) => {
            let types = section.module_types()?;
            if types.is_empty() {
                return Err(Failure::Other(format!(
                    "{path} does not have the types of its modules (an older version saved it, or it was imported), which \
                     are needed for --layout pytorch: load it into the model and save the model, or use --layout burn"
                )));
            }
            Ok(Some(types))
        }
        (TensorLayout::PyTorch, TensorLayout::Burn) => Err(Failure::Other(format!(
            "the tensors of {path} are in PyTorch's layout: use --layout pytorch, or load it into the model and save \
             the model"
        ))),
        _ => Ok(None),
    }
}

/// Converts all tensors to PyTorch's names and layout. Fails if two tensors get the same name, which can
/// happen as the variants of enums are left out.
fn as_pytorch(tensors: Vec<Tensor>, types: &ModuleTypes) -> Result<Vec<Tensor>, Failure> {
    let mut names = BTreeMap::new();
    let mut converted = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let name = tensor.name.clone();
        let tensor = foreign::tensor_as_pytorch(tensor, types);
        if let Some(other) = names.insert(tensor.name.clone(), name.clone()) {
            let called = &tensor.name;
            return Err(Failure::Other(format!("{other} and {name} would both be called {called}")));
        }
        converted.push(tensor);
    }
    Ok(converted)
}
