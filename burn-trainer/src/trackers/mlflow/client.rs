//! The calls of MLflow's REST API.

use std::fs::File;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::settings::Settings;
use crate::trackers::tracker::{TrackerError, TrackerResult};

/// How long a connection and a call may take, and how long a server may be silent in an upload.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const CALL_LIMIT: Duration = Duration::from_secs(30);
const UPLOAD_SILENCE: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;
/// Characters of a server's message that are shown.
const MAX_MESSAGE: usize = 300;

/// What a server answers in place of a result.
struct Refusal {
    status: u16,
    /// Whether the answer is MLflow's own, and not that of a proxy before it.
    is_of_mlflow: bool,
    error: TrackerError,
}

/// A connection to a server.
pub(super) struct Client {
    agent: Agent,
    uri: String,
    authorization: Option<String>,
    /// What is in no message, though a server may answer with it.
    secrets: Vec<String>,
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Self {
        let config = Agent::config_builder()
            .timeout_connect(Some(CONNECT_LIMIT))
            .timeout_global(Some(CALL_LIMIT))
            .http_status_as_error(false)
            .user_agent(concat!("burn-trainer/", env!("CARGO_PKG_VERSION")))
            .build();
        let Settings { uri, authorization, secrets, .. } = settings.clone();
        Self { agent: config.into(), uri, authorization, secrets }
    }

    /// Calls an endpoint with a body of JSON.
    pub(super) fn post(&self, endpoint: &str, body: &Value) -> TrackerResult<Value> {
        self.posted(endpoint, body)?.map_err(|refusal| refusal.error)
    }

    /// The same. The inner error is the one of a body that the server does not accept.
    pub(super) fn post_content(&self, endpoint: &str, body: &Value) -> TrackerResult<TrackerResult> {
        match self.posted(endpoint, body)? {
            Ok(_) => Ok(Ok(())),
            Err(Refusal { status: 400, error, .. }) => Ok(Err(error)),
            Err(refusal) => Err(refusal.error),
        }
    }

