//! Texts from files, with their control characters escaped, and those that change the direction of the text
//! around them, so that they cannot control the terminal.

use std::borrow::Cow;

use burn_ckpt::plumbing::{is_unsafe, lines_without_controls, without_controls};

/// How many names a line has at most.
const SHOWN_NAMES: usize = 5;

/// A text with these characters escaped, except for line ends.
pub fn printable(text: &str) -> Cow<'_, str> {
    match text.contains(|c: char| is_unsafe(c) && c != '\n') {
        true => Cow::Owned(lines_without_controls(text)),
        false => Cow::Borrowed(text),
    }
}

/// JSON with those of these characters escaped that JSON may have: from U+007F on.
pub fn json_for_terminals(json: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| is_unsafe(c) && c != '\n';
    if !json.contains(is_escaped) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if is_escaped(c) { shown.push_str(&format!("\\u{:04x}", u32::from(c))) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// The same with line ends escaped too.
pub fn in_one_line(text: &str) -> String {
    without_controls(text)
}

/// The first of these names, and how many more there are.
pub fn first_names<T>(paths: &[T], name: impl Fn(&T) -> String) -> String {
    let names: Vec<String> = paths.iter().take(SHOWN_NAMES).map(|path| in_one_line(&name(path))).collect();
    let more = match paths.len().saturating_sub(SHOWN_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", names.join(", "))
}
