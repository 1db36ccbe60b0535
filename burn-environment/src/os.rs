//! The `os` part: the operating system, its kernel and the machine's name.

use serde::{Deserialize, Serialize};
use sysinfo::System;

/// The operating system.
///
/// The [crate's page](crate) has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Os {
    /// Name of the system or distribution, such as `Debian GNU/Linux`.
    pub name: Option<String>,
    /// Its version, such as `12`.
    pub version: Option<String>,
    /// Release of the kernel, as `uname -r` prints it on Unix.
    pub kernel: Option<String>,
    /// Name of the machine on its network.
    pub hostname: Option<String>,
}

impl Os {
    /// Asks the operating system.
    pub(crate) fn collect() -> Self {
        Self {
            name: System::name(),
            version: System::os_version(),
            kernel: System::kernel_version(),
            hostname: System::host_name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    fn uname(flag: &str) -> String {
        let output = std::process::Command::new("uname").arg(flag).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[cfg(unix)]
    #[test]
    fn the_kernel_and_the_hostname_are_those_that_uname_prints() {
        let os = Os::collect();
        assert_eq!(os.kernel, Some(uname("-r")));
        assert_eq!(os.hostname, Some(uname("-n")));
    }

    #[test]
    fn the_operating_system_has_a_name() {
        assert!(Os::collect().name.is_some_and(|name| !name.is_empty()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_name_and_the_version_are_those_of_os_release() {
        let text = std::fs::read_to_string("/etc/os-release").unwrap();
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            let found = lines.find(|(name, _)| *name == key);
            found.map(|(_, value)| value.trim_matches('"').to_owned())
        };
        let os = Os::collect();
        assert_eq!(os.name, value("NAME"));
        // Rolling distributions have none.
        assert_eq!(os.version, value("VERSION_ID"));
    }
}
