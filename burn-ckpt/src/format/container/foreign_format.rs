//! Formats of weights of other programs, told by the first bytes of a file.

/// The largest header that safetensors allows, in bytes.
pub const MAX_SAFETENSORS_HEADER: u64 = 100_000_000;
/// Where a TAR archive has its magic number.
const TAR_MAGIC_AT: usize = 257;

/// A format that a file seems to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignFormat {
    /// The length of a header, the header, which is JSON, and the tensors.
    Safetensors,
    /// A ZIP archive, which `torch.save` writes.
    Zip,
    /// A TAR archive, which its first versions wrote.
    Tar,
    /// A pickle, which its older versions wrote.
    Pickle,
}

impl ForeignFormat {
    /// The format of a file that begins with these bytes. It takes 262 of them to know a TAR archive, and 9
    /// for the others.
    #[must_use]
    pub fn of(first: &[u8]) -> Option<Self> {
        // The length of a header, which is JSON.
        let length = first.first_chunk().map(|length| u64::from_le_bytes(*length));
        let is_safetensors = length.is_some_and(|length| length <= MAX_SAFETENSORS_HEADER);
        match first {
            _ if is_safetensors && first.get(8) == Some(&b'{') => Some(Self::Safetensors),
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Self::Zip),
            // torch.save writes protocol 2 or later of Python's pickle.
            [0x80, 2..=5, ..] => Some(Self::Pickle),
            _ => first.get(TAR_MAGIC_AT..).filter(|rest| rest.starts_with(b"ustar")).map(|_| Self::Tar),
        }
    }
}
