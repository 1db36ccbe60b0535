//! Tells what burn draws from what a program prints, in the bytes that both write.
//!
//! burn draws a frame as cells with a cursor movement before them, hides the cursor at its end, and never
//! ends a line. So text after a hidden cursor is the program's, up to the end of its line. A line that comes
//! between two parts of a frame may carry a few cells, which are drawn later. It can come between two parts
//! of an escape sequence too, which burn writes piece by piece.

/// Begins an escape sequence.
const ESCAPE: u8 = 0x1b;
/// The end of a frame.
const HIDE_CURSOR: &[u8] = b"\x1b[?25l";
/// Moves the cursor, which begins the cells of a frame.
const MOVE: u8 = b'H';
/// Colours, of cells or of a text.
const COLOUR: u8 = b'm';
/// In the place of a line's end: a line that is longer is cut.
const MAX_LINE: usize = 64 * 1024;

/// Asks whether everything before it has been read. No terminal gets it.
pub(super) const MARK: &[u8] = b"\x1b_burn-trainer\x07";

/// What was found in some bytes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SplitOutput {
    /// For the terminal.
    pub(super) drawn: Vec<u8>,
    /// What the program has printed.
    pub(super) lines: Vec<String>,
    /// How many [`MARK`]s.
    pub(super) marks: usize,
}

#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The beginning of what may be a mark.
    unknown: Vec<u8>,
    /// An escape sequence that has not ended.
    sequence: Vec<u8>,
    /// Since the last sequence that is not a colour.
    text: Vec<u8>,
    /// The beginning of a line of the program.
    line: Vec<u8>,
    is_in_frame: bool,
    /// The beginning of burn's escape sequence that a line of the program came into, until the line ends.
    interrupted: Option<Vec<u8>>,
}

impl Splitter {
    pub(super) fn push(&mut self, bytes: &[u8]) -> SplitOutput {
        let mut split = SplitOutput::default();
        for byte in bytes {
            if *byte == ESCAPE {
                self.add_unknown(&mut split);
            }
            if *byte != ESCAPE && self.unknown.is_empty() {
                self.add(*byte, &mut split);
                continue;
            }
            self.unknown.push(*byte);
            if self.unknown == MARK {
                self.unknown.clear();
                split.marks += 1;
            } else if !MARK.starts_with(&self.unknown) {
                self.add_unknown(&mut split);
            }
        }
        split
    }

    /// The beginning of a line that has no end.
    pub(super) fn rest(mut self) -> Option<String> {
        self.line.append(&mut self.text);
        has_text(&self.line).then(|| text_of(&self.line))
    }

    fn add_unknown(&mut self, split: &mut SplitOutput) {
        for byte in std::mem::take(&mut self.unknown) {
            self.add(byte, split);
        }
    }

    fn add(&mut self, byte: u8, split: &mut SplitOutput) {
        match (self.sequence.len(), byte) {
            (0, b'\n') => self.end_line(split),
            (0, ESCAPE) if self.interrupted.is_none() => self.sequence.push(byte),
            (0, _) => {
                self.text.push(byte);
                if self.text.len() + self.line.len() >= MAX_LINE {
                    self.end_line(split);
                }
            }
            // Other sequences than those with a bracket have one byte more.
            (1, b'[') => self.sequence.push(byte),
            (1, _) => self.end_sequence(byte, split),
            _ if self.is_in_frame && !is_of_frame(&self.sequence, byte) => {
                split.drawn.append(&mut self.text);
                self.interrupted = Some(std::mem::take(&mut self.sequence));
                self.add(byte, split);
            }
            (_, 0x40..=0x7e) => self.end_sequence(byte, split),
            _ => self.sequence.push(byte),
        }
    }

    fn end_line(&mut self, split: &mut SplitOutput) {
        self.line.append(&mut self.text);
        split.lines.push(text_of(&std::mem::take(&mut self.line)));
        self.sequence = self.interrupted.take().unwrap_or_default();
    }

    fn end_sequence(&mut self, last: u8, split: &mut SplitOutput) {
        self.sequence.push(last);
        let sequence = std::mem::take(&mut self.sequence);
        if last == COLOUR {
            return self.text.extend(sequence);
        }
        match self.is_in_frame || !has_text(&self.text) {
            true => split.drawn.append(&mut self.text),
            false => self.line.append(&mut self.text),
        }
        self.is_in_frame = last == MOVE || (self.is_in_frame && sequence != HIDE_CURSOR);
        split.drawn.extend(sequence);
    }
}

