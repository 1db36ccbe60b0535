//! What a store's error says to a user. The library's errors can hold whole addresses with signatures in
//! them, and answers of a server that repeat the credentials. So nothing of their text is passed on: only the
//! kind, the status, and the one word of the answer that names the error.

use std::error::Error as StdError;
use std::io::ErrorKind;

use object_store::Error as StoreError;

use crate::error::Error;
use crate::error::mirror_failure::MirrorFailure;

/// Where machines of a cloud get their credentials from.
const CREDENTIAL_HOSTS: [&str; 3] = ["169.254.169.254", "169.254.170.2", "metadata.google.internal"];
/// How to name the credentials of a store whose addresses begin so.
const CREDENTIALS: [(&str, &str); 3] = [
    ("s3://", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ("gs://", "GOOGLE_APPLICATION_CREDENTIALS, the path of a service account's key"),
    ("az://", "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"),
];
/// What the library says of a setting, before it sends anything, and what to do.
const OF_SETTINGS: [(&str, &str); 9] = [
    ("account must be specified", "the account is not known: set AZURE_STORAGE_ACCOUNT_NAME"),
    ("invalid access key", "the key of the account is not in base64: check AZURE_STORAGE_ACCOUNT_KEY"),
    ("missing component in sas", "the signature is not one: check AZURE_STORAGE_SAS_TOKEN"),
    (
        "unable to open service account",
        "the file with the credentials cannot be read: check the path in GOOGLE_APPLICATION_CREDENTIALS or \
         GOOGLE_SERVICE_ACCOUNT",
    ),
    ("unable to decode service account", NO_SERVICE_ACCOUNT),
    ("no rsa key found", NO_SERVICE_ACCOUNT),
    ("invalid rsa key", NO_SERVICE_ACCOUNT),
    ("error reading pem", NO_SERVICE_ACCOUNT),
    (
        "service account path or service account key",
        "GOOGLE_SERVICE_ACCOUNT and GOOGLE_SERVICE_ACCOUNT_KEY are both set: set one",
    ),
];
const NO_SERVICE_ACCOUNT: &str = "the credentials are not the key of a service account, as JSON: check \
                                  GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_SERVICE_ACCOUNT or GOOGLE_SERVICE_ACCOUNT_KEY";
const DENIED: &str = "the store denies it: check what these credentials may do";
const UNKNOWN: &str = "the store does not accept the credentials: check them";
const NO_HOST: &str =
    "the host of the store is not found: check the endpoint, the region, and the names of the network (DNS)";
const WRONG_REGION: &str = "the bucket is in another region: set AWS_REGION to the bucket's";
const EXPIRED: &str = "the credentials have expired: set new ones";
/// The names of S3's errors that are answered with the status of an invalid request, and that only other
/// settings change.
const OF_CREDENTIALS: [(&str, &str); 10] = [
    ("ExpiredToken", EXPIRED),
    ("ExpiredTokenException", EXPIRED),
    ("TokenRefreshRequired", EXPIRED),
    ("InvalidAccessKeyId", UNKNOWN),
    ("InvalidToken", UNKNOWN),
    ("SignatureDoesNotMatch", UNKNOWN),
    ("AuthorizationHeaderMalformed", WRONG_REGION),
    ("IllegalLocationConstraintException", WRONG_REGION),
    ("PermanentRedirect", WRONG_REGION),
    ("RequestTimeTooSkewed", "the clock of this machine is wrong by more than the store allows: set it"),
];
/// The most bytes of the word by which a server names an error (`NoSuchBucket`).
const MAX_CODE_BYTES: usize = 64;

/// The crate's error for a failed operation on an object.
pub(crate) fn error(action: &'static str, object: String, cause: &StoreError) -> Error {
    let (failure, text) = describe(cause, &object);
    Error::Mirror { action, object, failure, reason: text }
}

/// Whether a change came too soon after another one of the same object.
pub(super) fn is_too_often(cause: &StoreError) -> bool {
    code(cause).is_some_and(|code| code.starts_with("429"))
}

fn describe(cause: &StoreError, object: &str) -> (MirrorFailure, String) {
    let code = code(cause);
    let with = |text: &str| code.as_ref().map_or(text.to_owned(), |code| format!("{text} ({code})"));
    let name = code.as_ref().and_then(|code| code.split(' ').next_back());
    if let Some((_, advice)) = OF_CREDENTIALS.iter().find(|(known, _)| name == Some(*known)) {
        return (MirrorFailure::Denied, with(advice));
    }
    match cause {
        StoreError::NotFound { .. } => {
            (MirrorFailure::NotFound, with("the store has no such bucket or object"))
        }
        StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } => {
            (MirrorFailure::Conflict, with("another writer has changed it"))
        }
        StoreError::PermissionDenied { .. } => (MirrorFailure::Denied, with(DENIED)),
        StoreError::Unauthenticated { .. } => (MirrorFailure::Denied, with(UNKNOWN)),
        StoreError::NotImplemented { .. } | StoreError::NotSupported { .. } => {
            (MirrorFailure::Unsupported, with("the store cannot do this"))
        }
        StoreError::UnknownConfigurationKey { .. } => {
            (MirrorFailure::Unsupported, "a variable of the environment is not one of this store".to_owned())
        }
        other => generic(other, code, object),
    }
}

