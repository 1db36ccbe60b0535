//! The tables of a page: what is in them, and that they fit a small screen.

use burn_trainer::config::EarlyStopping;
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use serde_json::json;
use system_tests::programs::browser;
use system_tests::programs::commands::{burn_ckpt, ended_with, stdout};
use system_tests::run_files::{copy_tree, edit_metadata, run_dir};
use system_tests::{config, train};

use super::page::report;

#[test]
fn the_table_of_runs_leaves_out_names_places_and_saving_as_the_verb_runs_does() {
    let root = tempfile::tempdir().unwrap();
    for (run, seed) in [("r1", 1), ("r2", 2)] {
        let epochs = seed as usize;
        let run = config(root.path(), epochs).with_run_id(run).with_seed(seed);
        train(run.with_tags([seed.to_string()]).with_report(seed == 2)).unwrap();
    }
    let logs = root.path().join("burn_trainer_logs");
    ended_with(&burn_ckpt(&[&"tag", &logs.join("r1"), &"later"]), 0);
    let page = report(root.path(), &[&logs.join("r1"), &logs.join("r2")]);
    let settings = browser::ask(
        &page,
        "async () => [...document.querySelectorAll('#runs thead th')].map((heading) => heading.textContent).filter((title) => title.startsWith('trainer.'))",
    );
    assert_eq!(settings, serde_json::json!(["trainer.seed"]));
}

#[test]
fn what_has_no_value_comes_last_in_a_sorted_table_either_way() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let page = report(root.path(), &[&run_dir(root.path())]);
    let orders = browser::ask(
        &page,
        "async () => [false, true].map((descending) =>
           [NaN, 3, null, 1, Infinity].sort((a, b) => compare(a, b, descending)).map(String))",
    );
    assert_eq!(
        orders,
        serde_json::json!([["1", "3", "Infinity", "NaN", "null"], ["Infinity", "3", "1", "NaN", "null"]])
    );
}

#[test]
fn of_several_best_checkpoints_one_is_called_the_best() {
    let root = tempfile::tempdir().unwrap();
    let strategies = [StrategyConfig::Best(Best::new().with_topk(2)), StrategyConfig::Last(Last::new())];
    train(config(root.path(), 3).with_strategies(strategies)).unwrap();
    let page = report(root.path(), &[&run_dir(root.path())]);
    let kept_as = browser::ask(
        &page,
        "async () => [...document.querySelectorAll('[aria-label^=\"checkpoints of\"] tbody tr')].map((row) => row.lastElementChild.textContent).sort()",
    );
    assert_eq!(kept_as, serde_json::json!(["among the best", "best", "last"]));
}

#[test]
fn the_values_of_a_chart_fit_a_small_screen() {
    let root = tempfile::tempdir().unwrap();
    // A save at each step: some have ended in each epoch.
    train(config(root.path(), 2).with_last(Last::new().with_every_n_steps(1))).unwrap();
    let page = report(root.path(), &[&run_dir(root.path())]);
    let tables = browser::ask(
        &page,
        "async () => {
           document.body.style.width = '380px';
           const tables = [];
           for (const chart of document.querySelectorAll('.chart')) {
             chart.style.width = '348px';
             const values = chart.querySelector('details');
             values.open = true;
             values.dispatchEvent(new Event('toggle'));
             const { scrollWidth, clientWidth } = values.querySelector('.scroll');
             const columns = chart.querySelectorAll('thead th').length;
             tables.push([chart.querySelector('h3').textContent, columns, scrollWidth - clientWidth]);
           }
           return tables;
         }",
    );
    let tables: Vec<(String, u64, i64)> = serde_json::from_value(tables).unwrap();
    assert!(tables.iter().any(|(title, ..)| title.starts_with("seconds of a save")), "{tables:?}");
    assert!(tables.iter().all(|(_, _, beyond)| *beyond <= 0), "{tables:?}");
    // Where there is one curve, the chart's title says which.
    let columns =
        |title: &str| tables.iter().find(|(shown, ..)| shown == title).map(|(_, columns, _)| *columns);
    assert_eq!((columns("loss"), columns("items/s")), (Some(3), Some(2)), "{tables:?}");
}

#[test]
fn a_run_without_a_checkpoint_makes_no_setting_differ() {
    let root = tempfile::tempdir().unwrap();
    for (run, seed) in [("r1", 1), ("r2", 2), ("r3", 1)] {
        let run = config(root.path(), 1).with_run_id(run).with_seed(seed).with_checkpoint_saving(seed == 1);
        train(run).unwrap();
    }
    let logs = root.path().join("burn_trainer_logs");
    let page = report(root.path(), &[&logs.join("r1"), &logs.join("r2"), &logs.join("r3")]);
    let headings = browser::ask(
        &page,
        "async () => [...document.querySelectorAll('#runs thead th')].map((heading) => heading.textContent)",
    );
    let expected = ["run", "status", "best val_loss", "epochs done", "steps", "time", "items/s"];
    assert_eq!(headings, serde_json::json!(expected));
}

