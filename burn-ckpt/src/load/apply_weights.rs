//! Loading a section into a module: the tensors that fit are read, verified, and put into its parameters.
//!
//! `match_tensors` decides which tensor is for which parameter before any tensor is read. burn-store's
//! `Applier` then takes one tensor after the other, which `prefetch` has read by then.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use burn::module::Module;
use burn::store::Applier;

use crate::error::{Error, Result};
use crate::format::metadata::Metadata;
use crate::format::section::Section;
use crate::load::checked_tensors::verified;
use crate::load::float_types;
use crate::load::match_tensors::{Matches, match_tensors};
use crate::load::options::LoadOptions;
use crate::load::prefetch::read_ahead;
use crate::load::report::LoadReport;
use crate::panics::panic_message;
use crate::text::printable::shown;

/// Loads a section of a checkpoint, that of the options, into a module. The tensors are verified against
/// `metadata`, if it is given.
pub(crate) fn load<M: Module>(
    path: &Path,
    mut section: Section,
    module: M,
    options: &LoadOptions,
    metadata: Option<&Metadata>,
) -> Result<(M, LoadReport)> {
    let read_errors = section.read_errors.clone();
    if let Some(metadata) = metadata {
        section.tensors = verified(path, &options.section(), section.tensors, metadata, &read_errors)?;
    }
    let Matches { found, floats, mut report } = match_tensors(path, section, &module, options)?;
    report.verified = metadata.is_some();
    report.check(path, options)?;
    float_types::check(path, &floats)?;

    let (names, wanted): (Vec<_>, Vec<_>) =
        found.into_iter().map(|found| (found.stored_name, found.wanted)).unzip();
    let (mapped, unread) = read_ahead(wanted, |tensors| {
        let mut applier = Applier::new(tensors, None, None, false);
        // A device that does not support a tensor's type panics. Only the module is lost then.
        catch_unwind(AssertUnwindSafe(|| module.map(&mut applier)))
            .map(|module| (module, applier.into_result()))
    });
    if let Some(unread) = unread {
        let name = &names[unread.index];
        let full_name = format!("{}.{}", options.section(), shown(name));
        return Err(match read_errors.take(name) {
            Some(error @ Error::Checksum { .. }) => error,
            Some(source) => Error::Load {
                path: path.to_path_buf(),
                reason: format!("the tensor {full_name} cannot be read"),
                source: Some(Box::new(source)),
            },
            None => Error::unreadable_tensor(path, &full_name, unread.error),
        });
    }
    let failed = |reason, source| Error::Load { path: path.to_path_buf(), reason, source };
    let (module, mut applied) = mapped.map_err(|panic| {
        failed(format!("the device does not take a tensor: {}", panic_message(&*panic)), None)
    })?;
    if !applied.errors.is_empty() {
        let first = applied.errors.swap_remove(0);
        return Err(failed("a tensor does not fit its parameter".to_owned(), Some(Box::new(first))));
    }
    report.loaded = applied.applied;
    Ok((module, report))
}
