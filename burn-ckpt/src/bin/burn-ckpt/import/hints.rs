//! Hints at what a file's names mean: weights that are tied, and a prefix that a program has put before all
//! names.

use std::collections::BTreeSet;

use burn_ckpt::burn_pack::Tensor;
use burn_ckpt::plumbing::shell_word;

/// More tensors of one shape say nothing.
const MAX_TWINS: usize = 3;
/// What programs put before the names of a model: `torch.compile`, `DataParallel`, Lightning and others.
const WRAPPERS: [&str; 5] = ["_orig_mod", "module", "model", "net", "network"];

/// A hint for a tensor that is missing, if few others have its shape: its weights may be tied to theirs.
pub fn tied<'a>(wanted: &Tensor, there: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Option<String> {
    // All scalars are alike.
    if wanted.shape.iter().product::<usize>() <= 1 {
        return None;
    }
    let same_kind = |tensor: &Tensor| tensor.dtype.is_float() == wanted.dtype.is_float();
    let twins: Vec<&str> = there
        .filter(|(name, tensor)| tensor.shape == wanted.shape && same_kind(tensor) && is_printable(name))
        .map(|(name, _)| name)
        .collect();
    match &twins[..] {
        [] => None,
        [twin] => Some(format!(
            "; {twin} has its shape: if the weights are tied, use --copy {}",
            shell_word(&format!("{twin}={}", wanted.name))
        )),
        twins if twins.len() <= MAX_TWINS => Some(format!(
            "; {} have its shape: if its weights are tied to one of them, use --copy",
            twins.join(" and ")
        )),
        _ => None,
    }
}

/// A hint for names that fit better with other beginnings: all in the file begin with a part that the model's
/// lack, or the other way around.
pub fn wrong_prefix(there: &BTreeSet<String>, wanted: &BTreeSet<String>) -> Option<String> {
    let fitting = |names: &BTreeSet<String>| names.intersection(wanted).count();
    let now = fitting(there);
    let without = prefixes(there).into_iter().map(|prefix| {
        let names = there.iter().filter_map(|name| name.strip_prefix(&prefix)).map(str::to_owned).collect();
        (
            fitting(&names),
            format!("all names in the file begin with {prefix}: {} removes that", removing(&prefix)),
        )
    });
    let with = prefixes(wanted).into_iter().map(|prefix| {
        let names = there.iter().map(|name| format!("{prefix}{name}")).collect();
        let flag = format!("--rename {}", shell_word(&format!("^={prefix}")));
        (fitting(&names), format!("all names in the model begin with {prefix}: {flag} adds that"))
    });
    let best = without.chain(with).max_by_key(|(fitting, _)| *fitting)?;
    (best.0 > now).then_some(best.1)
}

/// A note on what a program may have put before all names.
pub fn wrapper(names: &BTreeSet<String>) -> Option<String> {
    let of_wrappers = |prefix: &String| prefix.split_terminator('.').all(|part| WRAPPERS.contains(&part));
    let prefix = prefixes(names).into_iter().filter(of_wrappers).max_by_key(String::len)?;
    let flag = removing(&prefix);
    Some(format!("note: all names begin with {prefix}: if the model has no such part, {flag} removes it"))
}

/// Beginnings that all names have, each up to a dot.
fn prefixes(names: &BTreeSet<String>) -> Vec<String> {
    let (Some(first), Some(last)) = (names.first(), names.last()) else { return Vec::new() };
    // The names are in order: what the first and the last have in common, all have.
    first
        .match_indices('.')
        .map(|(end, _)| first[..=end].to_owned())
        .take_while(|prefix| last.starts_with(prefix.as_str()) && is_printable(prefix))
        .collect()
}

/// Whether a name of the file can be printed: a terminal obeys control characters.
fn is_printable(name: &str) -> bool {
    !name.contains(char::is_control)
}

/// The flag that removes a prefix.
fn removing(prefix: &str) -> String {
    let escaped: String = prefix
        .chars()
        .flat_map(|c| if c.is_alphanumeric() || c == '_' { vec![c] } else { vec!['\\', c] })
        .collect();
    format!("--rename {}", shell_word(&format!("^{escaped}=")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_prefix_is_named_with_the_flag_that_removes_it() {
        let names = set(&["_orig_mod.module.a.weight", "_orig_mod.module.b.weight"]);
        assert!(wrapper(&names).unwrap().contains(r"--rename '^_orig_mod\.module\.='"));
        // A model of one part is not wrapped.
        assert_eq!(wrapper(&set(&["linear.weight", "linear.bias"])), None);
        assert_eq!(wrapper(&set(&["model.a", "head.b"])), None);
        assert_eq!(wrapper(&set(&["modeling.a", "model.b"])), None);

        let wanted = set(&["a.weight", "b.weight"]);
        let hint = wrong_prefix(&names, &wanted).unwrap();
        assert!(hint.contains(r"--rename '^_orig_mod\.module\.=' removes"), "{hint}");
        let hint = wrong_prefix(&wanted, &set(&["net.a.weight", "net.b.weight", "net.c"])).unwrap();
        assert!(hint.contains("--rename '^=net.' adds"), "{hint}");
        assert_eq!(wrong_prefix(&wanted, &wanted), None);
        assert_eq!(wrong_prefix(&set(&["x.y"]), &set(&["a.b"])), None);
    }
}
