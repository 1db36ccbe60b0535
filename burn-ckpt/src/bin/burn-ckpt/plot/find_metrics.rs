//! Which metrics of a run a word means: one of that name, or those of a quantity.

use std::path::Path;

use burn_ckpt::plumbing::is_directory;
use indexmap::IndexSet;

use crate::verb_result::Failure;

/// How the names of metrics begin, by split.
const SPLITS: [&str; 2] = ["train_", "val_"];
/// How many names an error lists.
const LISTED: usize = 10;
/// How many letters a name may differ in to be near another one: a third of its length, and at least these.
const NEAR: usize = 2;
/// The longest names that are compared, in bytes.
const MAX_COMPARED: usize = 100;

/// A metric's name without the part that says of which split it is.
pub fn bare(metric: &str) -> &str {
    SPLITS.iter().find_map(|split| metric.strip_prefix(split)).unwrap_or(metric)
}

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
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .filter_map(|name| {
            let differs = [name.as_str(), bare(name)].map(|name| distance(word, name)).into_iter().min()?;
            let is_near = differs <= NEAR.max(word.len() / 3) || name.contains(word);
            is_near.then_some((differs, name.as_str()))
        })
        .collect();
    near.sort_unstable();
    let names: Vec<&str> = match near.is_empty() {
        true => known.iter().map(String::as_str).take(LISTED).collect(),
        false => near.into_iter().map(|(_, name)| name).take(LISTED).collect(),
    };
    let more = match known.len() - names.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Failure::Other(format!("there is no metric {word}; there are {}{more}", names.join(", ")))
}

/// How many letters have to be changed, added or taken away to make one text the other.
fn distance(one: &str, other: &str) -> usize {
    if one.len().max(other.len()) > MAX_COMPARED {
        return usize::MAX;
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for place in 0..other.len() {
            let changed = diagonal + usize::from(letter != other[place]);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
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

    #[test]
    fn a_distance_counts_letters() {
        let found = [("", "abc"), ("loss", "los"), ("loss", "lass"), ("abc", "abc"), ("ab", "ba")];
        assert_eq!(found.map(|(one, other)| distance(one, other)), [3, 1, 1, 0, 2]);
    }
}
