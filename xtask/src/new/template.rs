//! The project's files, as they stand in `template/`, and what is filled in.
//!
//! They are formatted with rustfmt's own settings, which is what a project without a `rustfmt.toml` has, and
//! are not a package as they lie there: the manifest has another name, so that cargo and the tools that look
//! for packages pass it over.

use std::borrow::Cow;

/// Path in the project, and text.
pub const FILES: [(&str, &str); 10] = [
    (".gitignore", include_str!("template/gitignore")),
    (MANIFEST, include_str!("template/manifest.toml")),
    ("README.md", include_str!("template/README.md")),
    ("build.rs", include_str!("template/build.rs")),
    ("src/lib.rs", include_str!("template/src/lib.rs")),
    ("src/model.rs", include_str!("template/src/model.rs")),
    ("src/data.rs", include_str!("template/src/data.rs")),
    ("src/steps.rs", include_str!("template/src/steps.rs")),
    ("src/bin/train.rs", include_str!("template/src/bin/train.rs")),
    ("src/bin/predict.rs", include_str!("template/src/bin/predict.rs")),
];
const MANIFEST: &str = "Cargo.toml";
/// Stands for the package's name.
const NAME: &str = "my-model";
/// Stands for the same as Rust writes it.
const IDENTIFIER: &str = "my_model";
/// Of this workspace, and of each project: the members of this one have no source.
const LOCK: &str = include_str!("../../../Cargo.lock");
/// Stands for the directory of this workspace.
const WORKSPACE: &str = "WORKSPACE";

/// A file for a project of this name.
pub fn filled_in(path: &str, text: &str, name: &str, workspace: &str) -> String {
    // The identifier first: a name can contain it (`my_model2`), and an identifier never contains NAME.
    let text = text.replace(IDENTIFIER, &identifier(name)).replace(NAME, name);
    match path {
        MANIFEST => text.replace(WORKSPACE, &escaped(workspace)),
        _ => text,
    }
}

/// A package's name as Rust writes it.
pub fn identifier(name: &str) -> String {
    name.replace('-', "_")
}

/// Names that the package cannot have beside what it is made of: its dependencies, its programs, and the
/// members of this workspace, which its dependencies depend on.
pub fn own_names() -> Vec<Cow<'static, str>> {
    let programs = FILES.iter().filter_map(|(path, _)| path.strip_prefix("src/bin/")?.strip_suffix(".rs"));
    let mut names: Vec<Cow<'static, str>> = programs.map(Cow::Borrowed).collect();
    let manifest = FILES.iter().find(|(path, _)| *path == MANIFEST);
    // A test parses it.
    let manifest: toml::Table = manifest.and_then(|(_, text)| text.parse().ok()).unwrap_or_default();
    for table in ["dependencies", "build-dependencies"] {
        let dependencies = manifest.get(table).and_then(toml::Value::as_table);
        names.extend(dependencies.into_iter().flat_map(toml::Table::keys).cloned().map(Cow::Owned));
    }
    let lock: toml::Table = LOCK.parse().unwrap_or_default();
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let members = packages.into_iter().flatten().filter(|package| package.get("source").is_none());
    let members = members.filter_map(|member| member.get("name")?.as_str());
    names.extend(members.map(|name| Cow::Owned(name.to_owned())));
    names
}

/// What stands between the quotes of a string in TOML.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