/// Whether burn continues a sequence that begins like this with such a byte, or ends it: it moves the cursor
/// to a row and a column, and sets colours, modes and what is cleared by number. What else comes is the
/// program's text.
fn is_of_frame(begun: &[u8], next: u8) -> bool {
    match next {
        b'0'..=b'9' | b';' | b'?' => true,
        MOVE => begun.contains(&b';'),
        COLOUR | b'J' | b'K' => begun.len() > 2,
        b'h' | b'l' => begun.get(2) == Some(&b'?'),
        _ => false,
    }
}

/// Whether there is anything but colours.
fn has_text(bytes: &[u8]) -> bool {
    let mut is_in_sequence = false;
    bytes.iter().any(|byte| {
        let was_in_sequence = is_in_sequence;
        is_in_sequence = *byte == ESCAPE || (is_in_sequence && *byte != COLOUR);
        !was_in_sequence && !is_in_sequence
    })
}

/// What a terminal would show of a line in the end.
fn text_of(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let shown = line.rsplit(|byte| *byte == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(shown).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of burn's that changes two cells.
    const FRAME: &str = "\x1b[3;7H\x1b[1m\x1b[38;5;3m─5\x1b[4;7H7\x1b[39m\x1b[49m\x1b[59m\x1b[0m\x1b[?25l";
    /// One that changes nothing.
    const EMPTY: &str = "\x1b[39m\x1b[49m\x1b[59m\x1b[0m\x1b[?25l";

    /// The whole, in pieces of that size.
    fn split(text: &str, size: usize) -> (String, Vec<String>, usize) {
        let mut splitter = Splitter::default();
        let (mut drawn, mut lines, mut marks) = (Vec::new(), Vec::new(), 0);
        for piece in text.as_bytes().chunks(size) {
            let split = splitter.push(piece);
            drawn.extend(split.drawn);
            lines.extend(split.lines);
            marks += split.marks;
        }
        lines.extend(splitter.rest());
        (String::from_utf8(drawn).unwrap(), lines, marks)
    }

    #[test]
    fn frames_are_drawn_and_lines_are_kept_however_the_bytes_arrive() {
        let mark = std::str::from_utf8(MARK).unwrap();
        let printed = ["loss 1 ü\r\n", "\x1b[32mgreen\x1b[0m\n", "10 %\r20 %\n", "\n", "last"];
        let text = format!(
            "{FRAME}{}{EMPTY}{}{mark}{FRAME}{}{EMPTY}{FRAME}{}{}",
            printed[0], printed[1], printed[2], printed[3], printed[4]
        );
        for size in 1..text.len() {
            let (drawn, lines, marks) = split(&text, size);
            assert_eq!(drawn, format!("{FRAME}{EMPTY}{FRAME}{EMPTY}{FRAME}"), "{size}");
            assert_eq!(lines, ["loss 1 ü", "\x1b[32mgreen\x1b[0m", "20 %", "", "last"], "{size}");
            assert_eq!(marks, 1);
        }
    }

    #[test]
    fn a_line_that_is_printed_in_parts_between_frames_is_one() {
        let (drawn, lines, _) = split(&format!("{FRAME}step {FRAME}{EMPTY}7\n{FRAME}"), 7);
        assert_eq!((drawn, lines), (format!("{FRAME}{FRAME}{EMPTY}{FRAME}"), vec!["step 7".to_owned()]));
    }

    #[test]
    fn a_line_within_a_frame_does_not_scroll_it() {
        let (drawn, lines, _) = split("\x1b[3;7Hcell\x1b[4;7Hhello\nx\x1b[5;1H", 100);
        assert_eq!((drawn.as_str(), lines), ("\x1b[3;7Hcell\x1b[4;7Hx\x1b[5;1H", vec!["hello".to_owned()]));
    }

    #[test]
    fn a_line_within_an_escape_sequence_of_a_frame_is_whole_and_so_is_the_frame() {
        let lines = ["", "batch 16", "model saved", "\u{fc}ber", "ok \x1b[32mgreen\x1b[0m", "half"];
        for line in lines {
            // Burn writes these pieces, each for itself.
            for (before, after) in [
                ("\x1b[3;7Hcell\x1b[", "4;7Hx\x1b[5;1H\x1b[?25l"),
                ("\x1b[3;7H\x1b[", "38;5;3m5\x1b[0m\x1b[?25l"),
            ] {
                let text = format!("{before}{line}\n{after}next\n");
                for size in [1, 5, text.len()] {
                    let (drawn, found, _) = split(&text, size);
                    assert_eq!(
                        (drawn, found),
                        (format!("{before}{after}"), vec![line.to_owned(), "next".to_owned()])
                    );
                }
            }
        }
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let (drawn, lines, _) = split(&"x".repeat(MAX_LINE + 1), 4096);
        assert_eq!((drawn.as_str(), lines.len(), lines[0].len()), ("", 2, MAX_LINE));
    }
}
