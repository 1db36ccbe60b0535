//! What the table of epochs keeps, in blocks and as JSON.

use super::*;

fn values<const N: usize>(values: [(&str, f64); N]) -> EpochValues {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[test]
fn epochs_come_back_as_they_were_written() {
    let mut table = EpochTable::default();
    table.push(values([("train_loss", 0.1), ("val_loss", f64::NAN)]));
    table.push(values([]));
    table.push(values([("val_loss", 3.0), ("train_loss", f64::NEG_INFINITY)]));
    let text = serde_json::to_string(&table).unwrap();
    assert_eq!(text, r#"[{"train_loss":0.1,"val_loss":"NaN"},{},{"val_loss":3.0,"train_loss":"-inf"}]"#);
    let back: EpochTable = serde_json::from_str(&text).unwrap();
    assert_eq!(back.len(), 3);
    assert_eq!(back.value("train_loss", 0), Some(0.1));
    assert_eq!((back.value("train_loss", 1), back.value("train_loss", 3)), (None, None));
    assert_eq!(back.value("train_loss", 2), Some(f64::NEG_INFINITY));
    assert_eq!((back.value("val_loss", 2), back.value("other", 2)), (Some(3.0), None));
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
    assert_eq!(back.to_json(2, "val_loss").unwrap(), r#"{"val_loss":3,"train_loss":"-inf"}"#);
    assert_eq!((back.to_json(1, "step").as_deref(), back.to_json(3, "step")), (Some("{}"), None));
}

#[test]
fn a_table_can_be_cut_off_and_continued() {
    let mut table = EpochTable::default();
    (0..4).for_each(|epoch| table.push(values([("a", f64::from(epoch))])));
    table.set_len(2);
    table.set_len(3);
    table.push(values([("a", 9.0)]));
    let seen: Vec<_> = (0..5).map(|epoch| table.value("a", epoch)).collect();
    assert_eq!(seen, [Some(0.0), Some(1.0), None, Some(9.0), None]);
}

#[test]
fn a_long_table_is_in_blocks_that_copies_share() {
    let of = |epoch: usize| values([("step", epoch as f64), ("train_loss", 1.0 / epoch as f64)]);
    let mut table = EpochTable::default();
    (0..3 * BLOCK + 5).for_each(|epoch| table.push(of(epoch)));
    let copy = table.clone();
    assert!(table.full.iter().zip(&copy.full).all(|(one, other)| Arc::ptr_eq(one, other)));
    let (names, blocks) = (table.names(), table.blocks_from(0));
    assert_eq!(blocks.iter().map(|(epochs, _)| *epochs).collect::<Vec<_>>(), [BLOCK, BLOCK, BLOCK, 5]);
    let mut back = EpochTable::with_names(names, 0).unwrap();
    blocks.iter().for_each(|(epochs, block)| back.add_block(block, *epochs).unwrap());
    assert_eq!((&back, back.len()), (&table, 3 * BLOCK + 5));
    assert!(back.add_block(&blocks[0].1, BLOCK).is_err(), "after one that is not full");
    for len in [3 * BLOCK, 2 * BLOCK + 7, 2 * BLOCK, 9, 0] {
        back.set_len(len);
        assert_eq!(back.len(), len);
        let mut again = back.clone();
        (len..3 * BLOCK + 5).for_each(|epoch| again.push(of(epoch)));
        assert_eq!(again, table, "{len}");
        assert_eq!(again.values_of(7), of(7));
    }
    assert_eq!(table.value("step", 2 * BLOCK), Some(2.0 * BLOCK as f64));
}

#[test]
fn more_metrics_than_allowed_are_an_error() {
    let read = |json: &str| serde_json::from_str::<EpochTable>(json);
    let named = |from: usize, count: usize| {
        let members: Vec<String> = (from..from + count).map(|name| format!("\"{name}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(read(&format!("[{}]", named(0, MAX_METRICS))).is_ok());
    for text in [
        named(0, MAX_METRICS + 1),
        format!("{},{}", named(0, MAX_METRICS), named(MAX_METRICS, 1)),
        format!("{{{}\"a\":0}}", "\"a\":0,".repeat(MAX_METRICS)),
    ] {
        let error = read(&format!("[{text}]")).unwrap_err();
        assert!(error.to_string().contains("10000 at most"), "{error}");
    }
}
