//! Flags of programs that are made up.

use super::*;

const TOOL: &str = "#[derive(Parser)]\n#[command(name = \"tool\", version)]\nstruct Cli {\n    #[arg(long)]\n    quiet: bool,\n    \
                    #[command(subcommand)]\n    verb: Verb,\n}\n\
                    #[derive(Subcommand)]\nenum Verb {\n    Ls(ls::Args),\n    Show { #[arg(long = \"raw\")] as_is: bool },\n    Check,\n}\n";
const LS: &str = "#[derive(clap::Args)]\npub struct Args {\n    /// All\n    #[arg(long, short)]\n    show_all: bool,\n    \
                  #[arg(long, hide = true)]\n    inner: bool,\n    #[command(flatten)]\n    output: output::Output,\n}\n";
const OUTPUT: &str = "#[derive(clap::Args)]\npub struct Output {\n    #[arg(long, value_name = \"N\", num_args = 1..)]\n    r#type: u8,\n}\n";
const OTHER: &str = "#[derive(clap::Args)]\npub struct Args {\n    #[arg(long)]\n    elsewhere: bool,\n}\n";
const XTASK: &str = "#[derive(clap::Parser)]\n#[command(name = \"cargo xtask\")]\nstruct Cli {\n    #[command(subcommand)]\n    verb: Verb,\n}\n\
                     #[derive(clap::Subcommand)]\nenum Verb {\n    Train(Args),\n}\n\
                     #[derive(clap::Args)]\nstruct Args {\n    /// --backend NAME; then the example's\n    \
                     #[arg(trailing_var_arg = true)]\n    arguments: Vec<String>,\n}\n";
const DIGITS: &str = "#[derive(Parser)]\n#[command(name = \"cargo xtask train digits\")]\nstruct Args {\n    #[arg(long)]\n    epochs: u8,\n}\n";

/// The findings in a page.
fn lines(page: &str) -> Vec<String> {
    let files = Files::of(&[
        ("page.md", page),
        ("a/Cargo.toml", "[package]\nname = \"a\"\n"),
        ("a/src/bin/tool/main.rs", TOOL),
        ("a/src/bin/tool/ls.rs", LS),
        ("a/src/bin/tool/output.rs", OUTPUT),
        ("a/src/other.rs", OTHER),
        ("digits/Cargo.toml", "[package]\nname = \"digits\"\n"),
        ("digits/src/main.rs", DIGITS),
        ("xtask/src/main.rs", XTASK),
    ]);
    let (sources, broken) = Sources::parse(&files);
    assert_eq!(broken, []);
    check(&files, &sources).iter().map(ToString::to_string).collect()
}

#[test]
fn flags_that_help_knows_are_as_they_should_be() {
    for page in [
        "`tool ls --show-all --type 3 --help`, `tool --quiet`, `tool --version`",
        "`tool show --raw x` and `--show-all`, and --type in text",
        "    $ out/tool ls --show-all   # or --raw",
        "```sh\nsrun --nodes=3 tool ls \\\n    --show-all | tool show --raw\n```",
        "    cargo run --release --bin tool -- ls --show-all",
        "    cargo test --workspace -- --test-threads=1",
        "    cargo xtask train --epochs 3 --backend flex; cargo xtask train digits --epochs 3 --backend flex",
        "    cargo build --package digits --release",
        "    target/digits --epochs 4",
        "A pause -- like this --, a table:\n\n| a |\n|---|\n| b |\n",
    ] {
        assert_eq!(lines(page), [""; 0], "{page}");
    }
}

#[test]
fn a_flag_that_a_programs_help_does_not_know_is_named() {
    let of = |name: &str, flag: &str| {
        vec![format!("page.md:1: `{name} --help` does not know `--{flag}`; correct the page or the program")]
    };
    assert_eq!(lines("`tool ls --raw`"), of("tool ls", "raw"));
    assert_eq!(lines("`tool ls --inner`"), of("tool ls", "inner"));
    assert_eq!(lines("`tool ls --elsewhere`"), of("tool ls", "elsewhere"));
    assert_eq!(lines("`tool ls --version-of`"), of("tool ls", "version-of"));
    assert_eq!(lines("`tool --none`"), of("tool", "none"));
    assert_eq!(lines("`tool --show-all`"), of("tool", "show-all"));
    assert_eq!(lines("`tool ls --quiet`"), of("tool ls", "quiet"));
    assert_eq!(lines("`cargo run --bin tool -- ls --release`"), of("tool ls", "release"));
    assert_eq!(lines("`cargo xtask train --epoch 3`"), of("cargo xtask train", "epoch"));
    assert_eq!(lines("`digits --backend flex`"), of("digits", "backend"));
}

#[test]
fn a_flag_of_a_continued_line_is_named_where_it_stands() {
    assert_eq!(
        lines("# Page\n\n```sh\ntool ls \\\n    --show-all --al\n```\n"),
        ["page.md:5: `tool ls --help` does not know `--al`; correct the page or the program"]
    );
}

#[test]
fn a_flag_that_no_program_has_is_named() {
    let expected = ["page.md:2: no program's `--help` knows `--gone`; correct the page or the program"];
    assert_eq!(lines("Use\n`--gone` here."), expected);
    assert_eq!(lines("Use\n--gone here."), expected);
    assert_eq!(lines("Use\n`$TRAIN --gone=3` here."), expected);
}

#[test]
fn a_flag_that_the_table_of_another_program_lacks_is_named() {
    let of = |name: &str, flag: &str| {
        let table = "xtask/src/tidy/flags/other_programs.rs";
        vec![format!(
            "page.md:1: `--{flag}` is not in the table of `{name}`'s flags; correct the page, or add it in {table}"
        )]
    };
    assert_eq!(lines("`cargo build --show-all`"), of("cargo", "show-all"));
    assert_eq!(lines("`cargo test x -- --release`"), of("cargo test --", "release"));
    assert_eq!(other_programs::PATH, file!().replace("tests.rs", "other_programs.rs"));
}
