//! Text from a file as a terminal may show it, and as a shell takes it.

/// How many characters of a name are shown.
const SHOWN_CHARS: usize = 100;

/// A name from a file for a message: at most 100 characters, and escapes in place of control characters, by
/// which a file could write to the terminal whatever it likes.
#[must_use]
pub fn shown(name: &str) -> String {
    let mut text = escaped(name.chars().take(SHOWN_CHARS));
    if name.chars().nth(SHOWN_CHARS).is_some() {
        text.push_str("..");
    }
    text
}

/// A text from a file in its whole length, with escapes in place of control characters: `\n`, `\u{1b}`.
#[must_use]
pub fn without_controls(text: &str) -> String {
    escaped(text.chars())
}

/// The same with the text's line ends as they are.
#[must_use]
pub fn lines_without_controls(text: &str) -> String {
    text.split('\n').map(without_controls).collect::<Vec<String>>().join("\n")
}

fn escaped(characters: impl Iterator<Item = char>) -> String {
    let mut text = String::new();
    for character in characters {
        match is_unsafe(character) {
            true => text.extend(character.escape_default()),
            false => text.push(character),
        }
    }
    text
}

/// Text as one word of a shell: what is in a run's files is never a command. Characters that cannot be seen
/// are escaped, as most shells read it: `$'a\342\200\256'`.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_./=:@%+-,".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    if !text.chars().any(is_unsafe) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let escaped = |byte: u8| match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    };
    format!("$'{}'", text.bytes().map(escaped).collect::<String>())
}

/// Control characters, and those that change the direction of the text around them.
#[must_use]
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_run_is_one_word_of_a_shell() {
        for (text, word) in [
            ("runs/a-1/best", "runs/a-1/best"),
            ("a b; touch c", "'a b; touch c'"),
            ("it's", "'it'\\''s'"),
            ("$(id)", "'$(id)'"),
            ("", "''"),
            ("a\u{202e}'b\\", r"$'a\342\200\256\'b\\'"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn a_name_is_cut_and_its_control_characters_are_escaped() {
        assert_eq!(shown("fc.weight"), "fc.weight");
        assert_eq!(shown("a\u{1b}[2Jb\n\u{9b}\u{202e}é"), r"a\u{1b}[2Jb\n\u{9b}\u{202e}é");
        assert_eq!(shown(&"n".repeat(100)), "n".repeat(100));
        assert_eq!(shown(&"n".repeat(10_000_000)), format!("{}..", "n".repeat(100)));
        assert_eq!(
            without_controls(&format!("\x07{}", "n".repeat(200))),
            format!(r"\u{{7}}{}", "n".repeat(200))
        );
        assert_eq!(lines_without_controls("a\tb\nc\r\n"), "a\\tb\nc\\r\n");
    }
}
