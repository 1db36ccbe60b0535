//! What is marked on a curve is on it: the checkpoints of the part of the run that is left.

use std::path::Path;

use burn_trainer::strategy::StrategyConfig;
use serde_json::{Value, json};
use system_tests::programs::browser;
use system_tests::run_files::{checkpoints, metadata, run_dir};
use system_tests::{config, train_and_keep_all, train_scored};

use super::page::report;

/// Draws the charts again. Gives the ticks and the rings in that of the score, and the steps of the
/// checkpoints that have a tick.
const MARKS: &str = "async () => {
    const { fillRect, arc } = CanvasRenderingContext2D.prototype;
    const marks = { ticks: 0, rings: 0 };
    const isScore = (canvas) => canvas.closest('.chart').querySelector('h3').textContent === 'score';
    CanvasRenderingContext2D.prototype.fillRect = function (x, y, width, height) {
      if (width === 2 && height === 8 && isScore(this.canvas)) marks.ticks++;
      fillRect.call(this, x, y, width, height);
    };
    CanvasRenderingContext2D.prototype.arc = function (x, y, radius, ...angles) {
      if (radius === 7 * devicePixelRatio && isScore(this.canvas)) marks.rings++;
      arc.call(this, x, y, radius, ...angles);
    };
    const along = document.querySelector('input[name=along]');
    along.checked = true;
    along.dispatchEvent(new Event('change'));
    await new Promise((done) => setTimeout(done, 100));
    const [run] = (await readData()).runs;
    return { ...marks, checkpoints: run.checkpoints.map((row) => [row.global_step, row.score, row.is_trained_again]) };
  }";

fn marks(root: &Path) -> Value {
    browser::ask(&report(root, &[&run_dir(root)]), MARKS)
}

#[test]
fn a_checkpoint_of_a_part_that_was_trained_again_is_not_marked() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[5.0, 4.0, 1.0, 3.0], 1).unwrap();
    let before = marks(root.path());
    let all = before["checkpoints"].as_array().unwrap().len();
    assert_eq!((&before["ticks"], &before["rings"]), (&json!(all), &json!(1)), "{before}");
    // From the second epoch: the best is of the part that was left.
    let directory = checkpoints(root.path());
    let strategies = metadata(&directory.join("last.ckpt"))["trainer_config"]["strategies"].clone();
    let again = config(root.path(), 4)
        .with_primary_metric("val_score")
        .with_strategies(serde_json::from_value::<Vec<StrategyConfig>>(strategies).unwrap())
        .with_ckpt_path(directory.join("last/epoch=1-step=20.ckpt").to_str().unwrap());
    train_scored(again, &[2.0, 6.0]).unwrap();
    let after = marks(root.path());
    let rows: Vec<(u64, f64, bool)> = serde_json::from_value(after["checkpoints"].clone()).unwrap();
    assert!(rows.contains(&(30, 1.0, true)) && rows.contains(&(30, 2.0, false)), "{after}");
    let left = rows.iter().filter(|(.., is_trained_again)| !is_trained_again).count();
    assert_eq!((&after["ticks"], &after["rings"]), (&json!(left), &json!(0)), "{after}");
}
