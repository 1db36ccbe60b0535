//! `--like`: converting imported tensors to the names and layout of a checkpoint of the same model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn_ckpt::burn_pack::{DType, Tensor};
use burn_ckpt::plumbing::ModuleTypes;
use burn_ckpt::{Checkpoint, Section, TensorLayout};

use crate::foreign::{copy_module_types, tensor_as_burn, tensor_as_pytorch};
use crate::import::hints;
use crate::verb_result::Failure;

/// How many of the tensors that do not fit are listed.
const SHOWN: usize = 50;

/// The section with the tensors under the names and in the layout of the other checkpoint.
///
/// # Errors
///
/// When tensors are missing, unused, of another shape or of another kind of values; the message
/// lists them. Also when the layouts differ and the other checkpoint does not have the types of its modules.
pub fn converted(
    tensors: Vec<Tensor>,
    layout: TensorLayout,
    like: &Checkpoint,
    file: &Path,
) -> Result<Section, Failure> {
    let pattern = like.section(Section::MODEL)?;
    let types = conversion(layout, &pattern, like)?;
    let mut given: BTreeMap<String, Tensor> =
        tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let all = given.clone();
    let mut problems = Vec::new();
    let mut section = Section::default().with_layout(pattern.layout()?);
    let mut names = BTreeSet::new();
    for wanted in &pattern.tensors {
        // Name and shape that the tensor should have in the file.
        let expected = match &types {
            Some(types) => tensor_as_pytorch(wanted.clone(), types),
            None => wanted.clone(),
        };
        names.insert(expected.name.clone());
        let Some(mut found) = given.remove(&expected.name) else {
            let there = all.iter().map(|(name, tensor)| (name.as_str(), tensor));
            // The list is long enough without more hints, which look at every tensor.
            let hint = if problems.len() < SHOWN { hints::tied(&expected, there) } else { None };
            let hint = hint.unwrap_or_default();
            problems.push(format!("missing: {} {:?}{hint}", expected.name, expected.shape.to_vec()));
            continue;
        };
        if are_scalars(&found, &expected) {
            found.shape.clone_from(&expected.shape);
        }
        if found.shape != expected.shape {
            let (is, should) = (found.shape.to_vec(), expected.shape.to_vec());
            problems.push(format!("other shape: {} is {is:?} and should be {should:?}", found.name));
            continue;
        }
        if kind(found.dtype) != kind(expected.dtype) {
            let (is, should) = (found.dtype.name(), expected.dtype.name());
            problems
                .push(format!("other kind of values: {} is {is} and should be like {should}", found.name));
            continue;
        }
        section.tensors.push(match &types {
            Some(types) => tensor_as_burn(found, &wanted.name, types),
            None => found,
        });
    }
    problems.extend(
        given.values().map(|unused| format!("unused: {:?} {:?}", unused.name, unused.shape.to_vec())),
    );
    if !problems.is_empty() {
        let hint = hints::wrong_prefix(&all.into_keys().collect(), &names);
        return Err(do_not_fit(problems, hint, file, like.path()));
    }
    copy_module_types(&pattern, &mut section);
    Ok(section)
}

/// The error that lists the first of the tensors that do not fit.
fn do_not_fit(mut problems: Vec<String>, hint: Option<String>, file: &Path, like: &Path) -> Failure {
    let more = problems.len().saturating_sub(SHOWN);
    problems.truncate(SHOWN);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    problems.extend(hint);
    let message = format!("the tensors of {} do not fit those of {}:", file.display(), like.display());
    Failure::Listed { message, list: problems }
}

/// What the values of a type are, whatever their precision.
fn kind(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool(_) => "bool",
        DType::QFloat(_) => "quantized",
        dtype if dtype.is_float() => "float",
        _ => "int",
    }
}

/// Whether both are one number, which some programs store as `[]` and others as `[1]`.
fn are_scalars(a: &Tensor, b: &Tensor) -> bool {
    let is_scalar = |tensor: &Tensor| matches!(tensor.shape.as_slice(), [] | [1]);
    is_scalar(a) && is_scalar(b)
}

/// The types of the modules, if the tensors must be converted from PyTorch's layout to burn's.
fn conversion(
    layout: TensorLayout,
    pattern: &Section,
    like: &Checkpoint,
) -> Result<Option<ModuleTypes>, Failure> {
    let path = like.path().display();
    match (layout, pattern.layout()?) {
        (TensorLayout::PyTorch, TensorLayout::Burn) => {
            let types = pattern.module_types()?;
            if types.is_empty() {
                return Err(Failure::Other(format!(
                    "{path} does not have the types of its modules, which are needed to convert PyTorch's layout: name a \
                     newer checkpoint by --like, or import without --like"
                )));
            }
            Ok(Some(types))
        }
        (TensorLayout::Burn, TensorLayout::PyTorch) => Err(Failure::Other(format!(
            "{path} was imported and has PyTorch's layout, but the file has burn's: name another checkpoint by --like"
        ))),
        _ => Ok(None),
    }
}
