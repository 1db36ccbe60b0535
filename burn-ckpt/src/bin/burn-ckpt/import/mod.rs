//! `burn-ckpt import`: a safetensors file, or one that `torch.save` wrote, as a checkpoint of weights.

mod like;
mod names;

use std::collections::BTreeSet;
use std::path::PathBuf;

use burn::store::KeyRemapper;
use burn_ckpt::burn_pack::Tensor;
use burn_ckpt::{Checkpoint, Contents, Error, Metadata, Section, TensorLayout};
use serde_json::Value;

use crate::answer::{Answer, Failure};
use crate::foreign::{self, Foreign, Kind, LayoutName, Notes};

/// Make a checkpoint of a safetensors file or a PyTorch file
///
/// IN is a safetensors file or what torch.save wrote, told by its content. No code in it is run. The checkpoint
/// has a model's weights; loading it into a burn module converts what PyTorch lays out in another way: the
/// weights of linear layers are transposed, weight and bias of batch, layer, group and RMS normalisation are
/// called gamma and beta, and names have no variants of enums. Counters of batches (num_batches_tracked), which
/// burn does not have, are left out.
///
/// In PyTorch's layout the numbers of layers are made contiguous: of nn.Sequential(Linear, ReLU, Linear) burn has
/// layers 0 and 1, and the file 0 and 2.
#[derive(clap::Args)]
pub struct Args {
    /// The file to read
    #[arg(value_name = "IN")]
    file: PathBuf,
    /// The checkpoint to write; its metadata stands beside it
    #[arg(value_name = "OUT.ckpt")]
    out: PathBuf,
    /// How the tensors are named and laid out; unless given, what a safetensors file says of itself, else pytorch
    #[arg(long, value_enum)]
    layout: Option<LayoutName>,
    /// The model's hyperparameters, without which `from_checkpoint` cannot build it: JSON, or @ and a file with it
    #[arg(long, value_name = "JSON|@FILE", value_parser = Hparams::parse)]
    hparams: Option<Hparams>,
    /// A checkpoint of the same model: its hyperparameters are taken, names and shapes have to be the same, and the
    /// tensors are converted to burn's layout at once
    #[arg(long, value_name = "CKPT")]
    like: Option<PathBuf>,
    /// Replace what a regular expression matches in the names, before anything else is done to them; may be repeated
    #[arg(long, value_name = "FROM=TO", value_parser = parse_rename)]
    rename: Vec<KeyRemapper>,
    /// Of a PyTorch file with several things in it, take the one under this key
    #[arg(long, value_name = "KEY")]
    top_level_key: Option<String>,
    /// Leave the numbers of layers as they are
    #[arg(long)]
    keep_indices: bool,
    /// Replace OUT where it exists
    #[arg(long)]
    force: bool,
}

/// Hyperparameters as they are given on the command line.
#[derive(Debug, Clone)]
enum Hparams {
    Json(Value),
    File(PathBuf),
}

impl Hparams {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix('@') {
            return Ok(Self::File(path.into()));
        }
        serde_json::from_str(text).map(Self::Json).map_err(|error| format!("it is no JSON: {error}"))
    }

    fn value(&self) -> Result<Value, Failure> {
        let path = match self {
            Self::Json(value) => return Ok(value.clone()),
            Self::File(path) => path,
        };
        let text = std::fs::read_to_string(path);
        let text =
            text.map_err(|error| Failure::Other(format!("cannot read {}: {error}", path.display())))?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::Other(format!("{} is no JSON: {error}", path.display())))
    }
}

fn parse_rename(text: &str) -> Result<KeyRemapper, String> {
    let (from, to) = text.split_once('=').ok_or("FROM=TO is wanted, FROM a regular expression")?;
    KeyRemapper::new().add_pattern(from, to).map_err(|error| error.to_string())
}

