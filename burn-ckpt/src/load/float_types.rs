//! Float types that differ within a checkpoint, where they do not differ within the model: burn panics where
//! two types meet in the model's forward pass.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::DType;

use crate::error::{Error, Result};
use crate::text::printable::shown;

/// How many tensors of another type an error names.
const MAX_NAMED: usize = 4;

/// The type of a float parameter in the module, and the one that it has after loading.
#[derive(Debug, Clone)]
pub(crate) struct FloatType {
    pub(crate) name: String,
    pub(crate) own: DType,
    pub(crate) loaded: DType,
    /// Whether the checkpoint has a tensor for it.
    pub(crate) is_stored: bool,
}

/// Checks that parameters which have one type in the module get one type. A module of several types takes a
/// checkpoint that has several in the same places. Warns where parameters that the checkpoint lacks keep
/// another type than those that it has.
pub(crate) fn check(path: &Path, parameters: &[FloatType]) -> Result<()> {
    let mut by_own: BTreeMap<&str, Vec<&FloatType>> = BTreeMap::new();
    for parameter in parameters.iter().filter(|parameter| parameter.loaded.is_float()) {
        by_own.entry(parameter.own.name()).or_default().push(parameter);
    }
    for (own, parameters) in by_own {
        let stored = || parameters.iter().filter(|parameter| parameter.is_stored);
        let Some(usual) = most_common(stored().map(|parameter| parameter.loaded.name()), own) else {
            continue;
        };
        let odd: Vec<&&FloatType> = stored().filter(|parameter| parameter.loaded.name() != usual).collect();
        if !odd.is_empty() {
            let named: Vec<String> = odd
                .iter()
                .take(MAX_NAMED)
                .map(|parameter| format!("{} is {}", shown(&parameter.name), parameter.loaded.name()))
                .collect();
            let more = odd.len().saturating_sub(MAX_NAMED);
            let more = if more > 0 { format!(" and {more} more are another type") } else { String::new() };
            let reason = format!(
                "{}{more}, and its other parameters are {usual}, while they have one type in the model ({own}): load all \
                 floats as one type with float_dtype, or give the model's parameters these types first",
                named.join(", ")
            );
            return Err(Error::Mismatch { path: path.to_path_buf(), reason });
        }
        if let Some(kept) = parameters.iter().find(|it| !it.is_stored && it.loaded.name() != usual) {
            log::warn!(
                "{}: {} is not loaded and stays {}, and the loaded parameters are {usual}: float_dtype loads all floats as \
                 one type",
                path.display(),
                shown(&kept.name),
                kept.loaded.name()
            );
        }
    }
    Ok(())
}

/// The name that comes most often. Of several, the module's own type.
fn most_common<'a>(names: impl Iterator<Item = &'a str>, own: &str) -> Option<&'a str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(name, count)| (*count, *name == own)).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(types: &[(DType, DType, bool)]) -> Vec<FloatType> {
        let parameter = |(number, (own, loaded, is_stored)): (usize, &(DType, DType, bool))| FloatType {
            name: format!("p{number}"),
            own: *own,
            loaded: *loaded,
            is_stored: *is_stored,
        };
        types.iter().enumerate().map(parameter).collect()
    }

    fn reason(types: &[(DType, DType, bool)]) -> Option<String> {
        check(Path::new("a.ckpt"), &parameters(types)).err().map(|error| error.to_string())
    }

    #[test]
    fn one_type_in_the_module_and_several_in_the_checkpoint_are_an_error() {
        use DType::{BF16, F16, F32};
        let error = reason(&[(F32, F32, true), (F32, BF16, true), (F32, F32, true)]).unwrap();
        assert!(error.contains("p1 is bf16, and its other parameters are f32"), "{error}");
        assert!(error.contains("float_dtype"), "{error}");
        // Of two that are as frequent, the other one than the module's is odd.
        assert!(reason(&[(F32, F16, true), (F32, F32, true)]).unwrap().contains("p0 is f16"));
        let many = [[(F32, F32, true); 7], [(F32, F16, true); 7], [(F32, F32, true); 7]].concat();
        assert!(reason(&many).unwrap().contains("p10 is f16 and 3 more are another type"));
    }

    #[test]
    fn one_type_in_the_checkpoint_fits_any_module_and_several_fit_one_that_has_them_in_the_same_places() {
        use DType::{BF16, F32};
        assert_eq!(reason(&[(F32, BF16, true), (F32, BF16, true)]), None);
        assert_eq!(reason(&[(F32, F32, true), (BF16, F32, true)]), None);
        assert_eq!(reason(&[(F32, F32, true), (BF16, BF16, true), (BF16, BF16, true)]), None);
        assert!(reason(&[(F32, F32, true), (BF16, BF16, true), (BF16, F32, true)]).is_some());
        // What is not loaded keeps its type.
        assert_eq!(reason(&[(F32, BF16, true), (F32, F32, false)]), None);
    }
}
