//! Which metrics of a run a word means: one of that name, or those of a quantity.

use std::path::Path;

use burn_ckpt::plumbing::is_directory;
use indexmap::IndexSet;

use crate::verb_result::Failure;
use burn_ckpt::plumbing::near_names::{LISTED, SPLITS, bare, near};

/// What a metric measures: `loss` of `train_loss`, of `val_loss`, and of `val_hard_loss` on a validation set
/// of its own.
pub fn quantity<'a>(metric: &'a str, known: &'a IndexSet<String>) -> &'a str {
    let rest = bare(metric);
    let is_of_validation = metric.starts_with(SPLITS[1]);
    let trained = known.iter().filter_map(|name| name.strip_prefix(SPLITS[0]));
    let of_set = trained.filter(|name| {
        is_of_validation && rest.strip_suffix(name).is_some_and(|set| set.len() > 1 && set.ends_with('_'))
    });
    of_set.max_by_key(|name| name.len()).unwrap_or(rest)
}

/// The metrics that a word means.
///
/// # Errors
///
/// When there is none, with the names that are near.
pub fn meant<'a>(word: &str, known: &'a IndexSet<String>) -> Result<Vec<&'a str>, Failure> {
    if let Some(name) = known.get(word) {
        return Ok(vec![name]);
    }
    let found: Vec<&str> =
        known.iter().map(String::as_str).filter(|name| quantity(name, known) == word).collect();
    if found.is_empty() { Err(unknown(word, known)) } else { Ok(found) }
}

fn unknown(word: &str, known: &IndexSet<String>) -> Failure {
    if word.contains(std::path::is_separator) || is_directory(Path::new(word)).unwrap_or(false) {
        return Failure::Other(format!("{word} is neither a run's directory nor a metric"));
    }
    if known.is_empty() {
        return Failure::Other(format!("there is no metric {word}: nothing has been logged yet"));
    }
    let near = near(word, known.iter().map(String::as_str));
    let names: Vec<&str> = match near.is_empty() {
        true => known.iter().map(String::as_str).take(LISTED).collect(),
        false => near,
    };
    let more = match known.len() - names.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Failure::Other(format!("there is no metric {word}; there are {}{more}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[&str]) -> IndexSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_word_is_a_name_or_a_quantity_of_all_splits_and_sets() {
        let known = known(&["train_loss", "val_loss", "val_hard_loss", "train_acc", "lr", "val_closs"]);
        assert_eq!(meant("val_loss", &known).unwrap(), ["val_loss"]);
        assert_eq!(meant("loss", &known).unwrap(), ["train_loss", "val_loss", "val_hard_loss"]);
        assert_eq!(meant("lr", &known).unwrap(), ["lr"]);
    }

    #[test]
    fn an_unknown_name_is_an_error_with_those_that_are_near() {
        let known = known(&["train_loss", "val_loss", "val_accuracy"]);
        for (word, named) in [
            ("val_los", "there are val_loss, and 2 more"),
            ("acuracy", "there are val_accuracy, and 2 more"),
            ("perplexity", "there are train_loss, val_loss, val_accuracy"),
        ] {
            let error = meant(word, &known).unwrap_err().to_string();
            assert!(error.ends_with(named) && error.contains(word), "{error}");
        }
        assert!(meant("loss", &IndexSet::new()).unwrap_err().to_string().contains("nothing has been logged"));
    }
}