/// Of an error without a kind, what its causes are.
fn generic(cause: &StoreError, code: Option<String>, object: &str) -> (MirrorFailure, String) {
    // Texts of the library, which are compared and not repeated.
    let text = chain(cause).map(ToString::to_string).collect::<Vec<_>>().join(": ").to_lowercase();
    // Addresses have names in them that users choose.
    let is_address = |word: &&str| {
        word.contains("://") || word.trim_matches(|c: char| !c.is_alphanumeric()).contains(['.', '/'])
    };
    let words: Vec<&str> =
        text.split_whitespace().filter(|word| !is_address(word) && *word != "retry_timeout:").collect();
    let words = words.join(" ");
    if code.is_none()
        && let Some((_, advice)) = OF_SETTINGS.iter().find(|(said, _)| words.contains(said))
    {
        return (MirrorFailure::Denied, (*advice).to_owned());
    }
    // Without a region in its settings the library asks another one, and does not follow where it is sent.
    if code.as_ref().is_some_and(|code| code.starts_with("301")) || text.contains("redirect without location")
    {
        let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
        return (MirrorFailure::Denied, format!("{WRONG_REGION}{code}"));
    }
    if code.is_none() && (words.contains("dns error") || words.contains("failed to lookup address")) {
        return (MirrorFailure::Unreachable, NO_HOST.to_owned());
    }
    let of_system = chain(cause).find_map(|cause| cause.downcast_ref::<std::io::Error>());
    if let Some(kind) = of_system.map(std::io::Error::kind).filter(|kind| *kind != ErrorKind::Other) {
        return of_system_error(kind);
    }
    let no_credentials = || {
        let names = CREDENTIALS.iter().find(|(start, _)| object.starts_with(start)).map(|(_, names)| names);
        let such_as = names.map(|names| format!(" (such as {names})")).unwrap_or_default();
        let reason = format!("no credentials were found: set those of the store in the environment{such_as}");
        (MirrorFailure::Denied, reason)
    };
    if text.split_whitespace().filter_map(host).any(|host| CREDENTIAL_HOSTS.contains(&host)) {
        return no_credentials();
    }
    // What a server has answered says more than any word.
    if let Some((failure, code)) = code.as_ref().and_then(|code| Some((of_status(code)?, code))) {
        return match &code[..3] {
            "401" => (failure, format!("{UNKNOWN} ({code})")),
            "403" => (failure, format!("{DENIED} ({code})")),
            _ => (failure, format!("the store answered {code}")),
        };
    }
    let has = |wanted: &[&str]| wanted.iter().any(|word| words.contains(word));
    if has(&["timed out", "timeout"]) {
        return (MirrorFailure::TimedOut, "the store did not answer in time".to_owned());
    }
    if has(&["credential", "missing"]) {
        return no_credentials();
    }
    if has(&["dns", "connect", "connection", "reset", "error sending request"]) {
        let reason = "the store cannot be reached: check its name, the endpoint and the network";
        return (MirrorFailure::Unreachable, reason.to_owned());
    }
    let answered = code.map_or("the store failed".to_owned(), |code| format!("the store answered {code}"));
    (MirrorFailure::Failed, answered)
}

