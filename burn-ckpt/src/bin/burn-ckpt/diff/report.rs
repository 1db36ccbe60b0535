//! Printing differences for humans, and as JSON.

use serde_json::{Map, Value, json};

use super::differences::{Change, ComparedSection, Differences, OnlyIn, TensorChange};
use crate::terminal::figures::{count, grouped, number, value};
use crate::terminal::output::Output;
use crate::terminal::table::{Align, Table};
use crate::verb_result::Failure;

/// How many lines of a list are shown by default.
const SHOWN: usize = 20;
/// So many tensors of a section, and more, are one row if at most so many others of it are the same.
const LEAST_IN_ONE_ROW: usize = 4;
const MOST_NAMED_AS_SAME: usize = 3;
/// How many characters of a value are shown by default.
const SHOWN_OF_A_VALUE: usize = 60;

/// Prints a list for each kind of difference.
pub fn print(differences: &Differences, all: bool, output: &mut Output) -> Result<(), Failure> {
    let mut list = |title: &str, changes: &[Change], show: &dyn Fn(&Change) -> [String; 2]| {
        let rows = changes.iter().map(|change| {
            let [a, b] = show(change);
            vec![change.name.clone(), a, b]
        });
        print_list(title, rows.collect(), all, output)
    };
    let plain = |change: &Change| {
        [&change.a, &change.b].map(|side| side.as_ref().map_or("-".to_owned(), |side| cut(value(side), all)))
    };
    if let Some(metadata) = &differences.metadata {
        list("state and machine", &metadata.state_and_machine, &plain)?;
        list("metrics", &metadata.metrics, &metric)?;
    }
    list("hyperparameters", &differences.hparams, &plain)?;
    if let Some(metadata) = &differences.metadata {
        list("trainer settings", &metadata.trainer, &plain)?;
        list("git", &metadata.git, &plain)?;
        list("packages", &metadata.packages, &plain)?;
    }
    list("scalars", &differences.scalars, &plain)?;
    list("strings", &differences.strings, &plain)?;
    for section in &differences.sections {
        let side = if section.is_in_a { "A" } else { "B" };
        let (tensors, scalars) = (count(section.tensors, "tensor"), count(section.scalars, "scalar"));
        output.line(format!("section {}: only in {side} ({tensors}, {scalars})", section.name))?;
    }
    let differ = differences.tensors().count();
    if differ > 0 {
        let of = count(differences.tensors_compared(), "tensor");
        let by = source_of_digests(differences);
        let title = format!("tensors: {} of {of} differ ({by})", grouped(differ));
        let rows = differences.compared.iter().flat_map(|section| tensors_of(section, all));
        print_list(&title, rows.collect(), all, output)?;
    }
    Ok(())
}

/// The rows of a section's tensors. Where almost all have other values, as after some steps of training, they
/// are one row.
fn tensors_of(section: &ComparedSection, all: bool) -> Vec<Vec<String>> {
    let row = |change: &TensorChange| vec![change.name.clone(), tensor(change)];
    let of_values = section.different.iter().filter(|change| change.is_of_values()).count();
    let same = section.same.len();
    if all || of_values < LEAST_IN_ONE_ROW || same > MOST_NAMED_AS_SAME {
        return section.different.iter().map(row).collect();
    }
    let tensors = count(of_values, "tensor");
    let which = match same {
        0 if of_values == section.different.len() => format!("all {tensors} have other values (--all)"),
        0 => format!("{tensors} have other values (--all)"),
        _ => format!("{tensors} have other values (--all), and not {}", section.same.join(", ")),
    };
    let others = section.different.iter().filter(|change| !change.is_of_values()).map(row);
    std::iter::once(vec![section.name.clone(), which]).chain(others).collect()
}

/// Says what was compared, for two checkpoints that do not differ.
pub fn same(differences: &Differences) -> String {
    let always = "sections, tensors, scalars and hyperparameters";
    let by = source_of_digests(differences);
    match differences.metadata {
        Some(_) => {
            format!(
                "no difference in {always}, state and machine, metrics, trainer settings, git and packages\n(tensors {by})"
            )
        }
        None => format!("no difference in {always}\n(tensors {by})"),
    }
}

