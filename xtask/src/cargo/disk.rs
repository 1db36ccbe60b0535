//! How much of the target directory's disk is free: what these verbs build takes many gigabytes.

use std::path::Path;
use std::process::{Command, Stdio};

const GB: f64 = 1e9;

/// Bytes, or `None` where `df` does not tell.
pub fn free(target: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(target).stderr(Stdio::null()).output().ok()?;
    blocks(&String::from_utf8_lossy(&output.stdout)).map(|blocks| blocks * 1024)
}

/// `12.3 GB`.
pub fn in_gb(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / GB)
}

/// A warning where less is free than a verb fills below the target directory beside what is there: a
/// compiler that runs out of it says not what to do.
pub fn too_little(target: &Path, filled: u64) -> Option<String> {
    warning(free(target)?, filled.saturating_sub(size(target)?))
}

fn warning(free: u64, needed: u64) -> Option<String> {
    (free < needed).then(|| {
        format!(
            "warning: {} free on disk, about {} needed: free space, or set CARGO_TARGET_DIR to a directory on another disk",
            in_gb(free),
            in_gb(needed)
        )
    })
}

/// What a directory's files take.
fn size(directory: &Path) -> Option<u64> {
    let output = Command::new("du").arg("-sk").arg(directory).stderr(Stdio::null()).output().ok()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    Some(printed.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// The free blocks of 1024 bytes of POSIX's form: a line of titles, then `device blocks used free share ..`,
/// of which the first may have spaces.
fn blocks(printed: &str) -> Option<u64> {
    let mut from_behind = printed.lines().nth(1)?.split_whitespace().rev();
    let percent = from_behind.by_ref().find(|word| word.ends_with('%'));
    percent.and(from_behind.next())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_blocks_stand_before_the_share() {
        let printed = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
                       //a share/data   263174212 75497472  49283072      61% /mnt/my disk\n";
        assert_eq!(blocks(printed), Some(49_283_072));
        assert_eq!(blocks("df: /nowhere: No such file or directory\n"), None);
        assert!(free(Path::new(".")).is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn too_little_is_said_with_what_is_needed() {
        assert_eq!(warning(5_000_000_000, 5_000_000_000), None);
        let said = warning(4_960_000_000, 15_000_000_000).unwrap();
        assert!(
            said.starts_with("warning: 5.0 GB free on disk, about 15.0 GB needed: free space, or"),
            "{said}"
        );
    }

    #[test]
    fn a_directory_takes_what_its_files_take() {
        let sources = size(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
        assert!((100_000..10_000_000).contains(&sources), "{sources}");
        assert_eq!(size(Path::new("/nowhere")), None);
    }
}
