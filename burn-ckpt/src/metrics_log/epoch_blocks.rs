//! The values of epochs in the blocks of a history: section 5 of FORMAT.md. A history has thousands of
//! epochs, and every save has all of them.
//!
//! ```text
//! history: blocks, each with the number of its epochs and that of its bytes before it, both as `u32`
//! epoch:   0 where it has the metrics of the epoch before, else their number plus 1 and their places in the list of names
//!          then a value for each
//! value:   the bits of the number, but for those that the metric had before in the block (exclusive or), without leading and
//!          trailing zero bytes: one byte with the number of leading zero bytes (high half) and of those that follow (low half)
//! ```
//!
//! Numbers are in LEB128. An epoch's value of a metric takes 1 byte if it has not changed, about 5 for a
//! number that was an `f32`, and at most 9.

/// The tensor of a history with all but the epochs' values, as JSON.
pub const HISTORY_JSON: &str = "metrics";
/// The tensor of a history with the values of the epochs that are done, in blocks.
pub const EPOCHS: &str = "epochs";
/// The same in its place where the first epochs are left to the log. It has another name, so that a reader
/// which does not know of that has none of them, rather than wrong ones.
pub const LATEST_EPOCHS: &str = "latest_epochs";
/// What the number of the optimizer step is called among the values of an epoch, or of a validation, which
/// ended with it. No metric has such a name: each begins with its split.
pub const STEP: &str = "step";
/// The same of the last validation in an epoch, among the values of the epoch. A metric's name has no space.
pub const VALIDATED_STEP: &str = "validated step";
/// The longest history, in bytes.
pub const MAX_HISTORY_BYTES: usize = 256 * 1024 * 1024;
/// The most JSON values in a history: 1,000,000 epochs of two metrics, in an older file.
pub const MAX_HISTORY_VALUES: usize = 5_000_000;
/// The most epochs in a history, since each takes memory, also one without values. No run comes near.
pub const MAX_EPOCHS: usize = 10_000_000;
/// Epochs in a block that is full.
pub const BLOCK: usize = 256;
/// The most bytes of a number in LEB128.
const MAX_NUMBER_BYTES: usize = 4;

/// The values of some epochs.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Where the values of each epoch end.
    ends: Vec<u32>,
    /// Each with its metric's place in the list of names.
    values: Vec<(u16, f64)>,
}

impl Rows {
    /// The epochs that are ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no epoch is ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds a value to the epoch that is not ended yet.
    pub fn push(&mut self, metric: u16, value: f64) {
        self.values.push((metric, value));
    }

    /// The values of the epoch that is not ended yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.values.len() - self.start(self.len())
    }

    /// Ends an epoch.
    pub fn end_row(&mut self) {
        // A block has far fewer values than 2^32.
        self.ends.push(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
    }

    /// Keeps the first epochs.
    pub fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.values.truncate(self.start(self.len()));
    }

    /// The values of an epoch. Empty for one that there is not.
    #[must_use]
    pub fn row(&self, number: usize) -> &[(u16, f64)] {
        let end = self.ends.get(number).map_or(0, |end| *end as usize);
        self.values.get(self.start(number)..end).unwrap_or_default()
    }

    fn start(&self, number: usize) -> usize {
        number.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize)
    }
}

/// Equal bits are equal, also those of NaN.
impl PartialEq for Rows {
    fn eq(&self, other: &Self) -> bool {
        encode(self) == encode(other)
    }
}

/// The bytes of a block.
#[must_use]
pub fn encode(rows: &Rows) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut before = LastValues::default();
    let mut metrics_before: Option<Vec<u16>> = None;
    for number in 0..rows.len() {
        let row = rows.row(number);
        let metrics: Vec<u16> = row.iter().map(|(metric, _)| *metric).collect();
        if metrics_before.as_ref() == Some(&metrics) {
            bytes.push(0);
        } else {
            write_number(&mut bytes, metrics.len() as u64 + 1);
            metrics.iter().for_each(|metric| write_number(&mut bytes, u64::from(*metric)));
            metrics_before = Some(metrics);
        }
        for (metric, value) in row {
            let bits = value.to_bits();
            let changed = bits ^ before.replace(*metric, bits);
            let leading = changed.leading_zeros() / 8;
            let trailing = if changed == 0 { 0 } else { changed.trailing_zeros() / 8 };
            let kept = 8 - leading - trailing;
            bytes.push((leading << 4 | kept) as u8);
            bytes.extend_from_slice(&changed.to_be_bytes()[leading as usize..(leading + kept) as usize]);
        }
    }
    bytes
}

/// The blocks of a history, which can be hostile, each with the number of its epochs.
pub fn blocks(mut bytes: &[u8]) -> impl Iterator<Item = Result<(usize, &[u8]), String>> {
    std::iter::from_fn(move || {
        let rest = std::mem::take(&mut bytes);
        (!rest.is_empty()).then(|| {
            let (epochs, rest) = first_number(rest)?;
            let (length, rest) = first_number(rest)?;
            let (block, rest) = rest.split_at_checked(length).ok_or_else(cut_off)?;
            if epochs == 0 || epochs > BLOCK {
                return Err(format!("one of its blocks has {epochs} epochs"));
            }
            bytes = rest;
            Ok((epochs, block))
        })
    })
}

