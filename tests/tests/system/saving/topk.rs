//! Best keeps the best and the links are right: for min and max, on ties, with NaN in between and NaN first.

use std::path::Path;

use burn_trainer::burn_ckpt::retention::{MetricMode, TopK};
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use system_tests::models::small::{Script, ScriptedMetric};
use system_tests::run_files::{checkpoints, metadata, stems, target};
use system_tests::{config, train_scored, train_with};

fn best(metric: &str, mode: Option<MetricMode>, k: usize) -> StrategyConfig {
    let best = Best::new().with_metric(metric).with_topk(k).with_filename("{epoch}");
    StrategyConfig::Best(match mode {
        Some(mode) => best.with_mode(mode),
        None => best,
    })
}

fn scored(root: &Path, scores: &[f64], mode: MetricMode, k: usize) -> (Vec<String>, String) {
    let config = config(root, scores.len()).with_primary_metric("val_score");
    train_scored(config.with_strategies([best("val_score", Some(mode), k)]), scores).unwrap();
    let directory = checkpoints(root);
    let link = target(&directory.join("best_val_score.ckpt"));
    let best = link.file_stem().unwrap().to_str().unwrap().to_owned();
    let kept = stems(&directory.join("best"));
    for stem in &kept {
        // Its metadata came along, and that of an evicted one went with it.
        let described = metadata(&directory.join(format!("best/{stem}.ckpt")));
        assert_eq!(described["epoch"].to_string(), *stem);
    }
    assert_eq!(std::fs::read_dir(directory.join("best")).unwrap().count(), 2 * kept.len());
    (kept, best)
}

fn check(scores: &[f64], mode: MetricMode, k: usize, kept: &[&str], best: &str) {
    let root = tempfile::tempdir().unwrap();
    let found = scored(root.path(), scores, mode, k);
    assert_eq!(
        (found.0, found.1.as_str()),
        (kept.iter().map(|s| (*s).to_owned()).collect(), best),
        "{scores:?}"
    );
}

const NAN: f64 = f64::NAN;

#[test]
fn the_three_lowest_stay() {
    check(&[5.0, 3.0, 4.0, 1.0, 2.0], MetricMode::Min, 3, &["1", "3", "4"], "3");
}

#[test]
fn the_three_highest_stay() {
    check(&[5.0, 3.0, 4.0, 1.0, 2.0], MetricMode::Max, 3, &["0", "1", "2"], "0");
}

#[test]
fn ties_keep_the_earlier() {
    check(&[2.0, 1.0, 1.0, 1.0, 1.0], MetricMode::Min, 3, &["1", "2", "3"], "1");
    check(&[1.0, 1.0, 1.0], MetricMode::Max, 1, &["0"], "0");
}

#[test]
fn nan_in_between_is_not_kept() {
    check(&[3.0, NAN, 2.0, NAN, NAN, 1.0], MetricMode::Min, 3, &["0", "2", "5"], "5");
    check(&[3.0, NAN, NAN], MetricMode::Max, 3, &["0"], "0");
}

#[test]
fn nan_first_stays_until_a_number_comes() {
    check(&[NAN], MetricMode::Min, 3, &["0"], "0");
    check(&[NAN, NAN], MetricMode::Min, 3, &["0"], "0");
    check(&[NAN, 2.0], MetricMode::Min, 3, &["1"], "1");
    check(&[NAN, 2.0, 3.0], MetricMode::Max, 1, &["2"], "2");
}

#[test]
fn infinities_are_numbers() {
    check(&[f64::INFINITY, 1.0, f64::NEG_INFINITY], MetricMode::Min, 2, &["1", "2"], "2");
}

#[test]
fn the_metric_says_which_way_is_better() {
    let root = tempfile::tempdir().unwrap();
    let metric = ScriptedMetric::new("Score", &[1.0, 3.0, 2.0]).higher_is_better(Some(true));
    let config = config(root.path(), 3).with_primary_metric("val_score");
    let config = config.with_strategies([best("val_score", None, 1)]);
    train_with(config, Script::default(), |training| training.metric_valid_numeric(metric)).unwrap();
    assert_eq!(target(&checkpoints(root.path()).join("best_val_score.ckpt")), Path::new("best/1.ckpt"));
}

#[test]
fn two_metrics_share_a_directory_and_keep_their_own() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = (ScriptedMetric::new("a", &[1.0, 2.0, 3.0]), ScriptedMetric::new("b", &[1.0, 3.0, 2.0]));
    let config = config(root.path(), 3)
        .with_primary_metric("val_a")
        .with_strategies([best("val_a", Some(MetricMode::Min), 1), best("val_b", Some(MetricMode::Max), 1)]);
    let set_up = |training: burn::train::SupervisedTraining<_>| {
        training.metric_valid_numeric(a).metric_valid_numeric(b)
    };
    let result = train_with(config, Script::default(), set_up).unwrap();
    let directory = checkpoints(root.path());
    assert_eq!(target(&directory.join("best_val_a.ckpt")), Path::new("best/0.ckpt"));
    assert_eq!(target(&directory.join("best_val_b.ckpt")), Path::new("best/1.ckpt"));
    assert_eq!(stems(&directory.join("best")), ["0", "1"]);
    assert_eq!(result.best().unwrap().score, 1.0);
    assert!(result.failed_saves.is_empty());
}

#[test]
fn last_keeps_one_unless_told_otherwise() {
    for (topk, expected) in [
        (None, vec!["epoch=3-step=40"]),
        (Some(TopK::Count(2)), vec!["epoch=2-step=30", "epoch=3-step=40"]),
        (Some(TopK::All), vec!["epoch=0-step=10", "epoch=1-step=20", "epoch=2-step=30", "epoch=3-step=40"]),
    ] {
        let root = tempfile::tempdir().unwrap();
        let last = Last::new().with_topk(topk.unwrap_or(Last::default().topk));
        system_tests::train(config(root.path(), 4).with_strategies([StrategyConfig::Last(last)])).unwrap();
        assert_eq!(stems(&checkpoints(root.path()).join("last")), expected);
        assert_eq!(
            target(&checkpoints(root.path()).join("last.ckpt")),
            Path::new("last/epoch=3-step=40.ckpt")
        );
    }
}

#[test]
fn every_best_one_stays_with_topk_all() {
    let root = tempfile::tempdir().unwrap();
    let strategy = StrategyConfig::Best(Best::new().with_topk(TopK::All).with_filename("{epoch}"));
    let config = config(root.path(), 4).with_primary_metric("val_score");
    train_scored(config.with_strategies([strategy]), &[2.0, 4.0, 1.0, 3.0]).unwrap();
    assert_eq!(stems(&checkpoints(root.path()).join("best")), ["0", "1", "2", "3"]);
    assert_eq!(target(&checkpoints(root.path()).join("best_val_score.ckpt")), Path::new("best/2.ckpt"));
}

#[test]
fn without_links_there_are_none() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path(), 1).with_strategies([
        StrategyConfig::Best(Best::new().with_save_symlink(false)),
        StrategyConfig::Last(Last::new().with_save_symlink(false)),
    ]);
    system_tests::train(config).unwrap();
    let links = system_tests::run_files::files(&checkpoints(root.path()));
    assert!(links.iter().all(|name| !name.contains(" -> ")), "{links:?}");
    assert_eq!(links.len(), 4);
}
