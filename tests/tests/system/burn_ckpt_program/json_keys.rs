//! What `--json` prints has the keys that its page lists, and the page lists no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use system_tests::programs::commands::{burn_ckpt_command, workspace};
use system_tests::run_files::{checkpoints, in_memory, run_dir};
use system_tests::{config, train, train_and_keep_all};

/// The keys of a verb: those that are always there, and others.
#[derive(Default)]
struct Keys {
    always: BTreeSet<String>,
    only: BTreeSet<String>,
}

impl Keys {
    fn have(&self, key: &str) -> bool {
        self.always.contains(key) || self.only.contains(key)
    }

    /// The key of the page that stands for this one, and whether the page has what is below it.
    fn of(&self, path: &str, name: &str) -> Option<(String, bool)> {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        [below(name), below("*")].into_iter().find_map(|key| {
            let elsewhere = format!("{key}..");
            let found = [(elsewhere, false), (key, true)];
            found.into_iter().find(|(key, _)| self.have(key))
        })
    }

    /// Adds the keys that a value has.
    fn walk(&self, value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    let key = self.of(path, name);
                    let (key, is_listed) = key.unwrap_or_else(|| panic!("no page has {name} of {path:?}"));
                    if is_listed {
                        self.walk(value, &key, found);
                    }
                    found.insert(key);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| self.walk(value, &format!("{path}[]"), found)),
            _ => {}
        }
    }
}

/// The keys by verb, as the page lists them.
fn documented() -> BTreeMap<String, Keys> {
    let page = fs::read_to_string(workspace().join("docs/json.md")).unwrap();
    let in_quotes = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let mut verbs: BTreeMap<String, Keys> = BTreeMap::new();
    let mut current = Vec::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            current = in_quotes(heading);
        } else if let Some((keys, meaning)) = line.strip_prefix("| `").and_then(|row| row.split_once(" | ")) {
            for verb in &current {
                let of_verb = verbs.entry(verb.clone()).or_default();
                let is_always = !meaning.starts_with("only ");
                let to = if is_always { &mut of_verb.always } else { &mut of_verb.only };
                to.extend(in_quotes(&format!("`{keys}")));
            }
        }
    }
    verbs
}

#[test]
fn each_verb_has_the_keys_that_the_page_lists() {
    let root = in_memory();
    train_and_keep_all(root.path(), &[3.0, 2.0, 1.0], 1).unwrap();
    train(config(root.path(), 2).with_run_id("r2").with_seed(2)).unwrap();
    let directory = checkpoints(root.path());
    std::os::unix::fs::symlink("last/gone.ckpt", directory.join("best_gone.ckpt")).unwrap();
    fs::write(directory.join("last/.x.ckpt.0-1.staging"), "half").unwrap();
    fs::write(directory.join("last/broken.ckpt"), "NRUB").unwrap();
    let [file, logs] = ["file", "burn_trainer_logs"].map(|name| root.path().join(name).display().to_string());
    let run = run_dir(root.path()).display().to_string();
    let (last, other) = (format!("{run}/last"), format!("{logs}/r2/last"));
    let [page, weights, copy, mean] =
        ["html", "safetensors", "ckpt", "2.ckpt"].map(|end| format!("{file}.{end}"));
    let verbs: &[&[&str]] = &[
        &["runs", &logs],
        &["log", &run],
        &["csv", &run],
        &["plot", &run],
        &["report", &run, "-o", &page],
        &["ls", &run],
        &["show", &last],
        &["verify", &run],
        &["diff", &last, &other],
        &["describe", &last, "--force"],
        &["export", &last, &weights],
        &["import", &weights, &format!("{file}.3.ckpt")],
        &["average", &last, &other, "-o", &mean],
        &["cp", &last, &copy],
        &["prune", &run, "--keep", "last=1", "--dry-run"],
        &["tag", &run, "x"],
        &["rm", &run, "--dry-run"],
        &["watch", &format!("{logs}/r2"), "--until-stopped"],
        &["env"],
    ];
    let pages = documented();
    for words in verbs {
        let verb = words[0];
        let output = burn_ckpt_command().args(*words).arg("--json").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let keys = pages.get(verb).unwrap_or_else(|| panic!("the page does not have {verb}"));
        let mut found = BTreeSet::new();
        let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        values.for_each(|value| keys.walk(&value.unwrap(), "", &mut found));
        let missing: Vec<&String> = keys.always.difference(&found).collect();
        assert!(missing.is_empty(), "{verb} does not print {missing:?}: {text}");
    }
    let without_test: Vec<&String> =
        pages.keys().filter(|verb| !verbs.iter().any(|words| words[0] == **verb)).collect();
    assert_eq!(without_test, ["mirror"]);
}
