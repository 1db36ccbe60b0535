//! The packages that a program is built from: `cargo tree` says which, `Cargo.lock` what each of them is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::build_script::BuildScript;
use crate::lockfile::{self, Package};

/// What was found out, and from which files.
#[derive(Debug)]
pub(crate) struct Found {
    pub packages: Option<Vec<Package>>,
    /// The files that the packages depend on.
    pub depends_on: Vec<PathBuf>,
}

/// What `cargo metadata --no-deps` tells of a workspace.
#[derive(Deserialize)]
struct Workspace {
    workspace_root: PathBuf,
    packages: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    manifest_path: PathBuf,
}

/// The packages of one program.
pub(crate) fn of_program(script: &BuildScript) -> Result<Found, String> {
    let workspace = run(script, &["metadata", "--no-deps", "--format-version", "1"])?;
    let workspace: Workspace = serde_json::from_str(&workspace).map_err(|error| error.to_string())?;
    let path = workspace.workspace_root.join("Cargo.lock");
    let locked = lockfile::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let locked = lockfile::parse(&locked).ok_or_else(|| format!("{} is not a lock file", path.display()))?;

    let tree = tree(script)?;
    let built = built(&tree)?;
    // Two packages with the same name and version differ in their sources alone, which the tree does not
    // show: both count.
    let is_built = |package: &Package| built.contains(&(package.name.as_str(), package.version.as_str()));
    let packages: Vec<Package> = locked.into_iter().filter(is_built).collect();
    let found: BTreeSet<_> = packages.iter().map(|package| (&*package.name, &*package.version)).collect();
    if let Some((name, version)) = built.difference(&found).next() {
        return Err(format!("{} does not have {name} {version}", path.display()));
    }

    // A member's manifest can switch on a feature of a package that is locked already.
    let mut depends_on: Vec<PathBuf> =
        workspace.packages.into_iter().map(|member| member.manifest_path).collect();
    depends_on.extend([path, workspace.workspace_root.join("Cargo.toml")]);
    Ok(Found { packages: Some(packages), depends_on })
}

/// All packages of the workspace that is being built, or none where its `Cargo.lock` is not found.
///
/// `OUT_DIR` lies below the target directory of the program, so walking up from it finds the program's own
/// lock file even where the package is a dependency. A target directory outside of the workspace has none
/// above it.
pub(crate) fn of_workspace(script: &BuildScript) -> Result<Found, String> {
    let found = lockfile::nearest_lockfile(&script.out_dir, &script.name);
    let (path, packages) = found.unzip();
    Ok(Found { packages, depends_on: path.into_iter().collect() })
}

/// The tree of the program, one package a line.
fn tree(script: &BuildScript) -> Result<String, String> {
    let features = script.features.join(",");
    let mut arguments = vec!["tree", "--edges", "normal", "--target", &script.target];
    arguments.extend(["--no-default-features", "--features", &features, "--prefix", "none"]);
    arguments.extend(["--format", "{p}"]);
    run(script, &arguments)
}

/// The names and versions in a tree whose lines are `name v1.0.0`, followed by other things.
fn built(tree: &str) -> Result<BTreeSet<(&str, &str)>, String> {
    let lines = tree.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let package = words.next().zip(words.next().and_then(|word| word.strip_prefix('v')));
            package.ok_or_else(|| format!("`cargo tree` printed {line:?}"))
        })
        .collect()
}

