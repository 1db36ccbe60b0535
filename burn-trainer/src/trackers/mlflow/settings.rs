//! The server and the credentials, from MLflow's environment variables.

use std::ffi::OsString;
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
    /// The credentials, as they may come back in a server's answer.
    pub(super) secrets: Vec<String>,
    /// Who runs it, as MLflow's own clients find that.
    pub(super) user: Option<String>,
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
    pub(super) fn from(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let set =
            |name: &str| match variable(name).filter(|value| !value.is_empty()).map(OsString::into_string) {
                Some(Err(_)) => Err(Error::config(name, "it is not in UTF-8")),
                Some(Ok(value)) => Ok(Some(value)),
                None => Ok(None),
            };
        let uri = address(set("MLFLOW_TRACKING_URI")?)?;
        let token = set("MLFLOW_TRACKING_TOKEN")?;
        if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| matches!(byte, b' '..=b'~'))) {
            let reason = "it has a line break or another character that cannot be in a header of HTTP";
            return Err(Error::config("MLFLOW_TRACKING_TOKEN", reason));
        }
        let (user, password) = (set("MLFLOW_TRACKING_USERNAME")?, set("MLFLOW_TRACKING_PASSWORD")?);
        let basic = user.map(|user| {
            let password = password.as_deref().unwrap_or_default();
            STANDARD.encode(format!("{user}:{password}"))
        });
        let authorization = token.as_ref().map(|token| format!("Bearer {token}"));
        Ok(Self {
            uri,
            experiment_id: set("MLFLOW_EXPERIMENT_ID")?,
            experiment_name: set("MLFLOW_EXPERIMENT_NAME")?,
            authorization: authorization.or(basic.as_ref().map(|basic| format!("Basic {basic}"))),
            secrets: [token, basic, password].into_iter().flatten().collect(),
            user: ["LOGNAME", "USER", "USERNAME"]
                .into_iter()
                .find_map(|name| variable(name)?.into_string().ok().filter(|user| !user.is_empty())),
            checkpoints: true,
        })
    }
}

/// The address of the server. It is not in the messages: it may have a password.
fn address(set: Option<String>) -> Result<String> {
    let invalid = |reason: &str| Error::config("MLFLOW_TRACKING_URI", reason);
    let uri =
        set.ok_or_else(|| invalid("it is not set: the tracker mlflow needs the address of the server"))?;
    let parts = uri.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    let Some((scheme, rest)) = parts.filter(|(scheme, _)| ["http", "https"].contains(&scheme.as_str()))
    else {
        return Err(invalid("it does not begin with http:// or https://: start `mlflow server`"));
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return Err(invalid(
            "it has a user or a password: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in place of them",
        ));
    }
    if host.is_empty() {
        return Err(invalid("it is not an address like http://host:5000"));
    }
    if rest.contains(['?', '#']) {
        return Err(invalid("it has a query (what follows ? or #), which cannot be sent: leave that out"));
    }
    Ok(format!("{scheme}://{}", rest.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::from(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).into())
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
        assert_eq!((token.authorization.as_deref(), token.user), (Some("Bearer t"), None));
        let of_user = settings(&[uri, ("LOGNAME", ""), ("USER", "ada"), ("USERNAME", "bob")]).unwrap();
        assert_eq!(of_user.user.as_deref(), Some("ada"));
        assert_eq!(settings(&[uri]).unwrap().authorization, None);
        assert_eq!(settings(&[("MLFLOW_TRACKING_URI", "HTTP://Host/")]).unwrap().uri, "http://Host");
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_an_error_that_names_its_variable() {
        let uri = ("MLFLOW_TRACKING_URI", "http://host");
        for token in ["TOP\nSECRET", "SECRET\n", "SECRET\u{7f}", "SECRETÄ"] {
            let error = settings(&[uri, ("MLFLOW_TRACKING_TOKEN", token)]).unwrap_err();
            let Error::Config { setting, .. } = &error else { panic!("{error:?}") };
            assert_eq!(setting, "MLFLOW_TRACKING_TOKEN");
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
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
            ("https://host?secret", "a query"),
            ("https://host/#secret", "a query"),
        ] {
            let error = settings(&[("MLFLOW_TRACKING_URI", uri)]).unwrap_err();
            let Error::Config { .. } = &error else { panic!("{error:?}") };
            let text = error.to_string();
            assert!(text.contains(reason) && !text.contains("secret"), "{uri}: {text}");
        }
    }
}
