//! Names that become one on the server, which does not allow all characters and lengths.

use std::collections::{HashMap, HashSet};

use crate::process::console::warn;

/// Which metrics and parameters have which name on the server.
#[derive(Debug, Default)]
pub(super) struct SharedNames {
    /// The first one of each name.
    first: HashMap<String, String>,
    /// Two of one name that were said.
    said: HashSet<(String, String)>,
}

impl SharedNames {
    /// A value of a metric is logged under a name. Warns, once for two metrics, if that has values of another
    /// one.
    pub(super) fn note_metric(&mut self, key: &str, name: &str) {
        if let Some(first) = self.note(key, name) {
            warn(&format!(
                "the tracker mlflow: the metrics {first} and {name} have one name there, {key}: their values are in one chart. \
                 Rename one of them"
            ));
        }
    }

    /// The same for a parameter.
    pub(super) fn note_param(&mut self, key: &str, name: &str) {
        if let Some(first) = self.note(key, name) {
            warn(&format!(
                "the tracker mlflow: the parameters {first} and {name} have one name there, {key}: it has the value of {first}. \
                 Rename one of them"
            ));
        }
    }

    /// The other one that has this name, if that is not said yet.
    fn note(&mut self, key: &str, name: &str) -> Option<String> {
        match self.first.get(key) {
            None => {
                self.first.insert(key.to_owned(), name.to_owned());
                None
            }
            Some(first) if first == name => None,
            Some(first) => self.said.insert((first.clone(), name.to_owned())).then(|| first.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_one_name_are_said_once() {
        let mut names = SharedNames::default();
        let mut note = |key, name| names.note(key, name);
        assert_eq!([note("a", "a"), note("b", "b"), note("a", "a")], [None, None, None]);
        assert_eq!(note("a", "a@"), Some("a".to_owned()));
        assert_eq!([note("a", "a@"), note("a", "a")], [None, None]);
        assert_eq!(note("a", "a:"), Some("a".to_owned()));
    }
}