/// What cargo prints, without a network and without changing the lock file.
fn run(script: &BuildScript, arguments: &[&str]) -> Result<String, String> {
    let command = format!("`cargo {}`", arguments[0]);
    let output = Command::new(&script.cargo)
        .args(arguments)
        .args(["--frozen", "--color", "never", "--manifest-path"])
        .arg(&script.manifest)
        .output()
        .map_err(|error| format!("{command}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{command}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::description::Description;
    use crate::write_file::write;

    /// A workspace whose program has one dependency of each kind, and another member that asks more of a
    /// shared one.
    fn workspace() -> TempDir {
        let scratch = tempdir().unwrap();
        write(&scratch, "Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"*\"]\n");
        let member = |name: &str, more: &str| {
            let path = write(
                &scratch,
                &format!("{name}/Cargo.toml"),
                &format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}"),
            );
            write(&scratch, &format!("{name}/src/lib.rs"), "");
            path
        };
        member(
            "program",
            r#"
            [features]
            default = ["unwanted"]
            unwanted = ["dep:by-default"]
            a-b = ["dep:by-feature"]
            [dependencies]
            shared = { path = "../shared" }
            macros = { path = "../macros" }
            by-default = { path = "../by-default", optional = true }
            by-feature = { path = "../by-feature", optional = true }
            [target.'cfg(windows)'.dependencies]
            on-windows = { path = "../on-windows" }
            [build-dependencies]
            for-build = { path = "../for-build" }
            [dev-dependencies]
            for-tests = { path = "../for-tests" }
            "#,
        );
        member(
            "shared",
            "[features]\nextra = [\"dep:by-others\"]\n[dependencies]\nby-others = { path = \"../by-others\", optional = true }",
        );
        for using in ["for-build", "for-tests", "other"] {
            member(using, "[dependencies]\nshared = { path = \"../shared\", features = [\"extra\"] }");
        }
        member("macros", "[lib]\nproc-macro = true");
        for leaf in ["by-default", "by-feature", "by-others", "on-windows"] {
            member(leaf, "");
        }
        lock(scratch.path(), &cargo());
        scratch
    }

    fn cargo() -> OsString {
        std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
    }

    fn lock(directory: &Path, cargo: &OsString) {
        let output = Command::new(cargo).arg("generate-lockfile").current_dir(directory).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn script(scratch: &TempDir, package: &str, features: &[&str], target: &str) -> BuildScript {
        BuildScript {
            cargo: cargo(),
            manifest: scratch.path().join(package).join("Cargo.toml"),
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
            target: target.to_owned(),
            ..BuildScript::default()
        }
    }

    fn names(found: &Found) -> Vec<&str> {
        found.packages.as_ref().unwrap().iter().map(|package| package.name.as_str()).collect()
    }

    #[test]
    fn a_program_is_built_from_what_its_features_and_its_target_need_and_nothing_else() {
        let scratch = workspace();
        let (linux, windows) = ("x86_64-unknown-linux-gnu", "x86_64-pc-windows-gnu");
        let of =
            |features: &[&str], target| of_program(&script(&scratch, "program", features, target)).unwrap();
        assert_eq!(names(&of(&[], linux)), ["macros", "program", "shared"]);
        assert_eq!(names(&of(&["a-b"], linux)), ["by-feature", "macros", "program", "shared"]);
        let default = of(&["default", "unwanted"], windows);
        assert_eq!(names(&default), ["by-default", "macros", "on-windows", "program", "shared"]);
    }

    #[test]
    fn the_answer_depends_on_the_lock_file_and_on_every_manifest_of_the_workspace() {
        let scratch = workspace();
        let found = of_program(&script(&scratch, "program", &[], "x86_64-unknown-linux-gnu")).unwrap();
        for path in ["Cargo.lock", "Cargo.toml", "program/Cargo.toml", "shared/Cargo.toml"] {
            let path = scratch.path().join(path).canonicalize().unwrap();
            let mut canonical = found.depends_on.iter().map(|path| path.canonicalize().unwrap());
            assert!(canonical.any(|found| found == path), "{}", path.display());
        }
    }

    #[test]
    fn a_lock_file_that_is_missing_or_behind_its_manifests_is_an_error_and_left_as_it_is() {
        let scratch = workspace();
        let script = script(&scratch, "program", &[], "x86_64-unknown-linux-gnu");
        let lock = scratch.path().join("Cargo.lock");
        let manifest = std::fs::read_to_string(&script.manifest).unwrap();
        std::fs::write(&script.manifest, manifest.replace("0.1.0", "0.2.0")).unwrap();
        let before = std::fs::read(&lock).unwrap();
        assert!(of_program(&script).unwrap_err().starts_with("`cargo tree`: "));
        assert_eq!(std::fs::read(&lock).unwrap(), before);
        std::fs::remove_file(&lock).unwrap();
        assert!(of_program(&script).unwrap_err().contains("Cargo.lock: "));
        assert!(!lock.exists());
    }

    #[test]
    fn a_machine_on_which_cargo_does_not_answer_is_an_error() {
        let scratch = workspace();
        for (cargo, says) in [("no-such-cargo", "`cargo metadata`: "), ("false", "`cargo metadata`: ")] {
            let script = BuildScript { cargo: cargo.into(), ..script(&scratch, "program", &[], "t") };
            assert!(of_program(&script).unwrap_err().starts_with(says));
        }
        let error = of_program(&script(&scratch, "program", &[], "no-such-target")).unwrap_err();
        assert!(error.starts_with("`cargo tree`: "), "{error}");
    }

    /// The address has a password, a token and a branch, all of which cargo writes into the lock file.
    #[cfg(unix)]
    #[test]
    fn a_package_from_git_has_its_commit_and_no_credential() {
        use std::os::unix::fs::PermissionsExt;

        const URL: &str = "https://user:hunter2@git.example/a/b";
        let scratch = tempdir().unwrap();
        write(&scratch, "b/Cargo.toml", "[package]\nname = \"from-git\"\nversion = \"1.2.3\"\n");
        write(&scratch, "b/src/lib.rs", "");
        let git = |arguments: &[&str]| {
            let output = Command::new("git")
                .args(["-c", "user.name=Test", "-c", "user.email=test@test.invalid"])
                .args(arguments)
                .current_dir(scratch.path().join("b"))
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        git(&["init", "--quiet", "--initial-branch=trunk"]);
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message=first"]);
        let commit = git(&["rev-parse", "HEAD"]);

        let dependency =
            format!("from-git = {{ git = \"{URL}?private_token=hunter3\", branch = \"trunk\" }}");
        write(
            &scratch,
            "program/Cargo.toml",
            &format!(
                "[package]\nname = \"program\"\nversion = \"0.1.0\"\n[dependencies]\n{dependency}\n[workspace]\n"
            ),
        );
        write(&scratch, "program/src/main.rs", "fn main() {}");
        let config = format!(
            "[url \"file://{}/b\"]\n\tinsteadOf = {URL}?private_token=hunter3\n",
            scratch.path().display()
        );
        write(&scratch, "gitconfig", &config);
        let root = scratch.path().display();
        let wrapper = format!(
            "#!/bin/sh\nCARGO_HOME={root}/home GIT_CONFIG_GLOBAL={root}/gitconfig CARGO_NET_GIT_FETCH_WITH_CLI=true \
             exec '{}' \"$@\"\n",
            cargo().display()
        );
        let wrapper = write(&scratch, "cargo", &wrapper);
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
        lock(&scratch.path().join("program"), &wrapper.clone().into());

        let locked = std::fs::read_to_string(scratch.path().join("program/Cargo.lock")).unwrap();
        assert!(locked.contains("hunter2") && locked.contains("hunter3"), "{locked}");
        let script = BuildScript {
            cargo: wrapper.into(),
            ..script(&scratch, "program", &[], "x86_64-unknown-linux-gnu")
        };
        let packages = of_program(&script).unwrap().packages.unwrap();
        assert_eq!(packages[0].name, "from-git");
        assert_eq!(packages[0].source, Some(format!("git+https://git.example/a/b#{commit}")));
        let out = scratch.path().join("out");
        std::fs::create_dir(&out).unwrap();
        script.describe(Some(packages)).write(&out).unwrap();
        let written = std::fs::read_to_string(out.join("burn-environment.json")).unwrap();
        assert!(!written.contains("hunter") && written.contains(&commit), "{written}");
        assert_eq!(Description::parse(&written).packages.unwrap().len(), 2);
    }
}