fn source_of_digests(differences: &Differences) -> &'static str {
    match differences.digests_known {
        [true, true] => "by the digests in the metadata; none was read",
        [false, false] => "read from both files",
        [true, false] => "by the digests in A's metadata, and read from B",
        [false, true] => "read from A, and by the digests in B's metadata",
    }
}

fn print_list(title: &str, rows: Vec<Vec<String>>, all: bool, output: &mut Output) -> Result<(), Failure> {
    let Some(columns) = rows.first().map(Vec::len) else { return Ok(()) };
    let more = if all { 0 } else { rows.len().saturating_sub(SHOWN) };
    let shown = rows.len() - more;
    output.line(title)?;
    let mut table = Table::without_heading(vec![Align::Left; columns]);
    rows.into_iter().take(shown).for_each(|row| table.row(row));
    output.table(table, 2)?;
    if more > 0 {
        output.line(format!("  and {} more (--all)", grouped(more)))?;
    }
    Ok(())
}

/// Both values, rounded unless they would look the same.
fn metric(change: &Change) -> [String; 2] {
    let sides = [&change.a, &change.b];
    let rounded =
        sides.map(|side| side.as_ref().map(|side| side.as_f64().map_or_else(|| value(side), number)));
    let shown = if rounded[0] == rounded[1] { sides.map(|side| side.as_ref().map(value)) } else { rounded };
    shown.map(|side| side.unwrap_or_else(|| "-".to_owned()))
}

fn tensor(change: &TensorChange) -> String {
    let shown = |side: &Value| format!("{} {}", value(&side["dtype"]), side["shape"]).replace(',', ", ");
    match (&change.a, &change.b) {
        (Some(a), Some(b)) if a == b => "other values".to_owned(),
        (Some(a), Some(b)) => format!("{} in A, {} in B", shown(a), shown(b)),
        (Some(a), None) => format!("only in A: {}", shown(a)),
        (None, Some(b)) => format!("only in B: {}", shown(b)),
        (None, None) => String::new(),
    }
}

fn cut(text: String, all: bool) -> String {
    if all || text.chars().count() <= SHOWN_OF_A_VALUE {
        return text;
    }
    text.chars().take(SHOWN_OF_A_VALUE).chain("..".chars()).collect()
}

/// All differences. A value that is in only one of the two has no key for the other.
pub fn as_json(differences: &Differences, a: &str, b: &str) -> Value {
    let metadata = differences.metadata.as_ref();
    let of = |part: Option<&Vec<Change>>| part.map(|changes| changes.iter().map(change).collect::<Vec<_>>());
    let source = |known: bool| if known { "metadata" } else { "file" };
    json!({
        "a": a,
        "b": b,
        "state_and_machine": of(metadata.map(|metadata| &metadata.state_and_machine)),
        "metrics": of(metadata.map(|metadata| &metadata.metrics)),
        "hparams": of(Some(&differences.hparams)),
        "trainer_config": of(metadata.map(|metadata| &metadata.trainer)),
        "git": of(metadata.map(|metadata| &metadata.git)),
        "packages": of(metadata.map(|metadata| &metadata.packages)),
        "scalars": of(Some(&differences.scalars)),
        "strings": of(Some(&differences.strings)),
        "sections": differences.sections.iter().map(section).collect::<Vec<_>>(),
        "tensors": differences.tensors().map(tensor_json).collect::<Vec<_>>(),
        "tensors_compared": differences.tensors_compared(),
        "tensor_digests_from": differences.digests_known.map(source),
    })
}

fn change(change: &Change) -> Value {
    sides(&change.name, change.a.as_ref(), change.b.as_ref())
}

fn tensor_json(change: &TensorChange) -> Value {
    sides(&change.name, change.a.as_ref(), change.b.as_ref())
}

fn sides(name: &str, a: Option<&Value>, b: Option<&Value>) -> Value {
    let mut object = Map::from_iter([("name".to_owned(), Value::from(name))]);
    for (key, side) in [("a", a), ("b", b)] {
        if let Some(side) = side {
            object.insert(key.to_owned(), side.clone());
        }
    }
    Value::Object(object)
}

fn section(only: &OnlyIn) -> Value {
    let side = if only.is_in_a { "a" } else { "b" };
    json!({ "name": only.name, "only_in": side, "tensors": only.tensors, "scalars": only.scalars })
}