    fn posted(&self, endpoint: &str, body: &Value) -> TrackerResult<Result<Value, Refusal>> {
        let mut request = self.agent.post(self.address(endpoint)).content_type("application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        self.answer(request.send(body.to_string()))
    }

    /// Asks an endpoint.
    pub(super) fn get(&self, endpoint: &str, query: &[(&str, &str)]) -> TrackerResult<Value> {
        let mut request = self.agent.get(self.address(endpoint)).query_pairs(query.iter().copied());
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        self.answer(request.call())?.map_err(|refusal| refusal.error)
    }

    /// Asks an endpoint about what has this name. `None` where it is not there.
    pub(super) fn get_if_there(
        &self,
        endpoint: &str,
        key: &str,
        value: &str,
    ) -> TrackerResult<Option<Value>> {
        let mut request = self.agent.get(self.address(endpoint)).query(key, value);
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        match self.answer(request.call())? {
            Ok(found) => Ok(Some(found)),
            Err(Refusal { status: 404, is_of_mlflow: true, .. }) => Ok(None),
            Err(refusal) => Err(refusal.error),
        }
    }

    /// Uploads a file to a path of the server's artifacts.
    pub(super) fn upload(&self, path: &str, file: &File) -> TrackerResult {
        let address = format!("{}/api/2.0/mlflow-artifacts/artifacts/{path}", self.uri);
        let mut request = self.agent.put(address).content_type("application/octet-stream");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        // However large it is.
        let request =
            request.config().timeout_global(None).timeout_recv_response(Some(UPLOAD_SILENCE)).build();
        self.answer(request.send(file))?.map(drop).map_err(|refusal| refusal.error)
    }

    /// Removes a file from the server's artifacts.
    pub(super) fn remove(&self, path: &str) -> TrackerResult {
        let address = format!("{}/api/2.0/mlflow-artifacts/artifacts/{path}", self.uri);
        let mut request = self.agent.delete(address);
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        self.answer(request.call())?.map(drop).map_err(|refusal| refusal.error)
    }

    /// What came of a request, without secrets.
    fn answer(&self, response: Result<Response<Body>, ureq::Error>) -> TrackerResult<Result<Value, Refusal>> {
        let answered =
            response.map_err(TrackerError::from).and_then(|response| answer(response, &self.secrets));
        answered.map_err(|error| TrackerError {
            source: masked(&error.to_string(), &self.secrets).into(),
            ..error
        })
    }

    fn address(&self, endpoint: &str) -> String {
        format!("{}/api/2.0/mlflow/{endpoint}", self.uri)
    }
}

/// The JSON of an answer, or the status and the error that the server gives.
fn answer(mut response: Response<Body>, secrets: &[String]) -> TrackerResult<Result<Value, Refusal>> {
    let status = response.status().as_u16();
    let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string()?;
    // An upload has no answer.
    let body: Option<Value> =
        if text.trim().is_empty() { Some(Value::Null) } else { serde_json::from_str(&text).ok() };
    if (200..300).contains(&status) {
        return match body {
            Some(body) => Ok(Ok(body)),
            None => Err("the server's answer is not JSON: MLFLOW_TRACKING_URI is the address of something else than MLflow".into()),
        };
    }
    Ok(Err(refusal(status, body.as_ref(), secrets)))
}

/// A text without secrets.
fn masked(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

/// What a server answers in place of a result. It is worth another try if the fault is the server's, or can
/// be mended without the run: a token expires, and a proxy answers while its server starts again.
fn refusal(status: u16, body: Option<&Value>, secrets: &[String]) -> Refusal {
    let field = |name: &str| body.and_then(|body| body[name].as_str()).unwrap_or_default();
    let is_of_mlflow = !field("error_code").is_empty();
    // Before it is cut, within a secret perhaps.
    let said = masked(&[field("error_code"), field("message")].join(" "), secrets);
    let said = said.chars().take(MAX_MESSAGE).collect::<String>();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let hint = match status {
        401 | 403 => ": set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        404 if said.is_empty() => ": MLFLOW_TRACKING_URI is the address of something else than MLflow",
        _ => "",
    };
    let message = format!("the server answers {status} {said}").trim_end().to_owned() + hint;
    let error = match status {
        401 | 403 | 408 | 429 | 500.. => message.into(),
        404 if !is_of_mlflow => message.into(),
        _ => TrackerError::permanent(message),
    };
    Refusal { status, is_of_mlflow, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fault_that_can_be_mended_is_tried_again_and_a_wrong_call_is_not() {
        let error = |status, body: Option<&Value>, secrets: &[String]| refusal(status, body, secrets).error;
        for (status, is_permanent) in [
            (400, true),
            (401, false),
            (403, false),
            (404, false),
            (408, false),
            (413, true),
            (429, false),
            (500, false),
            (503, false),
        ] {
            assert_eq!(error(status, None, &[]).is_permanent, is_permanent, "{status}");
        }
        let missing = json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"});
        assert!(error(404, Some(&missing), &[]).is_permanent);
        let body = json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "x\n".repeat(1_000)});
        let text = error(400, Some(&body), &[]).to_string();
        assert!(text.starts_with("the server answers 400 INVALID_PARAMETER_VALUE x x"), "{text}");
        assert!(text.len() < 400 && !text.contains('\n'), "{text}");
        assert!(error(401, None, &[]).to_string().contains("MLFLOW_TRACKING_TOKEN"));
        let echo = json!({"message": format!("{} no such token: open-sesame", "x".repeat(MAX_MESSAGE - 22))});
        let text = error(401, Some(&echo), &["open-sesame".to_owned()]).to_string();
        assert!(text.contains("token: ***") && !text.contains("open"), "{text}");
    }
}