#[test]
fn a_slow_run_has_a_speed_and_the_verb_runs_has_the_same() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let last = run.join("checkpoint/last.ckpt").canonicalize().unwrap();
    for (speed, shown) in [(0.3, "0.3000"), (1992.4, "1992"), (12.346, "12.35"), (2e-5, "2.000e-5")] {
        edit_metadata(&last, |metadata| metadata["speed"]["items_per_second"] = json!(speed));
        let verb = stdout(&burn_ckpt(&[&"runs", &run, &"--columns", &"items/s"]));
        assert_eq!(verb.lines().nth(1).map(str::trim), Some(shown), "{verb}");
        let fact = "async () => [...document.querySelectorAll('.facts div')].map((fact) => fact.textContent).find((text) => text.startsWith('speed'))";
        let fact = browser::ask(&report(root.path(), &[&run]), fact);
        assert_eq!(fact.as_str().unwrap().replace(',', ""), format!("speed{shown} items/s"));
        let cell = "async () => {
            const place = [...document.querySelectorAll('#runs thead th')].findIndex((heading) => heading.textContent === 'items/s');
            return document.querySelector('#runs tbody tr').children[place].textContent;
          }";
        let copy = root.path().join("copy");
        copy_tree(&run, &copy);
        let cell = browser::ask(&report(root.path(), &[&run, &copy]), cell);
        assert_eq!(cell.as_str().unwrap().replace(',', ""), shown);
        std::fs::remove_dir_all(copy).unwrap();
    }
}

#[test]
fn the_values_of_a_chart_are_those_of_the_curves_that_are_shown() {
    let root = tempfile::tempdir().unwrap();
    for run in ["r1", "r2"] {
        train(config(root.path(), 2).with_run_id(run)).unwrap();
    }
    let logs = root.path().join("burn_trainer_logs");
    let page = report(root.path(), &[&logs.join("r1"), &logs.join("r2")]);
    let answer = browser::ask(
        &page,
        "async () => {
           const values = document.querySelector('.chart details');
           values.open = true;
           values.dispatchEvent(new Event('toggle'));
           const shown = () => [...new Set([...values.querySelectorAll('tbody tr')].map((row) => row.firstChild.textContent.split(':')[0]))];
           const [all, box] = [shown(), document.querySelector('#runs input')];
           box.click();
           const one = shown();
           values.querySelector('thead button').click();
           const log = [...document.querySelectorAll('.controls label')].find((label) => label.textContent.includes('logarithmic')).querySelector('input');
           log.click();
           const sorted = values.querySelectorAll('thead [aria-sort]').length;
           values.open = false;
           box.click();
           values.open = true;
           values.dispatchEvent(new Event('toggle'));
           return { all, one, sorted, again: shown() };
         }",
    );
    assert_eq!((&answer["all"], &answer["one"]), (&json!(["r1", "r2"]), &json!(["r2"])), "{answer}");
    // What does not change the values does not change their order.
    assert_eq!((&answer["sorted"], &answer["again"]), (&json!(1), &json!(["r1", "r2"])), "{answer}");
}

#[test]
fn early_stopping_that_some_runs_do_not_have_is_one_column_as_of_the_verb_runs() {
    let root = tempfile::tempdir().unwrap();
    let stopping = EarlyStopping::new("val_loss").with_patience(7);
    train(config(root.path(), 1).with_run_id("r1")).unwrap();
    train(config(root.path(), 1).with_run_id("r2").with_early_stopping(stopping.clone())).unwrap();
    let logs = root.path().join("burn_trainer_logs");
    let shown = |runs: &[&str]| {
        let runs: Vec<_> = runs.iter().map(|run| logs.join(run)).collect();
        let runs: Vec<_> = runs.iter().map(|run| run.as_path()).collect();
        browser::ask(
            &report(root.path(), &runs),
            "async () => [...document.querySelectorAll('#runs tr')].map((row) => [...row.children].slice(7).map((cell) => cell.textContent))",
        )
    };
    let name = "trainer.early_stopping";
    assert_eq!(shown(&["r1", "r2"]), json!([[name], ["-"], ["val_loss, patience 7"]]));
    // Two that have it differ in a field of it.
    train(config(root.path(), 1).with_run_id("r3").with_early_stopping(stopping.with_min_delta(0.5)))
        .unwrap();
    assert_eq!(shown(&["r2", "r3"]), json!([["trainer.early_stopping.min_delta"], ["0"], ["0.5"]]));
    let third = "val_loss, patience 7, min_delta 0.5";
    assert_eq!(shown(&["r1", "r2", "r3"]), json!([[name], ["-"], ["val_loss, patience 7"], [third]]));
}