/// The epochs of a block, which can be hostile.
///
/// # Errors
///
/// What is wrong with it.
pub fn decode(mut bytes: &[u8], epochs: usize, metrics: usize) -> Result<Rows, String> {
    let (mut rows, mut before) = (Rows::default(), LastValues::default());
    let mut of_row: Vec<u16> = Vec::new();
    for number in 0..epochs {
        let count = read_number(&mut bytes)?;
        if let Some(count) = count.checked_sub(1) {
            if count > metrics as u64 {
                return Err(format!("an epoch has {count} of {metrics} metrics"));
            }
            of_row.clear();
            for _ in 0..count {
                let metric = read_number(&mut bytes)?;
                let metric = u16::try_from(metric).ok().filter(|metric| usize::from(*metric) < metrics);
                of_row.push(metric.ok_or_else(|| "an epoch has a metric without a name".to_owned())?);
            }
        } else if number == 0 {
            return Err("the first epoch of a block has no metrics".to_owned());
        }
        for metric in &of_row {
            let bits = changed_bits(&mut bytes)? ^ before.get(*metric);
            before.replace(*metric, bits);
            rows.push(*metric, f64::from_bits(bits));
        }
        rows.end_row();
    }
    match bytes {
        [] => Ok(rows),
        rest => Err(format!("{} bytes follow its epochs", rest.len())),
    }
}

/// The bits in which a value differs from the one before.
fn changed_bits(bytes: &mut &[u8]) -> Result<u64, String> {
    let (tag, rest) = bytes.split_first().ok_or_else(cut_off)?;
    let (leading, kept) = (usize::from(tag >> 4), usize::from(tag & 15));
    let mut changed = [0; 8];
    let written = changed.get_mut(leading..leading + kept).ok_or("a value has more than 8 bytes")?;
    let (value, rest) = rest.split_at_checked(kept).ok_or_else(cut_off)?;
    written.copy_from_slice(value);
    *bytes = rest;
    Ok(u64::from_be_bytes(changed))
}

/// The bits that each metric had last.
#[derive(Default)]
struct LastValues(Vec<u64>);

impl LastValues {
    fn get(&self, metric: u16) -> u64 {
        self.0.get(usize::from(metric)).copied().unwrap_or(0)
    }

    fn replace(&mut self, metric: u16, bits: u64) -> u64 {
        let place = usize::from(metric);
        if self.0.len() <= place {
            self.0.resize(place + 1, 0);
        }
        std::mem::replace(&mut self.0[place], bits)
    }
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0;
    for place in 0..MAX_NUMBER_BYTES {
        let (byte, rest) = bytes.split_first().ok_or_else(cut_off)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("one of its numbers is too long".to_owned())
}

/// The `u32` at the beginning, and what follows.
fn first_number(bytes: &[u8]) -> Result<(usize, &[u8]), String> {
    let (number, rest) = bytes.split_first_chunk().ok_or_else(cut_off)?;
    Ok((u32::from_le_bytes(*number) as usize, rest))
}

fn cut_off() -> String {
    "its epochs are cut off".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(of: &[&[(u16, f64)]]) -> Rows {
        let mut rows = Rows::default();
        for row in of {
            row.iter().for_each(|(metric, value)| rows.push(*metric, *value));
            rows.end_row();
        }
        rows
    }

    #[test]
    fn rows_come_back_from_their_bytes() {
        let constants = [0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, f64::MAX, -1.5e-300];
        let strange: Vec<(u16, f64)> = (0..).step_by(200).zip(constants).collect();
        let backwards: Vec<(u16, f64)> = strange.iter().rev().copied().collect();
        let all = rows(&[&strange, &strange, &[], &[], &backwards, &[(3, 0.1)], &[(3, 0.1)], &strange]);
        let back = decode(&encode(&all), all.len(), 2_000).unwrap();
        assert_eq!(back, all);
        assert!((0..all.len()).all(|number| back.row(number).len() == all.row(number).len()));
    }

    #[test]
    fn an_epoch_of_four_metrics_takes_less_than_50_bytes() {
        let mut all = Rows::default();
        for epoch in 0..BLOCK {
            // Means over an epoch of one batch are numbers that were an `f32`.
            let loss = f64::from(1.0 / (epoch as f32 + 1.7));
            for (metric, value) in
                [(0, epoch as f64), (1, loss), (2, loss * 0.5), (3, 1.0 / 3.0 + loss), (4, 1e-3)]
            {
                all.push(metric, value);
            }
            all.end_row();
        }
        let bytes = encode(&all).len();
        assert!(bytes < 26 * BLOCK, "{bytes}");
    }

    #[test]
    fn invalid_bytes_are_errors() {
        let bytes = encode(&rows(&[&[(0, 0.25), (1, 0.5)], &[(0, 0.75), (1, 0.5)]]));
        assert!(decode(&bytes, 2, 2).is_ok());
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut], 2, 2).unwrap_err().contains("cut off"), "{cut}");
        }
        for (bytes, epochs, metrics, reason) in [
            (&bytes[..], 1, 2, "bytes follow"),
            (&bytes, 2, 1, "of 1 metrics"),
            (&[2, 7, 0x80], 1, 2, "without a name"),
            (&[2, 0, 0x09], 1, 2, "more than 8 bytes"),
            (&[0], 1, 2, "first epoch"),
            (&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF], 1, 2, "too long"),
        ] {
            let error = decode(bytes, epochs, metrics).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
