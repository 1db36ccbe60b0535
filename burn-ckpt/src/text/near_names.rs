//! The names that a misspelt one may mean.

/// How the names of metrics begin, by split.
pub const SPLITS: [&str; 2] = ["train_", "val_"];
/// How many names an error lists.
pub const LISTED: usize = 10;
/// How many letters a name may differ in to be near another one: a third of its length, and at least these.
const NEAR: usize = 2;
/// The longest names that are compared, in bytes.
const MAX_COMPARED: usize = 100;

/// A metric's name without the part that says of which split it is.
pub fn bare(metric: &str) -> &str {
    SPLITS.iter().find_map(|split| metric.strip_prefix(split)).unwrap_or(metric)
}

/// Those of the names that are near a word, the nearest first.
pub fn near<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near: Vec<(usize, &str)> = known
        .filter_map(|name| {
            let differs = [name, bare(name)].map(|name| distance(word, name)).into_iter().min()?;
            let is_near = differs <= NEAR.max(word.len() / 3) || name.contains(word);
            is_near.then_some((differs, name))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().map(|(_, name)| name).take(LISTED).collect()
}

/// `; did you mean val_loss?`, or nothing where no name is near.
pub fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    // Every name has the empty one in it.
    match near(word, known).join(", ") {
        none if none.is_empty() || word.is_empty() => String::new(),
        near => format!("; did you mean {near}?"),
    }
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

    #[test]
    fn a_distance_counts_letters() {
        let found = [("", "abc"), ("loss", "los"), ("loss", "lass"), ("abc", "abc"), ("ab", "ba")];
        assert_eq!(found.map(|(one, other)| distance(one, other)), [3, 1, 1, 0, 2]);
    }
}