fn of_system_error(kind: ErrorKind) -> (MirrorFailure, String) {
    match kind {
        ErrorKind::PermissionDenied => (MirrorFailure::Denied, kind.to_string()),
        ErrorKind::NotFound => (MirrorFailure::NotFound, kind.to_string()),
        ErrorKind::TimedOut => (MirrorFailure::TimedOut, "the store did not answer in time".to_owned()),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (MirrorFailure::Failed, kind.to_string()),
        ErrorKind::ReadOnlyFilesystem => {
            (MirrorFailure::Denied, "its disk is mounted read-only: mount it for writing".to_owned())
        }
        ErrorKind::Interrupted => {
            (MirrorFailure::TimedOut, "the wait for it was ended by a signal".to_owned())
        }
        kind => (MirrorFailure::Unreachable, format!("the store cannot be reached: {kind}")),
    }
}

/// What a status says that begins the code of an error. `None` for a code without one.
fn of_status(code: &str) -> Option<MirrorFailure> {
    let status = code.split(' ').next().unwrap_or_default();
    if status.len() != 3 || !status.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(match status {
        "401" | "403" => MirrorFailure::Denied,
        "404" => MirrorFailure::NotFound,
        "408" | "504" => MirrorFailure::TimedOut,
        "501" => MirrorFailure::Unsupported,
        _ => MirrorFailure::Failed,
    })
}

/// The host of an address.
fn host(word: &str) -> Option<&str> {
    word.split_once("://")?.1.split(['/', ':', '?', ')']).next()
}

