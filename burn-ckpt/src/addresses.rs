//! Addresses in the place of paths (`s3://bucket/run`): known as such without the feature `mirror` too, so
//! that nothing is written to a directory `./s3:`.

use std::path::Path;

/// How the addresses of mirrors begin.
const MIRRORS: [&str; 4] = ["s3://", "gs://", "az://", "file://"];

/// The address of something in a mirror, if that is what a path is. It can be invalid nevertheless.
#[must_use]
pub fn mirror_address(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| MIRRORS.iter().any(|start| text.starts_with(start)))
}

/// Whether a path is an address, that of a mirror or another one: `https://host/x`, `s3a://bucket/x`. It can
/// have a credential, so messages do not repeat it.
#[must_use]
pub fn is_address(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    let scheme = bytes.windows(3).position(|part| part == b"://").map_or(&[][..], |end| &bytes[..end]);
    let is_of_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    // One letter is a drive.
    scheme.len() > 1 && scheme[0].is_ascii_alphabetic() && scheme.iter().all(is_of_scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_a_path_has_none() {
        for address in ["s3://b/p", "gs://b", "az://c/p?sig=x", "file:///mnt/disk", "https://h/x", "s3a://b"]
        {
            assert!(is_address(Path::new(address)), "{address}");
        }
        for path in ["", "s3:/b", "./s3://b", "/mnt/s3://b", "a b://c", "c://d", "://x", "3d://x", "runs/a"] {
            assert!(!is_address(Path::new(path)), "{path}");
        }
        assert_eq!(mirror_address(Path::new("s3://b/p")), Some("s3://b/p"));
        assert_eq!(mirror_address(Path::new("https://b/p")), None);
    }
}
