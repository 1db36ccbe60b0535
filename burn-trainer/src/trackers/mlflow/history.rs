//! What a server has of a metric.

use std::collections::HashSet;

use super::client::Client;
use super::requests::{bits_of, step_of};
use crate::trackers::flattened::text_of;
use crate::trackers::tracker::TrackerResult;

/// Values in one answer.
const PAGE: &str = "10000";

/// The values of a metric of a run: the step and the value's bits of each.
pub(super) fn values(client: &Client, run_id: &str, key: &str) -> TrackerResult<HashSet<(u64, u64)>> {
    let mut values = HashSet::new();
    let mut page = String::new();
    loop {
        let query = [("run_id", run_id), ("metric_key", key), ("max_results", PAGE), ("page_token", &page)];
        let sent = if page.is_empty() { &query[..3] } else { &query };
        let answer = client.get("metrics/get-history", sent)?;
        let metrics = answer["metrics"].as_array().map(Vec::as_slice).unwrap_or_default();
        values
            .extend(metrics.iter().filter_map(|metric| Some((step_of(metric)?, bits_of(&metric["value"])))));
        let next = if answer["next_page_token"].is_null() {
            String::new()
        } else {
            text_of(&answer["next_page_token"])
        };
        if next.is_empty() || next == page {
            return Ok(values);
        }
        page = next;
    }
}
