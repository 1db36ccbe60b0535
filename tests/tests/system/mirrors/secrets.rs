//! A credential is in no error, in no text for debugging, and in no object: whatever a store answers.

use std::collections::BTreeMap;

use burn_ckpt::mirror::{MirrorAddress, MirroredRun, RunMirror, Store, Writer};
use burn_ckpt::{Error, ErrorKind, MirrorFailure};
use system_tests::programs::http_server::{HttpServer, Reply};

const CANARIES: [&str; 5] =
    ["canary-id", "canary-secret", "canary-session", "Y2FuYXJ5LWF6dXJl", "canary-bearer"];

/// Everything that a user of a store can have in the environment, with an endpoint of a test's own.
fn variables(endpoint: &str) -> BTreeMap<String, String> {
    [
        ("AWS_ACCESS_KEY_ID", "canary-id"),
        ("AWS_SECRET_ACCESS_KEY", "canary-secret"),
        ("AWS_SESSION_TOKEN", "canary-session"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "Y2FuYXJ5LWF6dXJl"),
        ("AZURE_STORAGE_ENDPOINT", endpoint),
        ("AZURE_ALLOW_HTTP", "true"),
        ("GOOGLE_BASE_URL", endpoint),
        ("GOOGLE_BEARER_TOKEN", "canary-bearer"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

fn assert_no_secret(shown: &str) {
    for canary in CANARIES {
        assert!(!shown.contains(canary), "{shown}");
    }
}

fn shown(error: &Error) -> String {
    format!("{error} | {error:?} | {error:#?} | {}", burn_ckpt::chain(error))
}

/// The errors of reading and of writing at an address.
fn errors(address: &str, variables: &BTreeMap<String, String>) -> Vec<Error> {
    let address: MirrorAddress = address.parse().unwrap();
    let store = match Store::connect_with(&address, variables) {
        Ok(store) => store,
        Err(error) => return vec![error],
    };
    assert_no_secret(&format!("{store:?} {address:?} {address}"));
    let writer = Writer::of_this_process();
    let outcomes = [
        MirroredRun::open(&store, "r1").map(drop),
        RunMirror::open(&store, "r1", &writer).map(drop),
        store.runs().map(drop),
    ];
    outcomes.into_iter().filter_map(Result::err).collect()
}

#[test]
fn no_answer_of_a_server_brings_a_credential_into_an_error() {
    for status in [400, 401, 403, 404, 409, 412, 301] {
        // It repeats all that it was sent, as some servers do in the answer to a wrong signature.
        let server = HttpServer::start(move |request| {
            let head = request.head.join(" ");
            let body =
                format!("<Error><Code>SomeCode</Code>{} {head} {}</Error>", request.line, CANARIES.join(" "));
            Reply::Json(status, body)
        });
        for address in ["s3://bucket/p", "az://container/p", "gs://bucket/p"] {
            let errors = errors(address, &variables(&server.uri()));
            assert!(!errors.is_empty(), "{address} {status}");
            errors.iter().for_each(|error| assert_no_secret(&shown(error)));
            if status == 403 {
                let denied = |error: &Error| error.kind() == ErrorKind::PermissionDenied;
                assert!(errors.iter().all(denied), "{errors:?}");
                assert!(errors[0].to_string().contains(address), "{errors:?}");
            }
        }
        assert!(!server.requests().is_empty());
    }
}

#[test]
fn a_store_that_cannot_be_reached_is_an_error_without_a_credential() {
    // The port of a server that has ended.
    let endpoint = {
        let server = HttpServer::start(|_| Reply::Close);
        server.uri()
    };
    for address in ["s3://bucket/p", "az://container/p", "gs://bucket/p"] {
        let errors = errors(address, &variables(&endpoint));
        assert_eq!(errors.len(), 3, "{errors:?}");
        for error in &errors {
            assert_no_secret(&shown(error));
            let is_unreachable = matches!(error, Error::Mirror { failure: MirrorFailure::Unreachable, .. });
            assert!(is_unreachable, "{error:?}");
        }
    }
}

#[test]
fn a_credential_with_a_line_break_at_its_end_is_an_error_that_names_its_variable() {
    for (address, names) in [
        ("s3://bucket/p", &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"][..]),
        ("az://container/p", &["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"]),
        ("gs://bucket/p", &["GOOGLE_BEARER_TOKEN"]),
    ] {
        for name in names {
            for end in ["\n", "\r", "\u{a0}"] {
                let mut variables = variables("http://127.0.0.1:9");
                *variables.get_mut(*name).unwrap() += end;
                let errors = errors(address, &variables);
                let [error] = &errors[..] else { panic!("{errors:?}") };
                assert_no_secret(&shown(error));
                assert!(error.to_string().contains(name), "{error}");
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
            }
        }
    }
}

#[test]
fn settings_that_are_invalid_are_an_error_without_their_values() {
    let mut variables = variables("canary-secret://[");
    variables.insert("AWS_CONDITIONAL_PUT".to_owned(), "canary-secret".to_owned());
    variables
        .insert("GOOGLE_SERVICE_ACCOUNT_KEY".to_owned(), "{\"private_key\":\"canary-secret\"".to_owned());
    for address in ["s3://bucket/p", "az://container/p", "gs://bucket/p"] {
        let errors = errors(address, &variables);
        assert!(!errors.is_empty(), "{address}");
        errors.iter().for_each(|error| assert_no_secret(&shown(error)));
    }
}
