//! `burn-ckpt import`: a safetensors file, or one that `torch.save` wrote, as a checkpoint of weights.

mod hints;
mod match_checkpoint;
mod names;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::store::KeyRemapper;
use burn_ckpt::burn_pack::Tensor;
use burn_ckpt::chain;
use burn_ckpt::plumbing::storage::StoredFile;
use burn_ckpt::plumbing::{is_address, metadata_path};
use burn_ckpt::{Checkpoint, Contents, Error, Metadata, Section, TensorLayout};
use serde_json::Value;

use crate::addresses::takes_none;
use crate::foreign::{self, FileFormat, Foreign, LayoutName, Notes};
use crate::terminal::output::say;
use crate::verb_result::{Failure, VerbResult};
use names::Rename;

/// Make a checkpoint of a safetensors file or a PyTorch file
///
/// IN is a safetensors file, a file that torch.save wrote, or the index of a model in several such files
/// (model.safetensors.index.json); its content decides, not its name. No code in it is run. The checkpoint
/// has the model's weights in the layout of IN. Loading it into a burn module converts PyTorch's layout:
/// weights of linear layers are transposed, weight and bias of batch, layer, group and RMS normalisation
/// become gamma and beta, and the variants of enums are added to names. num_batches_tracked of batch
/// normalisation is left out, as burn does not have it.
///
/// In PyTorch's layout, layer numbers are made contiguous: nn.Sequential(Linear, ReLU, Linear) has the layers
/// 0 and 2 in PyTorch, and 0 and 1 in burn.
#[derive(clap::Args)]
pub struct Args {
    /// The file to read
    #[arg(value_name = "IN")]
    file: PathBuf,
    /// The checkpoint to write; its metadata is written beside it
    #[arg(value_name = "OUT.ckpt")]
    out: PathBuf,
    /// How the tensors are named and laid out; by default, as a safetensors file states, or else pytorch
    #[arg(long, value_enum)]
    layout: Option<LayoutName>,
    /// The model's hyperparameters, which `from_checkpoint` needs to build the model: JSON, or @ and a JSON
    /// file
    #[arg(long, value_name = "JSON|@FILE", value_parser = Hparams::parse)]
    hparams: Option<Hparams>,
    /// A checkpoint of the same model
    ///
    /// Its hyperparameters are used, names and shapes must be the same, and the tensors are converted to its
    /// layout.
    #[arg(long, value_name = "CKPT")]
    like: Option<PathBuf>,
    /// Replace each match of a regular expression in the names, before any other change of names; may be
    /// repeated
    #[arg(long, value_name = "FROM=TO", value_parser = parse_rename)]
    rename: Vec<Rename>,
    /// Add the tensor FROM a second time as TO, for weights that are tied; may be repeated
    ///
    /// The model has such weights twice, and the file once. Names are those after --rename and with
    /// contiguous layer numbers.
    #[arg(long, value_name = "FROM=TO", value_parser = parse_copy)]
    copy: Vec<(String, String)>,
    /// Import only the tensors under this key of a PyTorch file
    #[arg(long, value_name = "KEY")]
    top_level_key: Option<String>,
    /// Keep the layer numbers
    #[arg(long)]
    keep_indices: bool,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Upper limit in bytes of a file of hyperparameters.
const MAX_HPARAMS_BYTES: u64 = 1 << 20;

/// Hyperparameters from the command line.
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
        serde_json::from_str(text).map(Self::Json).map_err(|error| format!("it is not valid JSON: {error}"))
    }

    fn value(&self) -> Result<Value, Failure> {
        let path = match self {
            Self::Json(value) => return Ok(value.clone()),
            Self::File(path) => path,
        };
        if is_address(path) {
            return Err(takes_none("import", "@FILE of --hparams"));
        }
        let unreadable = |error| Failure::Other(format!("cannot read {}: {error}", path.display()));
        let file = StoredFile::open(path).map_err(unreadable)?;
        let bytes = file.stat().map_err(unreadable)?.len();
        if bytes > MAX_HPARAMS_BYTES {
            let path = path.display();
            return Err(Failure::Other(format!(
                "{path} has {bytes} bytes, and {MAX_HPARAMS_BYTES} are allowed for hyperparameters"
            )));
        }
        let mut text = String::new();
        // The limit holds also if the file grows while it is read.
        file.take(MAX_HPARAMS_BYTES).read_to_string(&mut text).map_err(unreadable)?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::Other(format!("{} is not valid JSON: {error}", path.display())))
    }
}