/// Writes the checkpoint.
pub fn run(args: &Args) -> Answer {
    foreign::refuse_existing(&args.out, args.force)?;
    let like = args.like.as_ref().map(Checkpoint::open).transpose()?;
    let kept = like.iter().map(Checkpoint::path).chain([args.file.as_path()]);
    if let Some(itself) = kept.into_iter().find(|path| foreign::same_file(path, &args.out)) {
        return Err(Failure::Other(format!("{} would be overwritten while it is read", itself.display())));
    }
    let kind = Kind::of(&args.file)?;
    let Foreign { tensors, notes } = read(kind, args)?;
    let hparams = hparams(args, like.as_ref(), &notes)?;
    let layout = layout(args, kind, &notes);
    if kind == Kind::PyTorch {
        hint_at_keys(&tensors, args);
    }

    let contiguous = layout == TensorLayout::PyTorch && !args.keep_indices && !notes.are_ours();
    let mut tensors = names::renamed(tensors, &args.rename)?;
    if layout == TensorLayout::PyTorch {
        tensors = names::without_counters(tensors);
    }
    if contiguous {
        tensors = names::contiguous(tensors)?;
    }
    let section = match &like {
        Some(like) => like::fitted(tensors, layout, like, &args.file)?,
        None => {
            let mut section = Section { tensors, ..Section::default() }.with_layout(layout);
            if layout == TensorLayout::Burn {
                notes.give_module_types(&mut section).map_err(|reason| cannot_import(args, &reason))?;
            }
            section
        }
    };
    let count = section.tensors.len();
    save(section, &hparams, args)?;
    if hparams.is_null() {
        eprintln!(
            "note: the checkpoint has no hyperparameters, from which from_checkpoint builds the model: give them by \
             --hparams '{{..}}', --hparams @FILE or --like CKPT, or use load_into"
        );
    }
    foreign::written(&args.out, count)
}

fn read(kind: Kind, args: &Args) -> Result<Foreign, Failure> {
    let read = match kind {
        Kind::PyTorch => foreign::read_pytorch(&args.file, args.top_level_key.as_deref()),
        Kind::Safetensors if args.top_level_key.is_some() => {
            Err("--top-level-key is for PyTorch's files, and it is a safetensors file".to_owned())
        }
        Kind::Safetensors => foreign::read_safetensors(&args.file),
    };
    let checked = read.and_then(|foreign| {
        let size = std::fs::metadata(&args.file).map_err(|error| error.to_string())?.len();
        foreign::check_limits(&foreign.tensors, size)?;
        Ok(foreign)
    });
    checked.map_err(|reason| cannot_import(args, &reason))
}

fn cannot_import(args: &Args, reason: &str) -> Failure {
    Failure::Other(format!("{} cannot be imported: {reason}", args.file.display()))
}

/// The hyperparameters: as given, those of the other checkpoint, or what a file of ours notes.
fn hparams(args: &Args, like: Option<&Checkpoint>, notes: &Notes) -> Result<Value, Failure> {
    match (&args.hparams, like) {
        (Some(given), _) => given.value(),
        (None, Some(like)) => Ok(like.hparams()?),
        (None, None) => {
            Ok(notes.hparams().map_err(|reason| cannot_import(args, &reason))?.unwrap_or_default())
        }
    }
}

/// Says how to name the weights alone where a PyTorch file seems to hold more.
fn hint_at_keys(tensors: &[Tensor], args: &Args) {
    // What training programs call the parts of a file.
    const PARTS: [&str; 5] =
        ["state_dict", "model_state_dict", "optimizer", "optimizer_state_dict", "optimizer_states"];
    let keys: BTreeSet<&str> = tensors.iter().filter_map(|tensor| tensor.name.split('.').next()).collect();
    if args.top_level_key.is_none() && keys.iter().any(|key| PARTS.contains(key)) {
        let keys: Vec<&str> = keys.into_iter().take(10).collect();
        let (file, keys) = (args.file.display(), keys.join(", "));
        eprintln!("note: {file} has tensors under {keys}: to take those of one alone, use --top-level-key");
    }
}

/// How the tensors are laid out. What was not given is said.
fn layout(args: &Args, kind: Kind, notes: &Notes) -> TensorLayout {
    if let Some(given) = args.layout {
        return given.into();
    }
    if kind == Kind::PyTorch {
        return TensorLayout::PyTorch;
    }
    let (layout, why) = match notes.layout() {
        Some(layout) => (layout, "as it says"),
        None => (TensorLayout::PyTorch, "as those of most files are, for it does not say"),
    };
    let (name, other) = match layout {
        TensorLayout::Burn => ("burn's", TensorLayout::PyTorch),
        TensorLayout::PyTorch => ("PyTorch's", TensorLayout::Burn),
    };
    let (file, other) = (args.file.display(), other.name());
    eprintln!(
        "note: the tensors of {file} are taken to be laid out as {name}, {why}; else use --layout {other}"
    );
    layout
}

fn save(section: Section, hparams: &Value, args: &Args) -> Result<(), Failure> {
    let mut metadata = Metadata::blank(jiff::Timestamp::now());
    // The name alone: where it was on this machine says nothing to others.
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    metadata.reason = format!("imported: {name}");
    match Contents::new(hparams)?.with_section(Section::MODEL, section).save(&args.out, metadata) {
        Ok(_) => Ok(()),
        // A tensor could not be read, although what is said of it fits.
        Err(Error::Container { source, .. }) => Err(cannot_import(args, &source.to_string())),
        Err(error) => Err(error.into()),
    }
}