/// The status and the name of the error in a server's answer: `404 NoSuchBucket`.
fn code(cause: &StoreError) -> Option<String> {
    let texts: Vec<String> = chain(cause).map(ToString::to_string).collect();
    let between = |start: &str, end: char| {
        texts.iter().find_map(|text| Some(text.split_once(start)?.1.split(end).next()?.trim().to_owned()))
    };
    let is_word = |word: &String| {
        !word.is_empty()
            && word.len() <= MAX_CODE_BYTES
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let status = between("status code: ", ' ').filter(|status| status.len() == 3).filter(is_word);
    let name = between("<Code>", '<').filter(is_word);
    match (status, name) {
        (Some(status), Some(name)) => Some(format!("{status} {name}")),
        (one, other) => one.or(other),
    }
}

fn chain<'a>(cause: &'a StoreError) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next: Option<&'a (dyn StdError + 'static)> = Some(cause);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server answered, as the library wraps it.
    fn generic_error(text: &str) -> StoreError {
        StoreError::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn nothing_of_a_servers_text_is_repeated_but_the_errors_name() {
        let secret = "hunter2";
        let answer = format!(
            "Error performing PUT https://b.s3/x?X-Amz-Signature={secret} in 1ms - Server returned non-2xx status code: 400 Bad \
             Request: <Error><Code>InvalidToken</Code><Token>{secret}</Token></Error>"
        );
        let path = || format!("p/{secret}");
        let source = || Box::from(answer.clone());
        for cause in [
            generic_error(&answer),
            StoreError::NotFound { path: path(), source: source() },
            StoreError::AlreadyExists { path: path(), source: source() },
            StoreError::Precondition { path: path(), source: source() },
            StoreError::PermissionDenied { path: path(), source: source() },
            StoreError::Unauthenticated { path: path(), source: source() },
            StoreError::NotSupported { source: source() },
            StoreError::NotImplemented { operation: answer.clone(), implementer: answer.clone() },
            StoreError::UnknownConfigurationKey { store: "S3", key: answer.clone() },
        ] {
            let error = error("write", "s3://b/x".to_owned(), &cause);
            let shown = format!("{error} {error:?} {}", crate::chain(&error));
            assert!(!shown.contains(secret), "{shown}");
        }
        let error = error("write", "s3://b/x".to_owned(), &generic_error(&answer));
        assert_eq!(
            error.to_string(),
            "cannot write s3://b/x: the store does not accept the credentials: check them (400 InvalidToken)"
        );
    }

    #[test]
    fn an_invalid_name_of_an_error_is_left_out() {
        for code in ["hunter2?sig=1", &"x".repeat(100), ""] {
            let (_, text) = describe(&generic_error(&format!("<Code>{code}</Code>")), "");
            assert_eq!(text, "the store failed");
        }
    }

    #[test]
    fn a_refused_connection_and_a_late_answer_are_told_apart() {
        let refused = StoreError::Generic {
            store: "S3",
            source: Box::new(std::io::Error::from(ErrorKind::ConnectionRefused)),
        };
        assert_eq!(describe(&refused, "").0, MirrorFailure::Unreachable);
        assert_eq!(describe(&generic_error("operation timed out"), "").0, MirrorFailure::TimedOut);
    }

    #[test]
    fn what_only_other_settings_change_is_denied_and_says_what_to_set() {
        for (answer, advice) in [
            ("400 Bad Request: <Code>ExpiredToken</Code>", "have expired"),
            ("403 Forbidden: <Code>InvalidAccessKeyId</Code>", "does not accept the credentials"),
            ("400 Bad Request: <Code>AuthorizationHeaderMalformed</Code>", "set AWS_REGION"),
            ("301 Moved Permanently: <Code>PermanentRedirect</Code>", "set AWS_REGION"),
            ("301 Moved Permanently: ", "set AWS_REGION"),
            ("403 Forbidden: <Code>RequestTimeTooSkewed</Code>", "clock"),
        ] {
            let answer = format!("Server returned non-2xx status code: {answer}");
            let (failure, text) = describe(&generic_error(&answer), "s3://b");
            assert_eq!(failure, MirrorFailure::Denied, "{answer}");
            assert!(text.contains(advice), "{text}");
        }
        let (failure, text) = describe(&generic_error("Received redirect without LOCATION"), "s3://b");
        assert!(failure == MirrorFailure::Denied && text.contains("AWS_REGION"), "{text}");
    }

    #[test]
    fn a_host_that_is_not_found_and_a_disk_that_is_read_only_are_said() {
        let looked_up = "dns error: failed to lookup address information: Name or service not known";
        let (failure, text) = describe(&generic_error(looked_up), "s3://b");
        assert!(failure == MirrorFailure::Unreachable && text.contains("is not found"), "{text}");
        let (failure, text) = of_system_error(ErrorKind::ReadOnlyFilesystem);
        assert!(failure == MirrorFailure::Denied && text.contains("read-only"), "{text}");
    }

    #[test]
    fn the_name_of_a_bucket_says_nothing_of_the_failure() {
        let after = "in 1ms, after 3 retries, max_retries: 3, retry_timeout: 60s  -";
        for bucket in ["missing-modality", "timeouts", "credentials", "dns-logs", "169.254.169.254"] {
            let url = format!("https://{bucket}.s3.eu-west-1.amazonaws.com/x");
            let put = format!("Error performing PUT {url} {after}");
            let busy = format!("{put} Server returned non-2xx status code: 503 Service Unavailable: ");
            let (failure, text) = describe(&generic_error(&busy), "");
            assert_eq!(
                (failure, text.as_str()),
                (MirrorFailure::Failed, "the store answered 503"),
                "{bucket}"
            );
            let late = format!("{put} Server returned non-2xx status code: 504 Gateway Timeout: ");
            assert_eq!(describe(&generic_error(&late), "").0, MirrorFailure::TimedOut, "{bucket}");
            let refused = format!("{put} HTTP error: error sending request for url ({url})");
            assert_eq!(describe(&generic_error(&refused), "").0, MirrorFailure::Unreachable, "{bucket}");
        }
    }

    #[test]
    fn a_machine_without_a_role_has_no_credentials() {
        for answer in
            ["Server returned non-2xx status code: 404 Not Found: ", "HTTP error: operation timed out"]
        {
            let url = "http://169.254.169.254/latest/api/token";
            let (failure, text) =
                describe(&generic_error(&format!("Error performing PUT {url} in 1s - {answer}")), "gs://b");
            assert_eq!(failure, MirrorFailure::Denied);
            let named = text.contains("no credentials") && text.contains("GOOGLE_APPLICATION_CREDENTIALS");
            assert!(named && !text.contains("AWS_"), "{text}");
        }
    }
}
