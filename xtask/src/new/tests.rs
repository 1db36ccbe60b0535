//! The template agrees with the workspace that it is written from, and is formatted.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use toml::{Table, Value};

use super::package_name::MAX_LENGTH;
use super::template::{FILES, filled_in};
use crate::cargo::root;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn workspace_manifest() -> Table {
    read(&root().join("Cargo.toml")).parse().unwrap()
}

/// The manifest of a project.
fn manifest(workspace: &str) -> Table {
    let (path, text) = FILES.iter().find(|(path, _)| *path == "Cargo.toml").unwrap();
    filled_in(path, text, "spirals", workspace).parse().unwrap()
}

fn at<'a>(table: &'a Table, keys: &[&str]) -> &'a Value {
    let (first, rest) = keys.split_first().unwrap();
    rest.iter().fold(&table[*first], |value, key| &value[*key])
}

#[test]
fn the_projects_profiles_are_the_workspaces_but_for_its_members() {
    let (mut workspace, mut project) = (workspace_manifest(), manifest("/w"));
    let members: BTreeSet<String> = at(&workspace, &["workspace", "members"])
        .as_array()
        .unwrap()
        .iter()
        .map(|member| read(&root().join(member.as_str().unwrap()).join("Cargo.toml")))
        .map(|manifest| at(&manifest.parse().unwrap(), &["package", "name"]).as_str().unwrap().to_owned())
        .collect();
    let packages = |manifest: &mut Table| {
        let packages = manifest["profile"]["dev"].as_table_mut().unwrap().remove("package").unwrap();
        packages.as_table().unwrap().clone()
    };
    let (mut of_workspace, mut of_project) = (packages(&mut workspace), packages(&mut project));
    // Of a member's settings those of backtraces are the workspace's alone. One that is optimised is so in
    // every project.
    for (package, settings) in &mut of_workspace {
        let settings = settings.as_table_mut().unwrap();
        if members.contains(package) {
            settings.remove("debug");
        }
    }
    of_workspace.retain(|_, settings| !settings.as_table().unwrap().is_empty());
    let own = of_project.remove("spirals").unwrap();
    assert_eq!(own.as_table().unwrap().keys().collect::<Vec<_>>(), ["debug"]);
    assert!(of_workspace.len() > 20, "{of_workspace:?}");
    assert_eq!(of_project, of_workspace);
    assert_eq!(project["profile"], workspace["profile"]);
}

#[test]
fn the_projects_versions_are_the_workspaces() {
    let (workspace, project) = (workspace_manifest(), manifest("/w"));
    for key in ["version", "edition", "rust-version"] {
        let of_workspace = at(&workspace, &["workspace", "package", key]);
        // The project's own version is its own affair; the crates' is what it asks for.
        if key == "version" {
            for crate_name in ["burn-ckpt", "burn-trainer"] {
                assert_eq!(at(&project, &["dependencies", crate_name, key]), of_workspace, "{crate_name}");
            }
            let for_build = at(&project, &["build-dependencies", "burn-environment-build", key]);
            assert_eq!(for_build, of_workspace);
        } else {
            assert_eq!(at(&project, &["package", key]), of_workspace, "{key}");
        }
    }
    for (name, key) in [("burn", "version"), ("clap", "version"), ("clap", "features")] {
        let of_workspace = at(&workspace, &["workspace", "dependencies", name, key]);
        assert_eq!(at(&project, &["dependencies", name, key]), of_workspace, "{name}");
    }
}

#[test]
fn a_workspaces_path_stands_in_the_manifest_whatever_its_characters() {
    for path in ["/w", r"C:\w", "/a \"b\"", "/it's"] {
        let project = manifest(path);
        let trainer = at(&project, &["dependencies", "burn-trainer", "path"]);
        assert_eq!(trainer.as_str(), Some(format!("{path}/burn-trainer").as_str()));
    }
}

#[test]
fn every_file_of_the_template_is_written_and_has_the_projects_name() {
    fn count(directory: &Path) -> usize {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
    }
    let template: PathBuf = root().join("xtask/src/new/template");
    assert_eq!(count(&template), FILES.len());
    for (path, text) in FILES {
        let text = filled_in(path, text, "two-spirals", "/w");
        for placeholder in ["my-model", "my_model", "WORKSPACE"] {
            assert!(!text.contains(placeholder), "{path}: {placeholder}");
        }
    }
    let train = FILES.iter().find(|(path, _)| *path == "src/bin/train.rs").unwrap();
    assert!(filled_in(train.0, train.1, "two-spirals", "/w").contains("use two_spirals::"));
}

#[test]
fn a_name_that_contains_a_placeholder_stands_in_the_project_as_it_was_given() {
    for name in ["my_model2", "my_model_v2", "not-my_model", "my-model", "my_model", "my-model-2"] {
        for (path, text) in FILES {
            let placed = text.replace("my-model", "\u{1}").replace("my_model", "\u{2}");
            let expected = placed.replace('\u{1}', name).replace('\u{2}', &name.replace('-', "_"));
            assert_eq!(filled_in(path, text, name, "WORKSPACE"), expected, "{path} of {name}");
        }
    }
}

#[test]
fn the_printed_command_is_one_that_a_shell_reads_whatever_the_directory() {
    for (directory, word) in [
        ("spirals", "spirals"),
        ("/a/b-c_2.d", "/a/b-c_2.d"),
        ("my project", "'my project'"),
        ("it's", r"'it'\''s'"),
        ("a;b", "'a;b'"),
        ("~", "'~'"),
    ] {
        let summary = super::summary(Path::new(directory), &["README.md"]);
        assert!(summary.contains(&format!("\n    cd {word}\n")), "{summary}");
    }
}

#[test]
fn every_rust_file_is_formatted_whatever_the_projects_name() {
    for name in ["a", "zz", &"m".repeat(MAX_LENGTH)] {
        for (path, text) in FILES.iter().filter(|(path, _)| path.ends_with(".rs")) {
            let text = filled_in(path, text, name, "/w");
            assert_eq!(formatted(&text), text, "{path} of {name}");
        }
    }
}

/// By rustfmt's own settings, since the project has no others.
fn formatted(text: &str) -> String {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--config", "max_width=100,use_small_heuristics=Default"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    rustfmt.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = rustfmt.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
