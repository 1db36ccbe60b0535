//! The crates that can be published: `cargo package` accepts them, and each package has every file that it
//! needs.
//!
//! The packages are not compiled from what is in them: that would take 6 minutes, as burn would be compiled
//! once more with other features and another profile. The workspace compiles the same files, so what could
//! differ is a file that the package does not have. That is what is looked for here.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::{ExitCode, Stdio};

use crate::cargo;

/// In the order in which they would be published: each depends on those before it.
pub const PUBLISHED: [&str; 5] =
    ["burn-environment-build", "burn-environment", "burn-ckpt", "burn-adam", "burn-trainer"];
/// What every package has.
const FILES: [&str; 5] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "src/lib.rs"];
/// What every manifest says. There is no `repository`, as there is no public one yet.
const FIELDS: [&str; 7] =
    ["description", "license", "rust-version", "keywords", "categories", "readme", "publish = true"];
/// What stands before the path of a file that the compiler reads.
const REFERENCES: [&str; 3] = ["include_str!(\"", "include_bytes!(\"", "#[path = \""];

/// Names every problem, of all packages.
pub fn check() -> Result<(), ExitCode> {
    // Also with changes that are not committed: who checks before a commit has some.
    let mut package = vec!["package", "--quiet", "--no-verify", "--allow-dirty"];
    package.extend(PUBLISHED.iter().flat_map(|name| ["-p", name]));
    cargo::run(&package)?;
    let mut succeeded = true;
    for name in PUBLISHED {
        let directory = cargo::root().join(name);
        let files = files(name)?;
        let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
        for problem in problems(name, &files, read) {
            eprintln!("error: {problem}");
            succeeded = false;
        }
    }
    if succeeded { Ok(()) } else { Err(ExitCode::FAILURE) }
}

/// The files of a package, as cargo names them.
fn files(name: &str) -> Result<Vec<String>, ExitCode> {
    let mut list = cargo::command();
    list.args(["package", "--quiet", "--list", "--allow-dirty", "-p", name]).stderr(Stdio::inherit());
    match list.output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).lines().map(|line| line.replace('\\', "/")).collect())
        }
        _ => {
            eprintln!("error: cargo package --list -p {name} failed");
            Err(ExitCode::FAILURE)
        }
    }
}

fn problems(name: &str, files: &[String], read: impl Fn(&str) -> String) -> Vec<String> {
    let mut problems = Vec::new();
    for file in FILES {
        if !files.iter().any(|listed| listed == file) {
            problems.push(format!("the package {name} has no {file}"));
        }
    }
    let manifest = read("Cargo.toml");
    for field in FIELDS {
        if !manifest.lines().any(|line| line.starts_with(field)) {
            problems.push(format!("{name}/Cargo.toml does not say `{field}`, which a published crate needs"));
        }
    }
    for file in files.iter().filter(|file| file.ends_with(".rs")) {
        let text = read(file);
        for path in references(&text) {
            let referred = beside(file, path);
            if !referred.as_ref().is_some_and(|referred| files.contains(referred)) {
                problems.push(format!(
                    "{name}/{file} refers to {path}, which the package does not have; make a link to that file below {name}"
                ));
            }
        }
    }
    problems
}

/// The paths that a source file has the compiler read.
fn references(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| {
        let start = REFERENCES.iter().find_map(|start| line.split_once(start));
        start.and_then(|(_, rest)| rest.split_once('"')).map(|(path, _)| path)
    })
}

/// A path beside a file, from the package's root; none where it leads out of the package.
fn beside(file: &str, path: &str) -> Option<String> {
    let mut resolved = PathBuf::new();
    for component in Path::new(file).parent()?.join(path).components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::CurDir => {}
            Component::ParentDir if resolved.pop() => {}
            _ => return None,
        }
    }
    Some(resolved.to_string_lossy().replace('\\', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "description = \"d\"\nlicense.workspace = true\nrust-version.workspace = true\n\
                            keywords = []\ncategories = []\nreadme = \"README.md\"\npublish = true\n";

    fn problems_of(missing: &str, manifest: &str, source: &str) -> Vec<String> {
        let files = FILES.iter().chain(&["docs/page.md", "src/a/b.rs"]).filter(|file| **file != missing);
        let files: Vec<String> = files.map(|file| (*file).to_owned()).collect();
        problems("burn-x", &files, |file| match file {
            "Cargo.toml" => manifest.to_owned(),
            "src/a/b.rs" => source.to_owned(),
            _ => String::new(),
        })
    }

    #[test]
    fn a_complete_package_has_no_problem() {
        let source = "#[doc = include_str!(\"../../docs/page.md\")]\n#[path = \"../lib.rs\"]\n\
                      // include_str!(\"../../../elsewhere\")\n include_str!(concat!(env!(\"OUT_DIR\"),
                      // \"/x\"))\n";
        assert_eq!(problems_of("", MANIFEST, source), Vec::<String>::new());
    }

    #[test]
    fn a_missing_licence_is_named() {
        assert_eq!(problems_of("LICENSE-MIT", MANIFEST, ""), ["the package burn-x has no LICENSE-MIT"]);
    }

    #[test]
    fn a_missing_field_is_named() {
        let problems = problems_of("", &MANIFEST.replace("keywords", "words"), "");
        assert_eq!(problems, ["burn-x/Cargo.toml does not say `keywords`, which a published crate needs"]);
        let problems = problems_of("", &MANIFEST.replace("= true", "= false"), "");
        assert!(problems.iter().any(|problem| problem.contains("`publish = true`")), "{problems:?}");
    }

    #[test]
    fn a_file_outside_the_package_is_named() {
        for (source, path) in [
            ("#[doc = include_str!(\"../../../docs/page.md\")]", "../../../docs/page.md"),
            ("#[path = \"../../../burn-y/src/c.rs\"]", "../../../burn-y/src/c.rs"),
            ("const A: &[u8] = include_bytes!(\"missing.bin\");", "missing.bin"),
        ] {
            let problem = format!(
                "burn-x/src/a/b.rs refers to {path}, which the package does not have; make a link to that file below burn-x"
            );
            assert_eq!(problems_of("", MANIFEST, source), [problem]);
        }
    }
}