fn parse_rename(text: &str) -> Result<Rename, String> {
    let (from, to) = text.split_once('=').ok_or("write FROM=TO, where FROM is a regular expression")?;
    let remapper = KeyRemapper::new().add_pattern(from, to).map_err(|error| error.to_string())?;
    Ok(Rename { text: text.to_owned(), remapper })
}

fn parse_copy(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.to_owned(), to.to_owned())),
        _ => Err("write FROM=TO, two names of tensors".to_owned()),
    }
}

/// Writes the checkpoint.
pub fn run(args: &Args) -> VerbResult {
    foreign::check_destination(&args.out, args.force)?;
    foreign::check_checkpoint_name(&args.out)?;
    // Metadata without a checkpoint describes nothing, and is replaced without --force.
    foreign::check_destination(&metadata_path(&args.out), true)?;
    let like = args.like.as_ref().map(Checkpoint::open).transpose()?;
    let inputs = like.iter().map(Checkpoint::path).chain([args.file.as_path()]);
    for input in inputs {
        if foreign::same_file(input, &args.out)? {
            return Err(Failure::Other(format!("{} would be overwritten while it is read", input.display())));
        }
    }
    let format = FileFormat::of(&args.file)?;
    let Foreign { tensors, notes } = read(format, args)?;
    let hparams = hparams(args, like.as_ref(), &notes)?;
    let layout = layout(args, format, &notes);
    let has_parts = format == FileFormat::PyTorch && hint_at_keys(&tensors, args);

    let contiguous = layout == TensorLayout::PyTorch && !args.keep_indices && !notes.are_ours();
    let mut tensors = names::renamed(tensors, &args.rename)?;
    if layout == TensorLayout::PyTorch {
        tensors = names::without_counters(tensors);
    }
    if contiguous {
        tensors = names::contiguous(tensors)?;
    }
    let tensors = names::copied(tensors, &args.copy)?;
    let section = match &like {
        Some(like) => match_checkpoint::converted(tensors, layout, like, &args.file)?,
        None => {
            let names = tensors.iter().map(|tensor| tensor.name.clone()).collect();
            if let Some(note) = hints::wrapper(&names).filter(|_| !has_parts) {
                say(note);
            }
            let mut section = Section::new().with_tensors(tensors).with_layout(layout);
            if layout == TensorLayout::Burn {
                notes.give_module_types(&mut section).map_err(|reason| cannot_import(args, &reason))?;
            }
            section
        }
    };
    let count = section.tensors.len();
    save(section, &hparams, args)?;
    if hparams.is_null() {
        say(
            "note: the checkpoint has no hyperparameters, which from_checkpoint needs to build the model: give them by \
             --hparams '{..}', --hparams @FILE or --like CKPT, or load the checkpoint with load_into",
        );
    }
    foreign::print_written(&args.out, count, args.json)
}

fn read(format: FileFormat, args: &Args) -> Result<Foreign, Failure> {
    let checked = read_all_files(format, args).and_then(|(foreign, size)| {
        foreign::check_limits(&foreign.tensors, size)?;
        Ok(foreign)
    });
    checked.map_err(|reason| cannot_import(args, &reason))
}

/// The tensors of the file, or of the files that it names, with the size of all.
fn read_all_files(format: FileFormat, args: &Args) -> Result<(Foreign, u64), String> {
    if format != FileFormat::Index {
        foreign::check_is_whole(&args.file)?;
        let file = StoredFile::open(&args.file).and_then(|file| file.stat());
        let size = file.map_err(|error| error.to_string())?.len();
        return Ok((read_file(format, &args.file, args)?, size));
    }
    let read_file = |format, path: &Path| read_file(format, path, args);
    let (foreign, size, left_out) = foreign::read_shards(&args.file, read_file)?;
    if !left_out.is_empty() {
        let (file, list) = (args.file.display(), foreign::listed(left_out));
        say(format!("note: tensors that {file} does not name are left out: {list}"));
    }
    Ok((foreign, size))
}

