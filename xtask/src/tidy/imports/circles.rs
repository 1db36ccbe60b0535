//! Circles in a graph of files.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Which file imports from which, and on what line first.
#[derive(Default)]
pub struct Edges {
    from: BTreeMap<String, BTreeMap<String, usize>>,
}

/// A way from a file back to itself.
#[derive(Debug, PartialEq)]
pub struct Circle {
    /// In the order of the imports; the last imports from the first.
    pub files: Vec<String>,
    /// Where the first file imports from the next.
    pub line: usize,
    /// All files that reach each other, of which the circle shows some.
    pub component: Vec<String>,
}

impl Edges {
    /// An import. Of a file's own names there are none.
    pub fn add(&mut self, from: &str, to: &str, line: usize) {
        if from != to {
            let lines = self.from.entry(from.to_owned()).or_default();
            let first = lines.entry(to.to_owned()).or_insert(line);
            *first = line.min(*first);
        }
    }

    /// All of them, with the line of the first import each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, usize)> {
        self.from
            .iter()
            .flat_map(|(from, to)| to.iter().map(move |(to, line)| (from.as_str(), to.as_str(), *line)))
    }

    fn targets<'a>(&'a self, from: &str) -> impl Iterator<Item = &'a str> {
        self.from.get(from).into_iter().flat_map(|targets| targets.keys().map(String::as_str))
    }

    /// The files reached from one, each with the file before it on a shortest way. The first is among them if
    /// it lies on a circle.
    fn reached<'a>(&'a self, first: &'a str) -> BTreeMap<&'a str, &'a str> {
        let mut before = BTreeMap::new();
        let mut queue = VecDeque::from([first]);
        while let Some(file) = queue.pop_front() {
            for target in self.targets(file) {
                before.entry(target).or_insert_with(|| {
                    queue.push_back(target);
                    file
                });
            }
        }
        before
    }
}

/// One circle for each set of files that reach each other: a shortest one through its first file by name.
pub fn find(edges: &Edges) -> Vec<Circle> {
    let reached: BTreeMap<&str, _> =
        edges.from.keys().map(|file| (file.as_str(), edges.reached(file))).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for (first, before) in &reached {
        if !before.contains_key(first) || seen.contains(first) {
            continue;
        }
        let reaches_first =
            |file: &&str| reached.get(file).is_some_and(|reached| reached.contains_key(first));
        let component: Vec<&str> = before.keys().copied().filter(reaches_first).collect();
        seen.extend(component.iter().copied());
        let mut way = vec![*first];
        let mut file = before[first];
        while file != *first {
            way.push(file);
            file = before[file];
        }
        way[1..].reverse();
        let line = edges.from[*first][way[1]];
        let owned = |files: Vec<&str>| files.into_iter().map(str::to_owned).collect();
        circles.push(Circle { files: owned(way), line, component: owned(component) });
    }
    circles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(edges: &[(&str, &str, usize)]) -> Vec<(String, usize, String)> {
        let mut all = Edges::default();
        for (from, to, line) in edges {
            all.add(from, to, *line);
        }
        let shown = |circle: Circle| (circle.files.join(" "), circle.line, circle.component.join(" "));
        find(&all).into_iter().map(shown).collect()
    }

    #[test]
    fn the_shortest_circle_through_the_first_file_stands_for_its_component() {
        let edges =
            [("a", "b", 9), ("a", "b", 3), ("b", "c", 1), ("c", "a", 1), ("b", "a", 4), ("d", "a", 1)];
        assert_eq!(circles(&edges), [("a b".to_owned(), 3, "a b c".to_owned())]);
        let apart = [("a", "b", 1), ("b", "a", 1), ("c", "d", 2), ("d", "c", 1), ("b", "c", 1)];
        assert_eq!(
            circles(&apart),
            [("a b".to_owned(), 1, "a b".to_owned()), ("c d".to_owned(), 2, "c d".to_owned())]
        );
    }

    #[test]
    fn without_a_circle_nothing_is_found() {
        assert_eq!(circles(&[("a", "b", 1), ("a", "c", 2), ("b", "c", 1), ("c", "c", 1)]), []);
    }
}
