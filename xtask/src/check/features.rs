//! Each feature of the crates that can be published compiles without the others: a program may choose any.
//!
//! A list of our own, and not `cargo hack --each-feature`, which would compile burn again for most features
//! of each crate: 10 minutes on two cores. Here the crates of others are those of the lints of all features,
//! which `check.rs` runs before: the crate `unified-features` asks for them. What is compiled are our crates
//! and burn's topmost, where features are names that it gives out or does not.

use std::process::ExitCode;

use super::unified;

/// Packages, and the features that are on: no others are, default ones neither.
type Build = (&'static [&'static str], &'static [&'static str]);

const LIBRARIES: [&str; 3] = ["burn-ckpt", "burn-environment", "burn-trainer"];

const BUILDS: [Build; 17] = [
    // Together, as burn-adam alone asks for less of serde_json, and burn would be checked again with that.
    (&["burn-environment-build", "burn-environment", "burn-adam"], &[]),
    (&["burn-ckpt"], &[]),
    (&["burn-ckpt"], &["burn-ckpt/cli"]),
    (&["burn-ckpt"], &["burn-ckpt/mirror"]),
    (&["burn-ckpt"], &["burn-ckpt/report"]),
    (&["burn-trainer"], &[]),
    (&["burn-trainer"], &["burn-trainer/cli"]),
    (&["burn-trainer"], &["burn-trainer/csv"]),
    (&["burn-trainer"], &["burn-trainer/mimalloc"]),
    (&["burn-trainer"], &["burn-trainer/mirror"]),
    (&["burn-trainer"], &["burn-trainer/mlflow"]),
    (&["burn-trainer"], &["burn-trainer/tensorboard"]),
    (&["burn-trainer"], &["burn-trainer/report"]),
    (&["burn-trainer"], &["burn-trainer/tui"]),
    (&["burn-trainer"], &["burn-trainer/remote"]),
    (&LIBRARIES, &["burn-ckpt/wgpu", "burn-environment/wgpu", "burn-trainer/wgpu"]),
    (&LIBRARIES, &["burn-ckpt/cuda", "burn-environment/cuda", "burn-trainer/cuda"]),
];

/// Stops at the first that fails.
pub fn check() -> Result<(), ExitCode> {
    for build in &BUILDS {
        let arguments = arguments(build);
        unified::run(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[])?;
    }
    Ok(())
}

fn arguments((packages, features): &Build) -> Vec<String> {
    let mut arguments = vec!["clippy".to_owned(), "--no-default-features".to_owned()];
    arguments.extend(packages.iter().flat_map(|package| ["-p".to_owned(), (*package).to_owned()]));
    let features = [features, &[unified::FEATURE][..]].concat().join(",");
    let unified = ["-p", "unified-features", "--features", &features, "--", "-D", "warnings"];
    arguments.extend(unified.map(str::to_owned));
    arguments
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::packages::PUBLISHED;
    use super::*;
    use crate::cargo;

    /// The names in a manifest's table of features.
    fn features(manifest: &str) -> impl Iterator<Item = &str> {
        let table = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
        let table = table.take_while(|line| !line.starts_with('['));
        table
            .filter(|line| line.starts_with(|first: char| first.is_ascii_alphabetic()))
            .filter_map(|line| line.split_once(" = ").map(|(name, _)| name).filter(|name| *name != "default"))
    }

    #[test]
    fn every_feature_of_a_published_crate_is_compiled_without_the_others() {
        let mut seen = 0;
        for name in PUBLISHED {
            let manifest = fs::read_to_string(cargo::root().join(name).join("Cargo.toml")).unwrap();
            for feature in features(&manifest) {
                let wanted = format!("{name}/{feature}");
                let alone = BUILDS.iter().any(|(_, features)| {
                    let of_crate = features.iter().filter(|on| on.split('/').next() == Some(name));
                    of_crate.eq([&wanted.as_str()])
                });
                assert!(alone, "add {wanted} to the list of features that are compiled alone");
                seen += 1;
            }
            assert!(
                BUILDS.iter().any(|(packages, features)| packages.contains(&name) && features.is_empty())
            );
        }
        assert!(seen >= 12, "{seen} features were found in the manifests");
    }

    #[test]
    fn default_features_are_off_and_warnings_are_errors() {
        assert_eq!(
            arguments(&BUILDS[2]).join(" "),
            "clippy --no-default-features -p burn-ckpt -p unified-features \
             --features burn-ckpt/cli,unified-features/on -- -D warnings"
        );
    }
}
