//! Addresses on the command line (`s3://bucket/run`): an error, before the verb does anything, for each
//! argument that takes a path alone. Otherwise it would be a path of this directory, `./s3:/bucket/run`.

use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{is_address, mirror_address};
use clap::{Arg, ArgMatches, Command};

use crate::verb_result::Failure;

/// The arguments that take an address too: what only reads checkpoints, and what removes them.
const TAKES_ADDRESS: [(&str, &str); 11] = [
    ("ls", "directory"),
    ("show", "checkpoint"),
    ("verify", "paths"),
    ("diff", "a"),
    ("diff", "b"),
    ("cp", "checkpoint"),
    ("prune", "run"),
    ("rm", "run"),
    ("export", "checkpoint"),
    ("average", "checkpoints"),
    ("import", "like"),
];
/// What to use instead.
const VERBS: &str = "ls, show, verify, diff, export and average read a mirror, prune and rm remove from it, cp gets a checkpoint or a run of it, \
                     and mirror sends a run to it";

/// How to get a program that can.
const BUILD: &str = "build burn-ckpt with the feature `mirror`";

/// Checks all paths among the arguments of a verb.
///
/// # Errors
///
/// Wrong usage that names the argument. It does not repeat the address, which can have a credential.
pub fn check(command: &Command, matches: &ArgMatches) -> Result<(), Failure> {
    let Some((verb, matches)) = matches.subcommand() else { return Ok(()) };
    let arguments = command.find_subcommand(verb).into_iter().flat_map(Command::get_arguments);
    for argument in arguments {
        let id = argument.get_id().as_str();
        // An argument of another type is not a path.
        let paths = matches.try_get_many::<PathBuf>(id).ok().flatten();
        let Some(path) = paths.into_iter().flatten().find(|path| is_address(path)) else { continue };
        if !TAKES_ADDRESS.contains(&(verb, id)) {
            return Err(takes_none(verb, &shown(argument)));
        }
        check_store(verb, path)?;
    }
    Ok(())
}

/// The error of an argument that takes no address.
pub fn takes_none(verb: &str, argument: &str) -> Failure {
    if verb == "describe" {
        let advice =
            "a mirror keeps the metadata with its digest: get the checkpoint with cp, and describe the copy";
        return Failure::Usage(format!("describe takes no address as {argument}, but a path: {advice}"));
    }
    let build = if cfg!(feature = "mirror") { "" } else { "in a build with the feature `mirror` " };
    Failure::Usage(format!("{verb} takes no address as {argument}, but a path: {build}{VERBS}"))
}

fn shown(argument: &Arg) -> String {
    match argument.get_long() {
        Some(long) => format!("--{long}"),
        None => {
            argument.get_value_names().and_then(<[_]>::first).map_or_else(String::new, ToString::to_string)
        }
    }
}

/// The arguments of `mirror`, where this program is built without it.
#[cfg(not(feature = "mirror"))]
#[derive(clap::Args)]
pub struct WithoutMirror {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<std::ffi::OsString>,
}

/// The error of `mirror`, where this program is built without it.
#[cfg(not(feature = "mirror"))]
pub fn without_mirror() -> Failure {
    Failure::Usage(format!("mirror is not in this build: {BUILD}"))
}

/// Fails for an address that is not one of a mirror, and in a program without mirrors.
fn check_store(verb: &str, path: &Path) -> Result<(), Failure> {
    if mirror_address(path).is_none() {
        let reason = "an address of a mirror begins with s3://, gs://, az:// or file:///";
        return Err(Failure::Usage(format!("{verb} cannot read this address: {reason}")));
    }
    if !cfg!(feature = "mirror") {
        return Err(Failure::Usage(format!("{verb} cannot read an address in this build: {BUILD}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::Cli;

    fn checked(words: &[&str]) -> Result<(), String> {
        let matches =
            Cli::command().try_get_matches_from(std::iter::once(&"burn-ckpt").chain(words)).unwrap();
        match check(&Cli::command(), &matches) {
            Ok(()) => Ok(()),
            Err(Failure::Usage(message)) => Err(message),
            Err(failure) => panic!("{failure:?}"),
        }
    }

    #[test]
    fn each_argument_that_takes_an_address_is_there() {
        for (verb, id) in TAKES_ADDRESS {
            let command = Cli::command();
            let verb = command.find_subcommand(verb).unwrap();
            assert!(verb.get_arguments().any(|argument| argument.get_id() == id), "{id}");
        }
    }

    #[test]
    fn each_path_of_each_verb_takes_an_address_or_says_that_it_does_not() {
        let mut paths = 0;
        for verb in Cli::command().get_subcommands() {
            let name = verb.get_name();
            for argument in verb.get_arguments().filter(|argument| {
                argument.get_value_parser().type_id() == clap::builder::ValueParser::path_buf().type_id()
            }) {
                paths += 1;
                let id = argument.get_id().as_str();
                // All that the verb requires, with an address in this place alone.
                let mut words = vec![name.to_owned()];
                for other in verb.get_arguments() {
                    let (is_it, long) = (other.get_id() == id, other.get_long());
                    let value = if is_it { "s3://hunter2@b/x.ckpt" } else { "x.ckpt" };
                    if let Some(long) = long.filter(|_| is_it || other.is_required_set()) {
                        words.extend([format!("--{long}"), value.to_owned()]);
                    } else if long.is_none() && (is_it || other.is_required_set()) {
                        words.push(value.to_owned());
                    }
                }
                // It requires one of two.
                words.extend((name == "prune").then(|| "--broken".to_owned()));
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let checked = checked(&words);
                let takes = TAKES_ADDRESS.contains(&(name, id));
                assert_eq!(checked.is_ok(), takes && cfg!(feature = "mirror"), "{words:?}: {checked:?}");
                let message = checked.err().unwrap_or_default();
                assert!(!message.contains("hunter2"), "{message}");
                assert!(takes || message.contains(&format!("{name} takes no address as ")), "{message}");
            }
        }
        assert!(paths > 20, "{paths}");
    }

    #[test]
    fn an_address_of_another_kind_is_an_error_of_the_verbs_that_take_one_too() {
        let message = checked(&["ls", "https://host/x"]).unwrap_err();
        assert!(message.contains("begins with s3://"), "{message}");
    }
}
