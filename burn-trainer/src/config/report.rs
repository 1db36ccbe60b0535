//! Whether a run can have the page that its configuration asks for.

use crate::error::{Error, Result};

/// Checks the setting `report`. `can_write`: whether this crate was built with what writes pages.
///
/// # Errors
///
/// [`Error::Config`] that names the feature.
pub(super) fn check(report: bool, can_write: bool) -> Result<()> {
    if report && !can_write {
        let reason = "it needs the feature `report` of burn-trainer, which this program was built without";
        return Err(Error::config("report", reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_what_writes_it_is_an_error_that_names_the_feature() {
        let error = check(true, false).unwrap_err();
        assert!(matches!(&error, Error::Config { setting, .. } if setting == "report"), "{error:?}");
        assert!(error.to_string().contains("feature `report` of burn-trainer"), "{error}");
        assert!(check(true, true).is_ok() && check(false, false).is_ok());
    }
}
