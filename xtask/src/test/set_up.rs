//! Installs what the tests need beside Rust: with Debian's `apt-get` where this user may run it, else it ends
//! with the line that the user has to run. `needs.rs` has the table.

use std::process::{Command, ExitCode, Stdio};

use super::needs::{self, Need};
use crate::cargo;
use crate::usage::failed;

/// What decides how packages can be installed.
#[derive(Debug, Clone, Copy)]
struct System {
    has_apt_get: bool,
    is_root: bool,
    has_sudo: bool,
    /// `sudo` asks this user for no password.
    sudo_is_free: bool,
}

/// What to do about what is missing.
#[derive(Debug, PartialEq)]
enum Action {
    Nothing,
    /// `apt-get` may be run, after the words in front of it.
    Install {
        before: &'static [&'static str],
        packages: Vec<&'static str>,
    },
    /// It may not: the message says what to run.
    End(String),
}

/// Installs what is missing. An error is the exit status to end with: 1, after one message that says what to
/// do.
pub fn set_up() -> Result<(), ExitCode> {
    let missing = needs::missing(needs::is_here);
    match action(&missing, System::this) {
        Action::Nothing => Ok(()),
        Action::End(message) => Err(failed(&message)),
        Action::Install { before, packages } => {
            eprintln!("{}", announcement(&packages));
            install(before, &packages).map_err(|message| failed(&message))?;
            match still_missing(&needs::missing(needs::is_here)) {
                None => Ok(()),
                Some(message) => Err(failed(&message)),
            }
        }
    }
}

impl System {
    /// This machine, and the user who runs this.
    fn this() -> Self {
        let id = Command::new("id").arg("-u").output();
        Self {
            has_apt_get: needs::has_program("apt-get"),
            is_root: id.is_ok_and(|output| output.stdout.trim_ascii() == b"0"),
            has_sudo: needs::has_program("sudo"),
            sudo_is_free: cargo::succeeds("sudo", &["-n", "true"]),
        }
    }
}

/// The system is looked at only when something is missing.
fn action(missing: &[&Need], system: impl FnOnce() -> System) -> Action {
    if missing.is_empty() {
        return Action::Nothing;
    }
    let system = system();
    let packages = needs::packages(missing);
    if !system.has_apt_get {
        let lines = missing.iter().map(|need| format!("\n  {} ({})", need.what, need.why));
        return Action::End(format!(
            "the tests need what is missing here; install it and run this again:{}",
            lines.collect::<String>()
        ));
    }
    if system.is_root {
        return Action::Install { before: &[], packages };
    }
    if system.sudo_is_free {
        return Action::Install { before: &["sudo", "-n"], packages };
    }
    let (how, sudo) = if system.has_sudo { ("run", "sudo ") } else { ("run as root", "") };
    Action::End(format!(
        "the tests need packages that are missing here; {how}: \
         {sudo}apt-get update && {sudo}apt-get install --no-install-recommends {}",
        packages.join(" ")
    ))
}

fn announcement(packages: &[&str]) -> String {
    format!("installing for the tests: {} (apt-get)", packages.join(" "))
}

fn still_missing(missing: &[&Need]) -> Option<String> {
    let names: Vec<String> =
        missing.iter().map(|need| format!("{} (package {})", need.what, need.packages.join(" "))).collect();
    (!names.is_empty())
        .then(|| format!("missing even after apt-get installed packages: {}", names.join(", ")))
}

/// The two calls: the lists of packages, which a fresh system does not have, then the packages. The packages
/// that Debian recommends beside them are left out: no test uses those (43 on Debian 12, an SSH client and
/// fonts among them).
fn commands(before: &[&str], packages: &[&str]) -> [Vec<String>; 2] {
    let apt_get = |arguments: &[&str]| {
        // A package that asks a question would wait for an answer.
        let words =
            [before, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"], arguments].concat();
        words.into_iter().map(str::to_owned).collect()
    };
    [apt_get(&["update"]), apt_get(&[&["install", "-y", "--no-install-recommends"], packages].concat())]
}

/// Quiet unless it fails. An update that fails does not end it: one source of many may be out of reach, and
/// the lists of the last update may do.
fn install(before: &[&str], packages: &[&str]) -> Result<(), String> {
    let [update, install] = commands(before, packages);
    let updated = run(&update);
    run(&install).map_err(|install| match updated {
        Ok(()) => install,
        Err(update) => format!("{update}\n{install}"),
    })
}

/// The error has what the command printed.
fn run(words: &[String]) -> Result<(), String> {
    let said = words.join(" ");
    let [program, arguments @ ..] = words else { return Ok(()) };
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{said}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stdout, output.stderr].concat();
    Err(format!("{said}: {}\n{}", output.status, String::from_utf8_lossy(&printed).trim_end()))
}

