//! A server rejects a request for one name in it: then each name is sent by itself, and those that are
//! rejected are left out.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::client::Client;
use super::requests::{MAX_METRICS, MAX_PARAMS, Metric};
use crate::process::console::warn;
use crate::trackers::flattened::text_of;
use crate::trackers::tracker::{TrackerError, TrackerResult};

/// The names of metrics that the server has rejected, beside others that it took.
#[derive(Default)]
pub(super) struct RejectedNames(HashSet<String>);

impl RejectedNames {
    /// Logs the values of metrics, those of rejected names left out.
    ///
    /// # Errors
    ///
    /// Permanent if the server takes none of them.
    pub(super) fn log_metrics(&mut self, client: &Client, run_id: &str, metrics: &[Metric]) -> TrackerResult {
        let post = |metrics: &[&Metric]| -> TrackerResult<TrackerResult> {
            client.post_content("runs/log-batch", &json!({ "run_id": run_id, "metrics": metrics }))
        };
        let (rejected, sent): (Vec<&Metric>, Vec<&Metric>) =
            metrics.iter().partition(|metric| self.0.contains(&metric.key));
        let mut errors: IndexMap<&str, (&str, TrackerError)> = IndexMap::new();
        let mut has_sent = false;
        for chunk in sent.chunks(MAX_METRICS) {
            let Err(error) = post(chunk)? else {
                has_sent = true;
                continue;
            };
            let mut by_key: IndexMap<&str, Vec<&Metric>> = IndexMap::new();
            chunk.iter().for_each(|metric| by_key.entry(&metric.key).or_default().push(metric));
            if by_key.len() == 1 {
                errors.insert(&chunk[0].key, (&chunk[0].name, error));
                continue;
            }
            for (key, metrics) in by_key {
                match post(&metrics)? {
                    Ok(()) => has_sent = true,
                    Err(error) => drop(errors.insert(key, (&metrics[0].name, error))),
                }
            }
        }
        if !has_sent {
            // Not the names, but something else in all of them.
            return match errors.pop() {
                Some((_, (_, error))) => Err(error),
                None if rejected.is_empty() => Ok(()),
                None => {
                    Err(TrackerError::permanent("the server has rejected the names of all of these metrics"))
                }
            };
        }
        for (key, (name, error)) in errors {
            warn(&format!(
                "the tracker mlflow leaves out the metric {name:?}, which the server rejects: {error}"
            ));
            self.0.insert(key.to_owned());
        }
        Ok(())
    }
}

/// Logs parameters. One that the server rejects is left out.
pub(super) fn log_params(client: &Client, run_id: &str, params: &[Value]) -> TrackerResult {
    let post = |params: &[Value]| -> TrackerResult<TrackerResult> {
        client.post_content("runs/log-batch", &json!({ "run_id": run_id, "params": params }))
    };
    for chunk in params.chunks(MAX_PARAMS) {
        if post(chunk)?.is_ok() {
            continue;
        }
        for param in chunk {
            if let Err(error) = post(std::slice::from_ref(param))? {
                let name = text_of(&param["key"]);
                warn(&format!(
                    "the tracker mlflow leaves out the parameter {name:?}, which the server rejects: {error}"
                ));
            }
        }
    }
    Ok(())
}
