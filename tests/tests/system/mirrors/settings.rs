//! What the environment says of a store: each setting that cannot be used is an error that names the variable
//! and what to do, and never a panic.

use std::collections::BTreeMap;

use burn_ckpt::mirror::{MirroredRun, Store};
use burn_ckpt::{Error, ErrorKind};

const S3: &str = "AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=y AWS_REGION=us-east-1";
const GOOGLE: &str = "GOOGLE_BEARER_TOKEN=x";
const AZURE: &str = "AZURE_STORAGE_ACCOUNT_NAME=x AZURE_STORAGE_ACCOUNT_KEY=eHg=";

fn variables(text: &str) -> BTreeMap<String, String> {
    let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.split(' ').filter_map(pair).collect()
}

fn error(address: &str, variables: &BTreeMap<String, String>) -> Error {
    let store = Store::connect_with(&address.parse().unwrap(), variables);
    let error = store.and_then(|store| MirroredRun::open(&store, "r1")).map(drop).unwrap_err();
    assert!(matches!(error, Error::Mirror { .. }), "{error:?}");
    error
}

#[test]
fn an_endpoint_that_is_not_an_address_is_an_error_that_names_its_variable() {
    for (address, names, others) in [
        ("s3://b/p", &["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"][..], S3),
        ("gs://b/p", &["GOOGLE_BASE_URL"], GOOGLE),
        ("az://c/p", &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"], AZURE),
    ] {
        for name in names {
            for endpoint in ["127.0.0.1:9", "localhost:9", "http://", "http://[", "ftp://x", "file:///x", ""]
            {
                let mut variables = variables(others);
                variables.insert((*name).to_owned(), endpoint.to_owned());
                let error = error(address, &variables);
                assert!(
                    error.to_string().contains(&format!("the variable {name} is not an address")),
                    "{error}"
                );
            }
        }
    }
    let mut emulator = variables("AZURE_STORAGE_USE_EMULATOR=true");
    emulator.insert("AZURITE_BLOB_STORAGE_URL".to_owned(), "localhost:10000".to_owned());
    let error = error("az://c/p", &emulator);
    assert!(error.to_string().contains("the variable AZURITE_BLOB_STORAGE_URL is not"), "{error}");
}

#[test]
fn an_endpoint_without_encryption_is_an_error_that_says_how_to_allow_it() {
    for (address, name, allow, others) in [
        ("s3://b/p", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP", S3),
        ("az://c/p", "AZURE_STORAGE_ENDPOINT", "AZURE_ALLOW_HTTP", AZURE),
    ] {
        let mut variables = variables(others);
        variables.insert(name.to_owned(), "http://127.0.0.1:9/x".to_owned());
        let denied = error(address, &variables).to_string();
        assert!(denied.contains(name) && denied.contains(&format!("{allow}=true")), "{denied}");
        variables.insert(allow.to_owned(), "True".to_owned());
        let error = error(address, &variables);
        assert!(error.to_string().contains("cannot be reached"), "{error}");
    }
}

#[test]
fn credentials_that_are_missing_or_are_not_any_are_an_error_that_names_their_variable() {
    let directory = tempfile::tempdir().unwrap();
    let (missing, file) = (directory.path().join("missing"), directory.path().join("file.json"));
    std::fs::write(&file, "{\"type\":\"external_account\",\"secret\":\"canary\"}").unwrap();
    let [missing, file] = [missing, file].map(|path| path.display().to_string());
    let no_key = "{\"private_key\":\"canary\",\"private_key_id\":\"1\",\"client_email\":\"a\"}";
    for (address, settings, expected) in [
        ("az://c/p", String::new(), "set AZURE_STORAGE_ACCOUNT_NAME"),
        ("az://c/p", AZURE.replace("eHg=", "canary!"), "AZURE_STORAGE_ACCOUNT_KEY"),
        (
            "az://c/p",
            "AZURE_STORAGE_ACCOUNT_NAME=x AZURE_STORAGE_SAS_TOKEN=canary".to_owned(),
            "AZURE_STORAGE_SAS_TOKEN",
        ),
        ("gs://b/p", format!("GOOGLE_SERVICE_ACCOUNT={missing}"), "GOOGLE_SERVICE_ACCOUNT"),
        ("gs://b/p", format!("GOOGLE_APPLICATION_CREDENTIALS={missing}"), "GOOGLE_APPLICATION_CREDENTIALS"),
        ("gs://b/p", format!("GOOGLE_APPLICATION_CREDENTIALS={file}"), "GOOGLE_APPLICATION_CREDENTIALS"),
        ("gs://b/p", format!("GOOGLE_SERVICE_ACCOUNT={file}"), "GOOGLE_SERVICE_ACCOUNT"),
        ("gs://b/p", format!("GOOGLE_SERVICE_ACCOUNT_KEY={no_key}"), "GOOGLE_SERVICE_ACCOUNT_KEY"),
    ] {
        let error = error(address, &variables(&settings));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{settings}: {error:?}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(expected) && !shown.contains("canary") && !shown.contains("AWS_"), "{shown}");
    }
}
