//! The server and the credentials, from MLflow's environment variables.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result};

/// What the environment says of the server.
#[derive(Clone)]
pub(super) struct Settings {
    /// Without a `/` at its end.
    pub(super) uri: String,
    pub(super) experiment_id: Option<String>,
    pub(super) experiment_name: Option<String>,
    /// The value of the header `Authorization`.
    pub(super) authorization: Option<String>,
    /// Whether checkpoints are uploaded.
    pub(super) checkpoints: bool,
}

// Not derived: the credentials are in no text.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl Settings {
    /// With a function that gives the environment's variables.
    pub(super) fn from(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let invalid = |reason: &str| Error::config("MLFLOW_TRACKING_URI", reason);
        let uri = set("MLFLOW_TRACKING_URI")
            .ok_or_else(|| invalid("it is not set: the tracker mlflow needs the address of the server"))?;
        let rest = uri.strip_prefix("http://").or_else(|| uri.strip_prefix("https://"));
        // The address is not in the messages: it may have a password.
        let rest =
            rest.ok_or_else(|| invalid("it does not begin with http:// or https://: start `mlflow server`"))?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.contains('@') {
            return Err(invalid(
                "it has a user or a password: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in place of them",
            ));
        }
        if host.is_empty() || rest.contains(['?', '#']) {
            return Err(invalid("it is not an address like http://host:5000"));
        }
        let basic = set("MLFLOW_TRACKING_USERNAME").map(|user| {
            let password = set("MLFLOW_TRACKING_PASSWORD").unwrap_or_default();
            format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
        });
        Ok(Self {
            uri: uri.trim_end_matches('/').to_owned(),
            experiment_id: set("MLFLOW_EXPERIMENT_ID"),
            experiment_name: set("MLFLOW_EXPERIMENT_NAME"),
            authorization: set("MLFLOW_TRACKING_TOKEN").map(|token| format!("Bearer {token}")).or(basic),
            checkpoints: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::from(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn credentials_are_a_header_and_in_no_text() {
        let uri = ("MLFLOW_TRACKING_URI", "https://host:5000/base/");
        let by_name =
            [uri, ("MLFLOW_TRACKING_USERNAME", "Aladdin"), ("MLFLOW_TRACKING_PASSWORD", "open sesame")];
        let basic = settings(&by_name).unwrap();
        // RFC 7617.
        assert_eq!(basic.authorization.as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(basic.uri, "https://host:5000/base");
        assert!(!format!("{basic:?}").contains("QWxh"));
        let token = settings(&[uri, by_name[1], ("MLFLOW_TRACKING_TOKEN", "t")]).unwrap();
        assert_eq!(token.authorization.as_deref(), Some("Bearer t"));
        assert_eq!(settings(&[uri]).unwrap().authorization, None);
    }

    #[test]
    fn an_address_that_cannot_be_is_an_error_without_the_address() {
        for (uri, reason) in [
            ("", "not set"),
            ("secret", "begin with"),
            ("databricks", "begin with"),
            ("file:///secret", "begin with"),
            ("https://me:secret@host", "MLFLOW_TRACKING_PASSWORD"),
            ("https:///secret", "not an address"),
            ("https://host?secret", "not an address"),
        ] {
            let error = settings(&[("MLFLOW_TRACKING_URI", uri)]).unwrap_err();
            let Error::Config { .. } = &error else { panic!("{error:?}") };
            let text = error.to_string();
            assert!(text.contains(reason) && !text.contains("secret"), "{uri}: {text}");
        }
    }
}
