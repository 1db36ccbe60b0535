//! `burn-ckpt export`: a section of a checkpoint as a safetensors file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn_ckpt::burn_pack::Tensor;
use burn_ckpt::plumbing::ModuleTypes;
use burn_ckpt::{Checkpoint, Metadata, Section, TensorLayout};
use serde_json::Value;

use crate::answer::{Answer, Failure};
use crate::foreign::{self, LayoutName, Notes};

/// Write a checkpoint's tensors as safetensors
///
/// Tensors have the names that they have in the module, and their bytes as they are. With `--layout pytorch` they
/// are named and laid out as PyTorch's modules have them, by the types of the modules that the checkpoint
/// notes: the weights of linear layers are transposed, gamma and beta of batch, layer, group and RMS normalisation are
/// called weight and bias, and names have no variants of enums. running_mean and running_var are called so in
/// both. PyTorch's batch normalisation also counts batches (num_batches_tracked), which burn does not;
/// load_state_dict does without. Everything else is written as it is: layers that the two build in different
/// ways (LSTM, multi-head attention) or call by other names (PRelu, InstanceNorm) have to be renamed in PyTorch.
///
/// Hyperparameters, epoch, step, run and the checkpoint's digest go into the file's metadata; `burn-ckpt import`
/// takes the hyperparameters back.
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
    /// The section that is written
    #[arg(long, value_name = "NAME", default_value = Section::MODEL)]
    section: String,
    /// Replace OUT where it exists
    #[arg(long)]
    force: bool,
    /// Do not compare the tensors with their digests in the checkpoint's metadata
    #[arg(long)]
    no_verify: bool,
}

/// Writes the file.
pub fn run(args: &Args) -> Answer {
    foreign::refuse_existing(&args.out, args.force)?;
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    refuse_itself(&checkpoint, args)?;
    let metadata = metadata(&checkpoint, args)?;
    let mut section = match args.no_verify {
        true => checkpoint.section(&args.section)?,
        false => checkpoint.verified_section(&args.section)?,
    };
    let layout = TensorLayout::from(args.layout);
    let types = types_for(layout, &section, &checkpoint)?;

    let hparams: Value = checkpoint.hparams()?;
    let notes = Notes::of(layout, &section, &hparams, metadata.as_ref());
    let mut tensors = std::mem::take(&mut section.tensors);
    if tensors.is_empty() {
        let path = checkpoint.path().display();
        return Err(Failure::Other(format!("the section {} of {path} holds no tensors", args.section)));
    }
    if let Some(types) = types {
        tensors = as_pytorch(tensors, &types)?;
    }
    let count = tensors.len();
    foreign::write_safetensors(&args.out, tensors, &notes, args.force)?;
    foreign::written(&args.out, count)
}

/// With `--force` the checkpoint itself could be named as the file to replace.
fn refuse_itself(checkpoint: &Checkpoint, args: &Args) -> Result<(), Failure> {
    if foreign::same_file(checkpoint.path(), &args.out) {
        return Err(Failure::Other(format!("{} is the checkpoint itself", args.out.display())));
    }
    Ok(())
}

/// The checkpoint's metadata, without which nothing can be verified.
fn metadata(checkpoint: &Checkpoint, args: &Args) -> Result<Option<Metadata>, Failure> {
    match checkpoint.metadata() {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if args.no_verify => {
            eprintln!("warning: {error}; epoch, step and run are left out");
            Ok(None)
        }
        Err(error) => Err(Failure::Other(format!(
            "{} cannot be verified: {error}; --no-verify exports it as it is",
            checkpoint.path().display()
        ))),
    }
}

/// The types of the modules if they are needed for the layout that is wanted.
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
                    "{path} does not say of which modules its tensors are (it is older than that, or was imported), so \
                     that nobody knows which of them PyTorch has in another way: load it into the model and save that, or \
                     use --layout burn"
                )));
            }
            Ok(Some(types))
        }
        (TensorLayout::PyTorch, TensorLayout::Burn) => Err(Failure::Other(format!(
            "the tensors of {path} are laid out as PyTorch's: use --layout pytorch, or load it into the model and \
             save that"
        ))),
        _ => Ok(None),
    }
}

/// All tensors as PyTorch has them. Without the variants of enums two may have one name.
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