fn read_file(format: FileFormat, path: &Path, args: &Args) -> Result<Foreign, String> {
    if foreign::same_file(path, &args.out).map_err(|error| chain(&error))? {
        return Err(format!("{} would be overwritten while it is read", path.display()));
    }
    match format {
        FileFormat::PyTorch => foreign::read_pytorch(path, args.top_level_key.as_deref()),
        _ if args.top_level_key.is_some() => {
            Err("--top-level-key is for PyTorch's files, and this is a safetensors file".to_owned())
        }
        _ => foreign::read_safetensors(path),
    }
}

fn cannot_import(args: &Args, reason: &str) -> Failure {
    Failure::Other(format!("{} cannot be imported: {reason}", args.file.display()))
}

/// The hyperparameters: those from the command line, from the other checkpoint, or from the notes of a file
/// that `export` wrote.
fn hparams(args: &Args, like: Option<&Checkpoint>, notes: &Notes) -> Result<Value, Failure> {
    match (&args.hparams, like) {
        (Some(given), _) => given.value(),
        (None, Some(like)) => Ok(like.hparams()?),
        (None, None) => {
            Ok(notes.hparams().map_err(|reason| cannot_import(args, &reason))?.unwrap_or_default())
        }
    }
}

/// Prints a note about --top-level-key if a PyTorch file seems to contain more than weights. Whether it has.
fn hint_at_keys(tensors: &[Tensor], args: &Args) -> bool {
    // Names that training programs give to the parts of a file.
    const PARTS: [&str; 5] =
        ["state_dict", "model_state_dict", "optimizer", "optimizer_state_dict", "optimizer_states"];
    let keys: BTreeSet<&str> = tensors.iter().filter_map(|tensor| tensor.name.split('.').next()).collect();
    let has_parts = args.top_level_key.is_none() && keys.iter().any(|key| PARTS.contains(key));
    if has_parts {
        let keys: Vec<&str> = keys.into_iter().take(10).collect();
        let (file, keys) = (args.file.display(), keys.join(", "));
        say(format!(
            "note: {file} has tensors under {keys}: use --top-level-key to import only those under one of them"
        ));
    }
    has_parts
}

/// How the tensors are laid out. Prints a note if the command line does not say it.
fn layout(args: &Args, format: FileFormat, notes: &Notes) -> TensorLayout {
    if let Some(given) = args.layout {
        return given.into();
    }
    if format == FileFormat::PyTorch {
        return TensorLayout::PyTorch;
    }
    let (layout, why) = match notes.layout() {
        Some(layout) => (layout, "as the file states"),
        None => (TensorLayout::PyTorch, "as in most files; the file does not state it"),
    };
    let (name, other) = if layout == TensorLayout::Burn {
        ("burn's", TensorLayout::PyTorch)
    } else {
        ("PyTorch's", TensorLayout::Burn)
    };
    let (file, other) = (args.file.display(), other.name());
    say(format!(
        "note: {file} is imported with {name} layout, {why}; for the other one use --layout {other}"
    ));
    layout
}

fn save(section: Section, hparams: &Value, args: &Args) -> Result<(), Failure> {
    let metadata = Metadata::new(jiff::Timestamp::now());
    // Without the directory, which is of no use on other machines.
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let metadata = metadata.with_reason(format!("imported: {name}"));
    let contents = Contents::new(hparams)?.with_section(Section::MODEL, section);
    match contents.save_with(&args.out, metadata, foreign::existing(args.force)) {
        Ok(_) => Ok(()),
        // A tensor of the file cannot be read, although its header is valid.
        Err(Error::Container { reason, source: Some(source), .. }) => {
            Err(cannot_import(args, &format!("{reason}: {}", chain(&*source))))
        }
        Err(error) => Err(error.into()),
    }
}
