//! Phrases that the project does not write, in comments, strings, names and pages. `list` says which, and
//! what to write.

mod list;

use super::files::Files;
use super::finding::Finding;
use list::{FILES, PHRASES, Phrase, TYPES};

/// Where the phrases themselves stand.
const EXEMPT: &str = "xtask/src/tidy/phrases/";
/// What may stand before a comment's or a quotation's line.
const LEADERS: [&str; 6] = ["///", "//!", "//", "#", ">", "*"];

/// Phrases in any spelling of case, over the ends of lines, and with `_` between the words; and names that
/// are riddles.
pub fn check(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.rust().chain(files.markdown()).filter(|(path, _)| !path.starts_with(EXEMPT)) {
        let words = words(text);
        for start in 0..words.len() {
            for phrase in PHRASES.iter().filter(|phrase| stands_at(phrase, &words, start)) {
                let found: Vec<_> =
                    words[start..start + phrase.words.len()].iter().map(|word| word.text).collect();
                let message = format!("`{}`; write {}", found.join(" "), phrase.instead);
                findings.push(Finding::new(path, words[start].line, message));
            }
            for (name, instead) in TYPES.iter().filter(|(name, _)| defines(&words, start, name)) {
                let message = format!("the name `{name}` is a riddle; {instead}");
                findings.push(Finding::new(path, words[start].line, message));
            }
        }
        for (name, instead) in FILES.iter().filter(|(name, _)| path.ends_with(&format!("/{name}"))) {
            findings.push(Finding::new(path, 1, format!("the name `{name}` is a riddle; {instead}")));
        }
    }
    findings
}

struct Word<'a> {
    text: &'a str,
    line: usize,
    /// Whether only space stands between it and the word before, and at most one end of a line.
    continues: bool,
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(start) = rest.find(is_of_word) {
        let (before, from) = rest.split_at(start);
        line += before.matches('\n').count();
        let (word, after) = from.split_at(from.find(|c| !is_of_word(c)).unwrap_or(from.len()));
        words.push(Word { text: word, line, continues: is_space(before) });
        rest = after;
    }
    words
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '\''
}

fn is_space(gap: &str) -> bool {
    let is_blank = |text: &str| text.chars().all(|c| matches!(c, ' ' | '\t' | '\r' | '_' | '*' | '\\'));
    let Some((before, after)) = gap.split_once('\n') else { return is_blank(gap) };
    let after = after.trim_start_matches([' ', '\t']);
    let leader = LEADERS.iter().find_map(|leader| after.strip_prefix(leader));
    is_blank(before) && is_blank(leader.unwrap_or(after))
}

fn stands_at(phrase: &Phrase, words: &[Word<'_>], start: usize) -> bool {
    let Some(found) = words.get(start..start + phrase.words.len()) else { return false };
    let is_one_of = |word: &str, of: &str| of.split('|').any(|one| one.eq_ignore_ascii_case(word));
    if !found.iter().zip(phrase.words).all(|(word, one_of)| is_one_of(word.text, one_of))
        || !found[1..].iter().all(|word| word.continues)
    {
        return false;
    }
    let before = start.checked_sub(1).filter(|_| words[start].continues).map(|index| words[index].text);
    let after = words.get(start + found.len()).filter(|word| word.continues).map(|word| word.text);
    !before.is_some_and(|word| is_one_of(word, phrase.unless_after))
        && !after.is_some_and(|word| is_one_of(word, phrase.unless_before))
}

/// `struct Wish`
fn defines(words: &[Word<'_>], start: usize, name: &str) -> bool {
    let [keyword, defined, ..] = &words[start..] else { return false };
    matches!(keyword.text, "struct" | "enum" | "trait" | "type") && defined.text == name && defined.continues
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        check(&Files::of(&[("a/src/lib.rs", text)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_phrase_is_named_with_what_to_write() {
        assert_eq!(
            lines("//! A run.\n\n/// It Goes on.\nfn a_run_that_is_gone_on_from() {}\n"),
            [
                "a/src/lib.rs:3: `Goes on`; write \"resume\" or \"continue\"",
                "a/src/lib.rs:4: `gone on`; write \"resume\" or \"continue\"",
            ]
        );
    }

    #[test]
    fn a_phrase_is_found_over_the_end_of_a_line() {
        for text in [
            "// It goes\n    // on.\n",
            "/// It goes\n/// on.\n",
            "let _ = \"it goes \\\n  on\";\n",
            "It *goes*\non\n",
        ] {
            assert_eq!(
                lines(text),
                ["a/src/lib.rs:1: `goes on`; write \"resume\" or \"continue\""],
                "{text}"
            );
        }
        for text in ["It goes.\nOn it", "- it goes\n- on it", "it goes\n\non it", "goes(on)", "cargoes on"] {
            assert_eq!(lines(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_word_for_no_one_in_particular_is_named() {
        assert_eq!(
            lines(
                "// It waits for ever.\nfn what_nobody_reads() {}\n// Values of before; to who reads.\n// Somebody's, or whoever comes.\n"
            ),
            [
                "a/src/lib.rs:1: `for ever`; write \"forever\"",
                "a/src/lib.rs:2: `nobody`; write who or what does not: \"no process\", \"no run's\"",
                "a/src/lib.rs:3: `of before`; write \"from before\" or \"earlier\"",
                "a/src/lib.rs:3: `to who`; write who it is: \"to a program that\"",
                "a/src/lib.rs:4: `Somebody's`; write who: \"a user\", \"another process\"",
                "a/src/lib.rs:4: `whoever`; write who: \"everyone who\", \"the program that\"",
            ]
        );
        assert_eq!(
            lines("It stays forever. Those who wait, to whom it belongs. One of them, before it."),
            [""; 0]
        );
    }

    #[test]
    fn words_beside_a_phrase_can_make_it_another() {
        assert_eq!(
            lines("There is no file. It is no longer one. Why there\nare no files. It is not."),
            [""; 0]
        );
        assert_eq!(lines("It is no file."), ["a/src/lib.rs:1: `is no`; write \"is not a ..\""]);
    }

    #[test]
    fn riddles_in_names_are_named() {
        let files = Files::of(&[("a/src/keeper.rs", "pub struct Wish;\n/// Wish, for instance.\n")]);
        let lines: Vec<_> = check(&files).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "a/src/keeper.rs:1: the name `Wish` is a riddle; say what it is, such as `SaveRequest`",
                "a/src/keeper.rs:1: the name `keeper.rs` is a riddle; say what is done there, such as `keep_alive.rs`",
            ]
        );
    }
}
