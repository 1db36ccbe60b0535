//! The names of the metrics' files: burn's where it can be one.

use std::path::Path;

use burn::train::metric::MetricName;
use burn_ckpt::plumbing::{CHECKPOINT_DIR, is_there, safe_name, same_file_name};

use crate::error::{Error, Result};
use crate::metrics::name_digest::digest;

/// Bytes of a metric's name that are used as a file name unchanged. Every file system allows that many.
const MAX_FILE_NAME: usize = 100;

/// Checks that burn gives each metric a file of its own. Its readers would take one metric for the other.
///
/// # Errors
///
/// [`Error::Config`] naming two metrics of one file.
pub(crate) fn check_file_names(names: &[MetricName], run_dir: &Path) -> Result<()> {
    // There is none where capital letters are told from small ones.
    let other_case = run_dir.join(CHECKPOINT_DIR.to_uppercase());
    let folds_case = is_there(&other_case)?;
    let is_one_file = |a: &str, b: &str| a == b || (folds_case && same_file_name(a, b));
    for (place, a) in names.iter().enumerate() {
        for b in &names[..place] {
            if let (Some(file), Some(other)) = (burns_file_name(a), burns_file_name(b))
                && is_one_file(&file, &other)
            {
                let reason = format!(
                    "{b:?} and {a:?} would both be written to {file}.log: give one of them another name"
                );
                return Err(Error::config("metrics", reason));
            }
        }
    }
    Ok(())
}

/// The name that burn's readers look for, without ending, unless it would lead out of the directory.
fn burns_file_name(name: &str) -> Option<String> {
    is_file_name(name).then(|| name.replace(' ', "_"))
}

/// The names of the metrics' files, without ending: burn's where it can be one. A metric called "../x" or
/// "val/loss" must not choose the directory of its file, nor take the file of another: then a digest of its
/// name makes the difference, which is the same after a resume, and whichever metrics there are first.
pub(super) fn file_names(names: &[MetricName]) -> Vec<String> {
    let plain: Vec<String> = names
        .iter()
        .map(|name| {
            burns_file_name(name).unwrap_or_else(|| {
                safe_name("the metric's name", name).unwrap_or_else(|_| "metric".to_owned())
            })
        })
        .collect();
    let own = |(place, name): (usize, &MetricName)| {
        let is_shared = |other: &String| same_file_name(other, &plain[place]);
        match burns_file_name(name) {
            None if plain.iter().filter(|other| is_shared(other)).count() > 1 => {
                format!("{}-{}", plain[place], digest(name))
            }
            _ => plain[place].clone(),
        }
    };
    names.iter().enumerate().map(own).collect()
}

fn is_file_name(name: &str) -> bool {
    name.len() <= MAX_FILE_NAME
        && name.contains(char::is_alphanumeric)
        && !name.contains(['/', '\\'])
        && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::fs;
    use std::sync::Arc;
    use tempfile::tempdir;

    fn named(names: &[&str]) -> Vec<MetricName> {
        names.iter().map(|name| Arc::new((*name).to_owned())).collect()
    }

    #[test]
    fn hostile_names_are_not_used_as_file_names() {
        for name in ["", "..", "a/b", "../../a", "a\nb", &"x".repeat(300)] {
            assert!(!is_file_name(name), "{name:?}");
        }
        assert!(is_file_name("Top-K Accuracy @ k=5"));
    }

    #[test]
    fn each_metric_has_a_file_of_its_own_and_burns_names_stay() {
        let of = |names: &[&str]| file_names(&named(names));
        assert_eq!(of(&["val/loss", "Loss"]), ["val_loss", "Loss"]);
        let shared = of(&["val/loss", "val_loss", "Val\\Loss", "val//loss"]);
        assert_eq!(shared[1], "val_loss");
        let different: HashSet<&String> = shared.iter().collect();
        assert_eq!(different.len(), 4, "{shared:?}");
        assert!(shared[0].starts_with("val_loss-") && shared[0].len() == "val_loss-".len() + 8, "{shared:?}");
        // Whichever is first, and whatever else there is.
        assert_eq!(of(&["val_loss", "other", "val/loss"])[2], shared[0]);
        let long = ["x".repeat(120) + "/a", "x".repeat(120) + "//a", "x".repeat(300), "x".repeat(301)];
        let long = of(&long.each_ref().map(String::as_str));
        assert_eq!(long.iter().collect::<HashSet<_>>().len(), 4, "{long:?}");
    }

    #[test]
    fn two_metrics_of_one_file_of_burns_are_an_error_that_names_both() {
        let root = tempdir().unwrap();
        let check =
            |names: &[&str]| check_file_names(&named(names), root.path()).map_err(|error| error.to_string());
        assert_eq!(check(&["Loss", "loss", "val loss", "val/loss"]), Ok(()));
        let error = check(&["Loss", "val loss", "val_loss"]).unwrap_err();
        assert!(error.contains("\"val loss\" and \"val_loss\"") && error.contains("val_loss.log"), "{error}");
        // As on a file system that does not tell capital letters from small ones.
        fs::create_dir(root.path().join("CHECKPOINT")).unwrap();
        let error = check(&["Loss", "loss"]).unwrap_err();
        assert!(error.contains("\"Loss\" and \"loss\""), "{error}");
    }
}
