//! `--like`: imported tensors as those of a checkpoint of the same model.

use std::collections::BTreeMap;
use std::path::Path;

use burn_ckpt::burn_pack::Tensor;
use burn_ckpt::plumbing::ModuleTypes;
use burn_ckpt::{Checkpoint, Section, TensorLayout};

use crate::answer::Failure;
use crate::foreign::{copy_module_types, tensor_as_burn, tensor_as_pytorch};

/// How many tensors that do not fit are listed.
const SHOWN: usize = 50;

/// The tensors under the names and in the layout that they have in the other checkpoint.
///
/// # Errors
///
/// Listing the tensors that are missing, unused or of another shape; and when the layouts differ and the other checkpoint
/// does not say which modules it has.
pub fn fitted(
    tensors: Vec<Tensor>,
    layout: TensorLayout,
    like: &Checkpoint,
    file: &Path,
) -> Result<Section, Failure> {
    let pattern = like.section(Section::MODEL)?;
    let types = conversion(layout, &pattern, like)?;
    let mut there: BTreeMap<String, Tensor> =
        tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let mut problems = Vec::new();
    let mut section = Section::default().with_layout(pattern.layout()?);
    for wanted in &pattern.tensors {
        // What the file should have for it.
        let expected = match &types {
            Some(types) => tensor_as_pytorch(wanted.clone(), types),
            None => wanted.clone(),
        };
        let Some(found) = there.remove(&expected.name) else {
            problems.push(format!("missing: {} {:?}", expected.name, expected.shape.to_vec()));
            continue;
        };
        if found.shape != expected.shape {
            let (is, should) = (found.shape.to_vec(), expected.shape.to_vec());
            problems.push(format!("of another shape: {} is {is:?} and should be {should:?}", found.name));
            continue;
        }
        section.tensors.push(match &types {
            Some(types) => tensor_as_burn(found, &wanted.name, types),
            None => found,
        });
    }
    problems.extend(
        there.values().map(|unused| format!("not wanted: {:?} {:?}", unused.name, unused.shape.to_vec())),
    );
    if !problems.is_empty() {
        let more = problems.len().saturating_sub(SHOWN);
        problems.truncate(SHOWN);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        let (file, like) = (file.display(), like.path().display());
        let list = problems.join("\n  ");
        return Err(Failure::Other(format!("{file} does not have the tensors of {like}:\n  {list}")));
    }
    copy_module_types(&pattern, &mut section);
    Ok(section)
}

/// The types of the modules if tensors have to be converted from PyTorch's layout to burn's.
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
                    "{path} does not say of which modules its tensors are, so that nobody knows which of them PyTorch has \
                     in another way: name a newer one by --like, or import without it"
                )));
            }
            Ok(Some(types))
        }
        (TensorLayout::Burn, TensorLayout::PyTorch) => Err(Failure::Other(format!(
            "{path} was imported and is laid out as PyTorch's, which the file is not: name another one by --like"
        ))),
        _ => Ok(None),
    }
}
