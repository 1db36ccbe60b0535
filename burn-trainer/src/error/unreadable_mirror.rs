//! What to do about a mirror that a start without checkpoints on disk gets nothing from.

use burn_ckpt::{Error, MirrorFailure};

/// What is wrong with the mirror, and what helps.
pub(super) fn what_mirror_lacks(source: &Error) -> String {
    use MirrorFailure::{Denied, NotFound, Unsupported};
    let text = match source {
        Error::Mirror { failure: Denied, action: "write" | "take" | "renew", .. } => {
            "its mirror cannot be written to: let these credentials write and delete there; or get its checkpoints with \
             burn-ckpt cp, and resume from them without the mirror"
        }
        Error::Mirror { failure: Denied, .. } => {
            "its mirror cannot be read: start it again with what the store asks for, or without the mirror"
        }
        Error::Mirror { failure: NotFound, .. } => {
            "its mirror is not there: make the bucket or the directory, or correct the address"
        }
        Error::Mirror { failure: Unsupported, .. } => "its mirror cannot be used: name another address",
        Error::Damaged { .. } | Error::Checksum { .. } | Error::NewerFormat { .. } => {
            "what its mirror has cannot be used: burn-ckpt verify names what is whole there; a new run needs another run id, or \
             another address"
        }
        _ => {
            "its mirror cannot be read: start it again when the mirror can be, or start from the beginning with ckpt_path \
             \"none\""
        }
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_store_that_may_answer_later_lets_the_run_start_from_the_beginning() {
        let advice = |failure, action| {
            let (object, reason) = ("s3://b/r1".to_owned(), "it fails".to_owned());
            what_mirror_lacks(&Error::Mirror { action, object, failure, reason })
        };
        assert!(advice(MirrorFailure::Unreachable, "list").contains("ckpt_path \"none\""));
        let denied = [(MirrorFailure::Denied, "list"), (MirrorFailure::Denied, "write")];
        for (failure, action) in denied.into_iter().chain([(MirrorFailure::NotFound, "list")]) {
            let advice = advice(failure, action);
            assert!(!advice.contains("none"), "{advice}");
            assert_eq!(advice.contains("write and delete"), action == "write", "{advice}");
        }
    }
}
