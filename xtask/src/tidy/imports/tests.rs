//! Circles in crates that are made up.

use super::*;

const MANIFEST: (&str, &str) = ("a/Cargo.toml", "[package]\nname = \"a\"\n");

/// The findings in a crate `a` of these files.
fn lines(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files.iter().copied().chain([MANIFEST]).collect();
    let files = Files::of(&files);
    let (sources, broken) = Sources::parse(&files);
    assert_eq!(broken, []);
    check(&files, &sources).iter().map(ToString::to_string).collect()
}

#[test]
fn a_circle_is_named_once_with_the_line_of_its_first_import() {
    let found = lines(&[
        ("a/src/activity.rs", "//! A.\n\nuse std::fmt;\nuse crate::queue::{\n    Other,\n    Queue,\n};\n"),
        ("a/src/lib.rs", "mod activity;\nmod queue;\nmod writer;\n"),
        ("a/src/queue.rs", "use super::writer::Writer;\npub struct Queue;\npub struct Other;\n"),
        ("a/src/writer.rs", "pub struct Writer(crate::activity::Activity);\n"),
    ]);
    assert_eq!(
        found,
        ["a/src/activity.rs:5: circle of imports: activity.rs -> queue.rs -> writer.rs -> activity.rs; \
          move what both need into a file of its own"]
    );
}

#[test]
fn of_several_circles_through_the_same_files_all_files_are_named() {
    let found = lines(&[
        ("a/src/lib.rs", "mod x;\nmod y;\nmod z;\n"),
        ("a/src/x.rs", "use crate::y::Y;\npub struct X;\n"),
        ("a/src/y.rs", "use crate::x::X;\nuse crate::z::Z;\npub struct Y;\n"),
        ("a/src/z.rs", "use crate::x::X;\npub struct Z;\n"),
    ]);
    assert_eq!(
        found,
        [
            "a/src/x.rs:1: circle of imports: x.rs -> y.rs -> x.rs; move what both need into a file of its own \
          (3 files import each other: x.rs, y.rs, z.rs)"
        ]
    );
}

#[test]
fn a_re_export_is_followed_to_the_file_that_defines_the_name() {
    let files = |last: &'static str| {
        [
            ("a/src/lib.rs", "mod fit;\nmod strategy;\npub use strategy::Best;\n"),
            ("a/src/fit.rs", "use crate::strategy::Best;\npub fn fit(_: crate::Best) {}\n"),
            (
                "a/src/strategy/mod.rs",
                "mod best;\nmod last;\npub use best::*;\npub use last::Last as Newest;\n",
            ),
            ("a/src/strategy/best.rs", "pub struct Best;\n"),
            ("a/src/strategy/last.rs", last),
        ]
    };
    // The folder's own file is in no circle, though `last` imports over it.
    assert_eq!(lines(&files("use super::Best;\nuse crate::fit::fit;\npub struct Last;\n")), [""; 0]);
    let found = lines(&[
        files("")[0],
        ("a/src/fit.rs", "use crate::strategy::Newest;\npub fn fit() {}\n"),
        files("")[2],
        files("")[3],
        ("a/src/strategy/last.rs", "use crate::fit;\npub struct Last;\nfn last() { fit::fit() }\n"),
    ]);
    assert_eq!(
        found,
        ["a/src/fit.rs:1: circle of imports: fit.rs -> strategy/last.rs -> fit.rs; \
          move what both need into a file of its own"]
    );
}

#[test]
fn a_module_and_its_child_that_import_each_others_definitions_are_a_circle() {
    let found = lines(&[
        (
            "a/src/lib.rs",
            "mod child;\npub use child::Child;\npub use inner::Inner;\nmod inner;\npub struct Own;\n",
        ),
        ("a/src/child.rs", "use crate::Own;\npub struct Child;\n"),
        ("a/src/inner/mod.rs", "mod deep;\npub const MAX: u8 = 1;\npub type Inner = deep::Deep;\n"),
        ("a/src/inner/deep.rs", "pub struct Deep([u8; super::MAX as usize]);\n"),
    ]);
    assert_eq!(
        found,
        ["a/src/inner/deep.rs:1: circle of imports: inner/deep.rs -> inner/mod.rs -> inner/deep.rs; \
          move what both need into a file of its own"]
    );
}

#[test]
fn paths_in_macros_and_attributes_are_imports() {
    for x in [
        "fn x() { println!(\"{}\", crate::y::MAX); }",
        "#[derive(A)]\n#[a(parser = crate::y::parse)]\nstruct A;",
        "#[derive(A)]\n#[serde(with = \"crate::y::numbers\")]\nstruct A;",
        "fn x() { use super::y as other; vec![other::MAX]; }",
        "impl crate::y::Trait for u8 {}",
    ] {
        let found = lines(&[
            ("a/src/lib.rs", "mod x;\nmod y;\n"),
            ("a/src/x.rs", x),
            ("a/src/y.rs", "fn y() { crate::x::x() }\npub const MAX: u8 = 1;\n"),
        ]);
        assert_eq!(found.len(), 1, "{x}");
        assert!(found[0].contains("circle of imports: x.rs -> y.rs -> x.rs;"), "{found:?}");
    }
}

#[test]
fn code_for_unit_tests_and_names_of_other_crates_do_not_count() {
    let found = lines(&[
        ("a/src/lib.rs", "mod x;\nmod y;\n#[cfg(test)]\nmod tests;\n"),
        (
            "a/src/x.rs",
            "pub fn x() {}\n#[cfg(test)]\nmod tests {\n    use crate::y::Y;\n}\n#[cfg(all(test, unix))]\nuse crate::y;\n",
        ),
        ("a/src/y.rs", "use crate::x::x;\nuse ::x::Other;\nuse std::fs;\npub struct Y;\n"),
        ("a/src/tests.rs", "use crate::x::x;\n"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_file_is_found_by_its_path_attribute_and_each_target_by_itself() {
    let found = lines(&[
        ("a/src/lib.rs", "mod x;\n"),
        ("a/src/x.rs", "use crate::main::Y;\n"),
        ("a/src/bin/tool/main.rs", "#[path = \"../../../shared/y.rs\"]\nmod y;\nmod part;\n"),
        ("a/src/bin/tool/part.rs", "use crate::y::Y;\npub struct Part;\n"),
        ("a/shared/y.rs", "use crate::part::Part;\npub struct Y;\n"),
    ]);
    assert_eq!(
        found,
        ["a/shared/y.rs:1: circle of imports: a/shared/y.rs -> part.rs -> a/shared/y.rs; \
          move what both need into a file of its own"]
    );
}