#[cfg(test)]
mod tests {
    use super::super::needs::What;
    use super::*;

    const ROOT: System = System { has_apt_get: true, is_root: true, has_sudo: false, sudo_is_free: false };

    fn without(programs: &[&str]) -> Vec<&'static Need> {
        needs::missing(|what| !matches!(what, What::Program(name) if programs.contains(&name)))
    }

    #[test]
    fn where_all_is_there_nothing_is_looked_at() {
        assert_eq!(action(&without(&[]), || panic!("the system was looked at")), Action::Nothing);
    }

    #[test]
    fn root_installs_what_is_missing_and_one_line_says_so() {
        let packages = vec!["git", "procps"];
        assert_eq!(announcement(&packages), "installing for the tests: git procps (apt-get)");
        let [update, install] = commands(&[], &packages).map(|words| words.join(" "));
        assert_eq!(update, "env DEBIAN_FRONTEND=noninteractive apt-get -qq update");
        assert_eq!(
            install,
            "env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends git procps"
        );
        assert_eq!(action(&without(&["kill", "git"]), || ROOT), Action::Install { before: &[], packages });
    }

    #[test]
    fn sudo_is_used_where_it_asks_for_no_password() {
        let user = System { is_root: false, has_sudo: true, sudo_is_free: true, ..ROOT };
        let action = action(&without(&["tmux"]), || user);
        assert_eq!(action, Action::Install { before: &["sudo", "-n"], packages: vec!["tmux"] });
        assert!(commands(&["sudo", "-n"], &["tmux"]).iter().all(|words| words[..2] == ["sudo", "-n"]));
    }

    #[test]
    fn a_user_who_may_not_install_gets_one_line_to_run() {
        let user = System { is_root: false, ..ROOT };
        let message = |system| match action(&without(&["git", "tmux"]), || system) {
            Action::End(message) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            message(user),
            "the tests need packages that are missing here; run as root: \
             apt-get update && apt-get install --no-install-recommends git tmux"
        );
        assert_eq!(
            message(System { has_sudo: true, ..user }),
            "the tests need packages that are missing here; run: \
             sudo apt-get update && sudo apt-get install --no-install-recommends git tmux"
        );
    }

    #[test]
    fn without_apt_get_what_is_missing_is_named_with_its_reason() {
        let fedora = System { has_apt_get: false, ..ROOT };
        let Action::End(message) = action(&without(&["tmux", "kill"]), || fedora) else {
            panic!("no message")
        };
        let lines: Vec<&str> = message.lines().collect();
        assert_eq!(lines.len(), 3, "{message}");
        assert!(lines[1].starts_with("  tmux (shows") && lines[2].starts_with("  kill (sends"), "{message}");
        assert!(!message.contains("procps"), "Debian's names are not other systems': {message}");
    }

    #[test]
    fn what_is_missing_after_the_installation_is_named() {
        assert_eq!(still_missing(&[]), None);
        assert_eq!(
            still_missing(&without(&["cc"])).unwrap(),
            "missing even after apt-get installed packages: cc (package gcc libc6-dev)"
        );
    }

    #[test]
    fn a_command_that_fails_shows_what_it_printed() {
        let words = ["sh", "-c", "echo no such package >&2; exit 3"].map(str::to_owned);
        let error = run(&words).unwrap_err();
        assert!(error.contains("exit status: 3\nno such package"), "{error}");
        assert!(run(&["/nowhere/apt-get".to_owned()]).unwrap_err().starts_with("/nowhere/apt-get: "));
    }
}
