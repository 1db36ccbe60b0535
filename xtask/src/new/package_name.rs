//! Which names a project can have.

use std::path::Path;

use super::error::Error;
use super::template::{identifier, own_names};

/// With a longer name rustfmt would break the template's imports into more lines.
pub const MAX_LENGTH: usize = 50;
/// A keyword since the edition 2024, which syn does not know as one.
const RESERVED: &str = "gen";
/// Crates that come with the compiler. A library of the same name hides them, or is hidden by them.
const OF_THE_COMPILER: [&str; 5] = ["alloc", "core", "proc_macro", "std", "test"];
/// Directories that cargo makes beside a program of the same name.
const OF_CARGO: [&str; 4] = ["build", "deps", "examples", "incremental"];

/// The name that was given, or else the directory's, if a package can have it.
pub fn checked(given: Option<&str>, directory: &Path) -> Result<String, Error> {
    let name = match given {
        Some(name) => name.to_owned(),
        None => of_directory(directory)?,
    };
    match problem(&name) {
        Some(reason) => Err(Error::Name { name, reason }),
        None => Ok(name),
    }
}

fn of_directory(directory: &Path) -> Result<String, Error> {
    // `.` has a name then.
    let absolute = std::path::absolute(directory).map_err(|source| Error::Io {
        action: "find",
        path: directory.to_path_buf(),
        source,
    })?;
    let name = absolute.file_name().ok_or_else(|| Error::Name {
        name: directory.display().to_string(),
        reason: "the directory's path does not end with a name".to_owned(),
    })?;
    Ok(name.to_string_lossy().into_owned())
}

/// What is wrong with a name.
fn problem(name: &str) -> Option<String> {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.split(['-', '_']).all(is_word) {
        let reason = "a name is words of the letters a to z and digits, with one - or _ between them, and begins with a letter";
        return Some(reason.to_owned());
    }
    if name.len() > MAX_LENGTH {
        return Some(format!("it has {} characters, above {MAX_LENGTH}", name.len()));
    }
    let written = identifier(name);
    if let Err(error) = syn::parse_str::<syn::Ident>(&written) {
        return Some(error.to_string());
    }
    if written == RESERVED {
        return Some(format!("{RESERVED} is a keyword of Rust"));
    }
    if OF_THE_COMPILER.contains(&written.as_str()) {
        return Some("the compiler brings a crate of this name".to_owned());
    }
    if OF_CARGO.contains(&written.as_str()) {
        return Some("cargo has a directory of this name beside its programs".to_owned());
    }
    let is_taken = own_names().iter().any(|own| identifier(own) == written);
    is_taken.then(|| {
        "a dependency or a program of the project, or a crate of the workspace, has this name".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(name: &str) -> String {
        match checked(Some(name), Path::new("unused")) {
            Err(Error::Name { name: named, reason }) => {
                assert_eq!(named, name);
                reason
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn a_name_is_lower_case_words_with_one_dash_or_underscore_between_them() {
        for name in ["spirals", "my-model", "my_model", "m2", "model-2"] {
            assert_eq!(checked(Some(name), Path::new("unused")).unwrap(), name);
        }
        for name in ["", "2m", "-m", "m-", "_m", "a--b", "a-_b", "My", "a b", "a/b", "..", "mödel", "a.b"] {
            assert!(reason(name).contains("words of the letters a to z"), "{name}");
        }
        assert_eq!(checked(Some(&"m".repeat(MAX_LENGTH)), Path::new("unused")).unwrap().len(), MAX_LENGTH);
        assert_eq!(reason(&"m".repeat(MAX_LENGTH + 1)), "it has 51 characters, above 50");
    }

    #[test]
    fn a_name_that_rust_cargo_or_the_project_has_already_is_an_error_that_says_whose() {
        for keyword in ["fn", "match", "async", "gen"] {
            assert!(reason(keyword).contains("keyword"), "{keyword}: {}", reason(keyword));
        }
        for name in ["std", "test", "proc-macro"] {
            assert!(reason(name).contains("compiler"), "{name}");
        }
        assert!(reason("deps").contains("cargo"));
        let dependencies = ["burn", "burn-trainer", "burn_ckpt", "burn-environment-build", "clap"];
        let members = ["burn-adam", "burn_environment", "burn-serve", "digits", "xtask", "system-tests"];
        for name in dependencies.into_iter().chain(["train", "predict"]).chain(members) {
            assert!(reason(name).contains("dependency or a program"), "{name}");
        }
    }

    #[test]
    fn without_a_name_it_is_the_directorys() {
        for directory in ["spirals", "some/where/spirals", "/spirals/", "spirals/."] {
            assert_eq!(checked(None, Path::new(directory)).unwrap(), "spirals");
        }
        assert_eq!(of_directory(Path::new(".")).unwrap(), "xtask");
        let error = checked(None, Path::new("..")).unwrap_err();
        assert!(matches!(&error, Error::Name { .. }), "{error}");
        assert!(error.to_string().ends_with("give another one with --name"), "{error}");
    }
}
