//! The loaders of the named validation sets.

use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use indexmap::IndexMap;

use super::LoaderSize;
use crate::error::{Error, Result};

/// The method that adds a set, for errors.
const SETTING: &str = "Trainer::validation_set";
/// Characters of a name. The names of metrics and of their files begin with it.
const MAX_NAME: usize = 60;
/// The main set, and what its metrics' names begin with.
const MAIN: &str = "val";

/// A named validation set.
pub(crate) struct NamedLoader<I> {
    pub(crate) name: String,
    pub(crate) loader: Arc<dyn DataLoader<I>>,
    /// How large it is, if its loader says that before training.
    pub(crate) size: Option<LoaderSize>,
    /// The batches that are used; `None`: all.
    pub(crate) limit: Option<u64>,
}

impl<I> NamedLoader<I> {
    pub(crate) fn new(name: String, loader: Arc<dyn DataLoader<I>>) -> Self {
        let size = LoaderSize::of(&*loader);
        Self { name, loader, size, limit: None }
    }

    /// How many items it has, as the loader says.
    fn items(&self) -> u64 {
        self.size.map_or_else(|| self.loader.num_items(), LoaderSize::items) as u64
    }

    /// Checks that there is a batch, as far as the loader says that before training. A set with a name is
    /// meant to be used.
    ///
    /// # Errors
    ///
    /// [`Error::NoBatch`] if there is none.
    pub(crate) fn check_batches(&self) -> Result<()> {
        match self.size.and_then(LoaderSize::without_batches) {
            Some(reason) if self.limit != Some(0) => Err(without_batch(&self.name, reason)),
            _ => Ok(()),
        }
    }
}

/// The error of a named set that has no batch.
pub(crate) fn without_batch(name: &str, reason: impl Into<String>) -> Error {
    Error::no_batch(format!("validation ({name})"), reason)
}

/// Checks the names of all sets. Returns how many items each has.
///
/// # Errors
///
/// [`Error::Config`] for a name that cannot be used, or is there twice.
pub(crate) fn check_names<I>(sets: &[NamedLoader<I>]) -> Result<IndexMap<String, u64>> {
    for (place, NamedLoader { name, .. }) in sets.iter().enumerate() {
        if let Some(reason) = wrong_name(name) {
            return Err(Error::config(SETTING, format!("the name {name:?}: {reason}")));
        }
        let is_same = |other: &&NamedLoader<I>| other.name.to_lowercase() == name.to_lowercase();
        if let Some(other) = sets[..place].iter().find(is_same) {
            let reason =
                format!("two sets are called {:?} and {name:?}: their metrics would be the same", other.name);
            return Err(Error::config(SETTING, reason));
        }
    }
    Ok(sets.iter().map(|set| (set.name.clone(), set.items())).collect())
}

/// Why a set cannot have this name.
fn wrong_name(name: &str) -> Option<String> {
    let is_part = |part: &str| !part.is_empty() && part.chars().all(char::is_alphanumeric);
    let lower_case = name.to_lowercase();
    match lower_case.strip_prefix(MAIN) {
        _ if name.chars().count() > MAX_NAME => Some(format!("it has more than {MAX_NAME} characters")),
        // So that it stands in the names of metrics as it is.
        _ if !name.split('_').all(is_part) => {
            Some("it has to consist of letters and digits, with a single _ between them".to_owned())
        }
        Some("") => Some("this is the main set, that of Trainer::training".to_owned()),
        Some(rest) if rest.starts_with('_') => {
            let rest = &rest[1..];
            Some(format!("the names of its metrics begin with val_ anyway: {rest:?} gives val_{rest}_loss"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ResumableDataLoader;
    use super::super::tests::{Lists, Numbers};
    use super::*;

    fn checked(names: &[&str]) -> Result<IndexMap<String, u64>> {
        let loader = || ResumableDataLoader::builder(Lists).batch_size(2).build(Numbers::new(5));
        let sets: Vec<_> = names.iter().map(|name| NamedLoader::new((*name).to_owned(), loader())).collect();
        check_names(&sets)
    }

    fn reason(names: &[&str]) -> String {
        match checked(names) {
            Err(Error::Config { setting, reason }) if setting == SETTING => reason,
            other => panic!("{names:?}: {other:?}"),
        }
    }

    #[test]
    fn names_that_can_stand_in_those_of_metrics_are_taken_in_their_order() {
        let sets = checked(&["hard", "Out_of_domain", "2024", "größer", "valid", "value"]).unwrap();
        assert_eq!(
            sets.keys().collect::<Vec<_>>(),
            ["hard", "Out_of_domain", "2024", "größer", "valid", "value"]
        );
        assert!(sets.values().all(|items| *items == 5));
        assert!(checked(&[&"x".repeat(MAX_NAME)]).is_ok());
    }

    #[test]
    fn other_names_are_errors_that_say_why() {
        for name in ["", " ", "a b", "a-b", "a/b", "..", "_a", "a_", "a__b", "a\nb", "a.b"] {
            assert!(reason(&[name]).contains("letters and digits"), "{name:?}");
        }
        assert!(reason(&[&"x".repeat(MAX_NAME + 1)]).contains("more than 60 characters"));
        assert!(reason(&["val"]).contains("main set"));
        assert!(reason(&["val_hard"]).contains("\"hard\" gives val_hard_loss"));
        assert!(reason(&["hard", "other", "Hard"]).contains("\"hard\" and \"Hard\""));
    }
}
