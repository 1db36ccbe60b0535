//! The checkpoint that the program reads when training is done: whether the run will have one of that name.

use burn_ckpt::plumbing::{BEST_DIR, CHECKPOINT_SUFFIX, link_name, link_names};
use burn_ckpt::{RunLayout, locate};
use indexmap::IndexSet;

use crate::error::{Error, Result};
use crate::strategy::Strategy;

/// The flag that names it.
const FLAG: &str = "--evaluate";
const BEST_PREFIX: &str = "best_";

/// Checks, before hours of training, that `best`, `last` or `best_<metric>` is a name that a strategy gives,
/// or that a checkpoint of the run has already. `best_metric` is the metric that "best" refers to.
///
/// # Errors
///
/// [`Error::Config`] with the names that there will be.
pub(in crate::run) fn check(
    wanted: &str,
    best_metric: Option<&str>,
    strategies: &[Box<dyn Strategy>],
    layout: &RunLayout,
) -> Result<()> {
    let mut links: IndexSet<String> = strategies
        .iter()
        .filter_map(|strategy| strategy.output().link)
        .map(file_stem)
        .collect::<Result<_>>()?;
    links.extend(link_names(layout)?);
    let saved_as = strategies.iter().filter_map(|strategy| name_without_link(&strategy.name()));
    let unlinked: IndexSet<String> = saved_as.map(file_stem).collect::<Result<_>>()?;
    let all: IndexSet<&str> = links.iter().chain(&unlinked).map(String::as_str).collect();
    let best = |names: &IndexSet<String>| -> Vec<String> {
        names.iter().filter(|name| name.starts_with(BEST_PREFIX)).cloned().collect()
    };
    let primary = best_metric.map(|metric| file_stem(format!("{BEST_PREFIX}{metric}"))).transpose()?;
    let meant = match wanted {
        BEST_DIR if primary.as_ref().is_some_and(|name| all.contains(&**name)) => {
            primary.into_iter().collect()
        }
        // A link counts before a checkpoint without one, as when it is looked for.
        BEST_DIR if !best(&links).is_empty() => best(&links),
        BEST_DIR => best(&unlinked),
        wanted => all.get(wanted).into_iter().map(|name| (*name).to_owned()).collect(),
    };
    match meant.as_slice() {
        [_] => Ok(()),
        [] if locate(layout.run_dir().join(wanted)).is_ok() => Ok(()),
        [] => {
            let names = if all.is_empty() {
                "no strategy saves a checkpoint that has a name".to_owned()
            } else {
                format!("there will be {}", all.into_iter().collect::<Vec<_>>().join(", "))
            };
            Err(Error::config(
                format!("{FLAG} {wanted}"),
                format!("the run will have no such checkpoint: {names}"),
            ))
        }
        several => {
            let reason = format!("the run will have several: name one of {}", several.join(", "));
            Err(Error::config(format!("{FLAG} {wanted}"), reason))
        }
    }
}

/// The name of a link, as its file has it.
fn file_stem(link: String) -> Result<String> {
    let file = link_name(&link)?;
    Ok(file.strip_suffix(CHECKPOINT_SUFFIX).unwrap_or(&file).to_owned())
}

/// The name by which the checkpoints of a strategy are found where there is no link to them.
fn name_without_link(strategy: &str) -> Option<String> {
    let mut parts = strategy.split(':');
    match (parts.next()?, parts.next()) {
        ("last", _) => Some("last".to_owned()),
        ("best", Some(metric)) => Some(format!("{BEST_PREFIX}{metric}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::{
        Best, BestStrategy, Last, LastStrategy, MetricMode, OnException, OnExceptionStrategy,
    };

    fn best(metric: &str, save_symlink: bool) -> Box<dyn Strategy> {
        let best = Best::new().with_save_symlink(save_symlink);
        Box::new(BestStrategy::new(best, metric, MetricMode::Min))
    }

    fn last() -> Box<dyn Strategy> {
        Box::new(LastStrategy::new(Last::new()))
    }

    #[test]
    fn a_name_that_no_strategy_gives_is_an_error_with_the_names_there_will_be() {
        let root = tempfile::tempdir().unwrap();
        let layout = RunLayout::new(root.path(), "logs", "r1").unwrap();
        let failure: Box<dyn Strategy> = Box::new(OnExceptionStrategy::new(OnException::new()));
        let said_of = |wanted: &str, metric, strategies: &[Box<dyn Strategy>]| {
            check(wanted, metric, strategies, &layout)
                .map_or_else(|error| error.to_string(), |()| "fine".to_owned())
        };
        let said = |wanted: &str, strategies: &[Box<dyn Strategy>]| said_of(wanted, None, strategies);
        let usual = [best("val_loss", true), last(), failure];
        for wanted in ["best", "last", "best_val_loss"] {
            assert_eq!(said(wanted, &usual), "fine");
        }
        let nope = said("best_val_nope", &usual);
        assert!(
            nope.starts_with("--evaluate best_val_nope") && nope.ends_with("best_val_loss, last"),
            "{nope}"
        );
        let two = [best("val_loss", true), best("val_accuracy", true)];
        let several = said("best", &two);
        assert!(several.ends_with("name one of best_val_loss, best_val_accuracy"), "{several}");
        assert_eq!(said_of("best", Some("val_accuracy"), &two), "fine");
        assert!(said("last", &two).contains("no such checkpoint"));
        // One link is meant by `best`, and the other is found by its name.
        let one_linked = [best("val_loss", true), best("val/accuracy", false)];
        assert_eq!(["best", "best_val_accuracy"].map(|wanted| said(wanted, &one_linked)), ["fine"; 2]);
        let none = said("best", &[]);
        assert!(none.ends_with("no strategy saves a checkpoint that has a name"), "{none}");
    }
}
