//! The documents say what is so.

use std::path::Path;

fn read(path: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(workspace.join(path)).unwrap()
}

#[test]
fn the_readmes_programs_are_the_examples() {
    let readme = read("README.md");
    let programs: Vec<&str> =
        readme.split("```rust\n").skip(1).map(|text| text.split("```").next().unwrap()).collect();
    let [training, inference] = programs[..] else { panic!("{} programs", programs.len()) };
    assert!(training.contains("trainer.fit(training, learner)"));
    assert!(read("examples/digits/src/main.rs").contains(training), "{training}");
    assert!(inference.contains("model.classify("));
    assert!(read("examples/native-inference/src/main.rs").contains(inference), "{inference}");
}

#[test]
fn every_source_file_says_what_it_owns() {
    fn check(directory: &Path, seen: &mut usize) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                check(&path, seen);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(text.starts_with("//! "), "{}", path.display());
                *seen += 1;
            }
        }
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut seen = 0;
    for directory in ["burn-ckpt/src", "burn-trainer/src", "examples", "tests", "xtask/src"] {
        check(&workspace.join(directory), &mut seen);
    }
    assert!(seen > 50, "{seen}");
}
