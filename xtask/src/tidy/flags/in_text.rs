//! Flags as a text names them.

/// The flags in a text, without `--`.
pub fn flags_in(text: &str) -> Vec<String> {
    let starts = text.match_indices("--").map(|(position, _)| position);
    let flags = starts.filter_map(|start| {
        if text[..start].ends_with(|c: char| c.is_alphanumeric() || c == '-') {
            return None;
        }
        let rest = &text[start + 2..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '-');
        let flag = rest[..end.unwrap_or(rest.len())].trim_end_matches('-');
        flag.starts_with(|c: char| c.is_ascii_lowercase()).then(|| flag.to_owned())
    });
    flags.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_from_dashes() {
        assert_eq!(
            flags_in("--set KEY=VALUE, `--topk=3` ('--ckpt-path') [--all]"),
            ["set", "topk", "ckpt-path", "all"]
        );
        assert_eq!(flags_in("a -- b, a--b, ---a, --, |--|, --8, --Upper"), [""; 0]);
    }
}
