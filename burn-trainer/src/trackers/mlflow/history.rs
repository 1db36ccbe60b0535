//! What a server has of a run that resumes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::Value;

use super::client::Client;
use super::requests::{Metric, bits_of, step_of};
use crate::trackers::flattened::text_of;
use crate::trackers::tracker::TrackerResult;

/// Values in one answer.
const PAGE: &str = "10000";

/// A value of a metric: its step and its bits.
type Point = (u64, u64);

/// The values that the server had when the run resumed. In the moment of a kill values can be sent of which
/// the run does not know.
#[derive(Default)]
pub(super) struct ServerValues {
    /// The last step of each metric.
    last: HashMap<String, u64>,
    /// How often the server has each value, of the metrics that were asked for, without those that the run
    /// has logged again.
    counts: HashMap<String, HashMap<Point, usize>>,
}

/// Values to send.
pub(super) struct NewMetrics {
    pub(super) metrics: Vec<Metric>,
    /// The first step of which the server has other values, and values of later steps.
    pub(super) branched_at: Option<u64>,
    /// The last step of each of all metrics.
    pub(super) steps: HashMap<String, u64>,
    /// The values that it has, which are not sent again.
    known: Vec<(String, Point)>,
}

impl ServerValues {
    /// Those of a run in a server's answer.
    pub(super) fn of(metrics: &Value) -> Self {
        let metrics = metrics.as_array().map(Vec::as_slice).unwrap_or_default();
        let last = metrics.iter().filter_map(|metric| Some((text_of(&metric["key"]), step_of(metric)?)));
        Self { last: last.collect(), counts: HashMap::new() }
    }

    /// Metrics without those that the server has though the run does not know it. `noted` has the last steps
    /// that the run knows to be sent: what follows of such a step are other batches of it.
    pub(super) fn without_known(
        &mut self,
        metrics: Vec<Metric>,
        noted: &HashMap<String, u64>,
        client: &Client,
        run_id: &str,
    ) -> TrackerResult<NewMetrics> {
        let steps = metrics.iter().map(|metric| (metric.key.clone(), metric.step)).collect();
        let mut new = NewMetrics { metrics: Vec::new(), branched_at: None, steps, known: Vec::new() };
        let mut seen: HashMap<(String, Point), usize> = HashMap::new();
        for metric in metrics {
            let last = self.last.get(&metric.key).copied();
            let is_noted = noted.get(&metric.key) == Some(&metric.step);
            let Some(last) = last.filter(|last| metric.step <= *last && !is_noted) else {
                new.metrics.push(metric);
                continue;
            };
            let counts = match self.counts.entry(metric.key.clone()) {
                Entry::Occupied(counts) => counts.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(values(client, run_id, &metric.key)?),
            };
            let point = (metric.step, metric.bits());
            let place = (metric.key.clone(), point);
            let count = seen.entry(place.clone()).or_default();
            if *count < counts.get(&point).copied().unwrap_or_default() {
                *count += 1;
                new.known.push(place);
                continue;
            }
            // Of the last step it need not have all batches.
            if metric.step < last {
                new.branched_at.get_or_insert(metric.step);
            }
            new.metrics.push(metric);
        }
        Ok(new)
    }

    /// The run has logged again what the server has: another value of that kind is a new one.
    pub(super) fn take_known(&mut self, new: &NewMetrics) {
        for (key, point) in &new.known {
            let count = self.counts.get_mut(key).and_then(|counts| counts.get_mut(point));
            if let Some(count) = count {
                *count = count.saturating_sub(1);
            }
        }
    }
}

/// How often a run has each value of a metric.
fn values(client: &Client, run_id: &str, key: &str) -> TrackerResult<HashMap<Point, usize>> {
    let mut counts = HashMap::new();
    let mut page = String::new();
    loop {
        let query = [("run_id", run_id), ("metric_key", key), ("max_results", PAGE), ("page_token", &page)];
        let sent = if page.is_empty() { &query[..3] } else { &query };
        let answer = client.get("metrics/get-history", sent)?;
        let metrics = answer["metrics"].as_array().map(Vec::as_slice).unwrap_or_default();
        for metric in metrics {
            if let Some(step) = step_of(metric) {
                *counts.entry((step, bits_of(&metric["value"]))).or_default() += 1;
            }
        }
        let next = if answer["next_page_token"].is_null() {
            String::new()
        } else {
            text_of(&answer["next_page_token"])
        };
        if next.is_empty() || next == page {
            return Ok(counts);
        }
        page = next;
    }
}
