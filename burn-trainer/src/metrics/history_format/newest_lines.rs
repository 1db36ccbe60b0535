//! Which lines of the epoch in progress a checkpoint has: the newest. What those before them add up to is
//! enough for their means; the lines themselves are in the log and in the metric files of the run. So the
//! work of a save does not grow with the epoch, and its lines stay within what a reader accepts.

use indexmap::IndexMap;

use crate::metrics::earlier_lines::EarlierLines;
use crate::metrics::line_chunks::{Entries, Lines};

/// The full chunks of all metrics, 524,288 lines. With the numbers of their batches they are 1,572,864 JSON
/// values.
const KEPT_CHUNKS: usize = 512;

/// What the lines before the first one add up to, by burn's names of the metrics.
pub(super) type LinesBefore = IndexMap<String, EarlierLines>;

/// Leaves the newest lines, and returns what those before them add up to.
pub(super) fn keep(entries: &mut Entries) -> LinesBefore {
    let chunks = (KEPT_CHUNKS / entries.len().max(1)).max(1);
    entries.values_mut().for_each(|lines| lines.keep_newest(chunks));
    let before = entries.iter().map(|(metric, lines)| (metric.clone(), lines.before()));
    before.filter(|(_, before)| before.lines > 0).collect()
}

/// Puts the lines after those before them.
pub(super) fn put(entries: &mut Entries, before: LinesBefore) {
    for (metric, before) in before {
        if let Some(lines) = entries.get_mut(&metric) {
            *lines = Lines::after(before, lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::history_format::History;

    fn entries(metrics: usize, lines: u64) -> Entries {
        let mut entries = Entries::new();
        for metric in 0..metrics {
            let of: &mut Lines = entries.entry(format!("Loss {metric}")).or_default();
            (1..=lines).for_each(|number| of.push(number, "0.25,8"));
        }
        entries
    }

    #[test]
    fn an_epoch_of_any_length_is_saved_in_a_bounded_size_and_comes_back() {
        let section = |lines: u64| {
            let history = History { entries: entries(4, lines), ..History::default() };
            history.section(false).unwrap()
        };
        let bytes = |lines: u64| section(lines).tensors[0].byte_len();
        assert!(bytes(420_000) < bytes(200_000) * 21 / 20);
        let back = History::from_section(section(420_000)).unwrap();
        let lines = &back.entries["Loss 3"];
        assert_eq!(lines.before().lines + lines.iter().count() as u64, 420_000);
        assert_eq!(
            lines.before().sum(),
            Some((0.25 * 8.0 * lines.before().lines as f64, lines.before().lines as usize * 8))
        );
        // A save after a resume leaves the same to what is before.
        let again = History::from_section(back.clone().section(false).unwrap()).unwrap();
        assert_eq!(again.entries, back.entries);
    }

    #[test]
    fn lines_before_of_a_hostile_checkpoint_are_read_or_refused() {
        let read = |before: &str| {
            let json =
                format!(r#"{{"epochs":[],"entries":{{"Loss":[[7,"0.5,2"]]}},"entries_before":{before}}}"#);
            let mut section = History::default().section(false).unwrap();
            section.tensors[0] = super::super::tensor("metrics", json.into_bytes());
            History::from_section(section)
        };
        let huge = r#"{"lines":18446744073709551615,"sum":"NaN","items":18446744073709551615,"counts_batches":true}"#;
        let read_back = read(&format!(r#"{{"Loss":{huge},"none":{huge}}}"#)).unwrap();
        assert_eq!(read_back.entries["Loss"].before().lines, u64::MAX);
        assert_eq!(read_back.entries.len(), 1);
        for (before, reason) in
            [("{\"Loss\":{}}", "lines"), ("[]", "map"), (r#"{"Loss":{"lines":-1}}"#, "-1")]
        {
            let error = read(before).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
