//! The optimizer's state under the paths of its parameters.
//!
//! burn names it by parameter ids, which are random numbers: `8523905239.moment_1`. A checkpoint has
//! `conv1.weight.moment_1`: a reader sees the parameter, and two runs can be compared. burn's record lists
//! the path of each id, by which the names are restored.

use std::collections::{BTreeMap, HashMap};

use burn_ckpt::Section;

/// From burn's names to those of a checkpoint. Sorts the tensors by name, since the ids are random.
pub(crate) fn by_path(mut section: Section) -> Section {
    let paths = section.strings.clone();
    let renamed = |name: &str| {
        let (id, field) = name.split_once('.')?;
        paths.get(id).map(|path| format!("{path}.{field}"))
    };
    rename(&mut section, renamed);
    section.tensors.sort_by(|a, b| a.name.cmp(&b.name));
    section
}

/// From a checkpoint's names to burn's.
pub(crate) fn by_id(mut section: Section) -> Section {
    let ids: HashMap<String, String> =
        section.strings.iter().map(|(id, path)| (path.clone(), id.clone())).collect();
    let renamed = |name: &str| {
        // The longest path that the name begins with; a field has dots too.
        name.rmatch_indices('.').find_map(|(end, _)| {
            let id = ids.get(&name[..end])?;
            Some(format!("{id}{}", &name[end..]))
        })
    };
    rename(&mut section, renamed);
    section
}

/// Names for which `renamed` gives `None` stay as they are.
fn rename(section: &mut Section, renamed: impl Fn(&str) -> Option<String>) {
    for tensor in &mut section.tensors {
        if let Some(name) = renamed(&tensor.name) {
            tensor.name = name;
        }
    }
    let scalars = std::mem::take(&mut section.scalars).into_iter();
    let scalars: BTreeMap<_, _> =
        scalars.map(|(name, value)| (renamed(&name).unwrap_or(name), value)).collect();
    section.scalars = scalars;
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_ckpt::burn_pack::{Bytes, DType, Scalar, Tensor};

    fn tensor(name: &str) -> Tensor {
        Tensor::new(name.to_owned(), DType::F32, vec![1], None, Bytes::from_bytes_vec(vec![0; 4]))
    }

    fn names(section: &Section) -> Vec<&str> {
        section
            .tensors
            .iter()
            .map(|tensor| tensor.name.as_str())
            .chain(section.scalars.keys().map(String::as_str))
            .collect()
    }

    #[test]
    fn names_are_restored() {
        let scalars = [("7.time", Scalar::UInt(3)), ("12.__rank", Scalar::UInt(2))];
        let strings = [("7", "layer.weight"), ("12", "layer.bias")];
        let section = Section::new()
            .with_tensors(vec![tensor("7.momentum.moment_1"), tensor("12.momentum.moment_1"), tensor("99.x")])
            .with_scalars(scalars.map(|(name, value)| (name.to_owned(), value)).into())
            .with_strings(strings.map(|(id, path)| (id.to_owned(), path.to_owned())).into());
        let by_path = by_path(section.clone());
        assert_eq!(
            names(&by_path),
            [
                "99.x",
                "layer.bias.momentum.moment_1",
                "layer.weight.momentum.moment_1",
                "layer.bias.__rank",
                "layer.weight.time"
            ]
        );
        let back = by_id(by_path);
        let (mut found, mut expected) = (names(&back), names(&section));
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
