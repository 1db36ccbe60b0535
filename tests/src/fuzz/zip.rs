//! The archive that `torch.save` writes, with any pickle in it: the sums of its entries are right, so that
//! the pickle is read.

/// An archive of these files, not compressed.
pub(super) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in files {
        let (start, length) = (bytes.len() as u32, data.len() as u32);
        let mut facts = [20_u16, 0, 0, 0, 0x21].iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<u8>>();
        facts.extend([sum(data), length, length].iter().flat_map(|it| it.to_le_bytes()));
        facts.extend([name.len() as u16, 0].iter().flat_map(|it| it.to_le_bytes()));
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&facts);
        bytes.extend(name.as_bytes());
        bytes.extend(*data);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&facts);
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, count) = (bytes.len() as u32, files.len() as u16);
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count, count].iter().flat_map(|it| it.to_le_bytes()));
    bytes.extend([directory.len() as u32, start].iter().flat_map(|it| it.to_le_bytes()));
    bytes.extend([0; 2]);
    bytes
}

/// The CRC-32 of ZIP.
fn sum(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| match sum & 1 {
            1 => (sum >> 1) ^ 0xedb8_8320,
            _ => sum >> 1,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_zip() {
        assert_eq!(sum(b"123456789"), 0xcbf4_3926);
    }
}
