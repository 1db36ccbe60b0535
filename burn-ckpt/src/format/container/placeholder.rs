//! Small text files that stand in the place of a checkpoint or its metadata: a pointer of Git LFS, or a link
//! that was written as text, as Git does where links are switched off, and some programs that copy.

use std::path::Path;

use crate::file_names::{METADATA_SUFFIX, is_checkpoint};

/// The longest text of a placeholder, in bytes: a path, or a pointer of Git LFS (which has 130).
pub(super) const MAX_PLACEHOLDER_BYTES: u64 = 4096;
/// How a pointer begins: <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>.
const LFS_POINTER: &str = "version https://git-lfs.github.com/spec/";

/// What the text in a file is a placeholder of, and what to do. `None` for anything else.
pub(crate) fn placeholder(path: &Path, text: &[u8]) -> Option<String> {
    if text.len() as u64 > MAX_PLACEHOLDER_BYTES {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    if text.starts_with(LFS_POINTER) {
        return Some("it is a pointer of Git LFS to the file; `git lfs pull` gets the file".to_owned());
    }
    let target = text.trim_end_matches(['\n', '\r']);
    let is_a_path = is_checkpoint(Path::new(target)) || target.ends_with(METADATA_SUFFIX);
    (is_a_path && !target.contains('\n')).then(|| {
        let place = path.with_file_name(target);
        format!("it is a link that was written as text; name the file that it leads to, {}", place.display())
    })
}
