//! Changes of JSON, and of the CBOR of a checkpoint's header.

use ciborium::Value as Cbor;
use serde_json::{Value as Json, json};

use crate::random::SplitMix64;

/// How often a walk goes one level deeper.
const DEEPER: u64 = 5;

fn one_of<T: Clone>(random: &mut SplitMix64, values: &[T]) -> T {
    values[random.below(values.len() as u64) as usize].clone()
}

fn json_leaf(random: &mut SplitMix64) -> Json {
    let nested = (0..90).fold(json!(1), |inner, _| json!([inner]));
    one_of(
        random,
        &[
            json!(null),
            json!(""),
            json!("x"),
            json!("NaN"),
            json!(-1),
            json!(0),
            json!(1.5),
            json!(1e308),
            json!(u64::MAX),
            json!(i64::MIN),
            json!([]),
            json!({}),
            json!({ "": 1 }),
            json!(true),
            json!("\u{1b}[2J\r"),
            json!("../../x"),
            json!("a".repeat(100_000)),
            json!(vec![0; 1000]),
            nested,
        ],
    )
}

/// Changes JSON in one place.
pub(super) fn mutate_json(random: &mut SplitMix64, value: &mut Json) {
    let children = match &*value {
        Json::Object(map) => map.len(),
        Json::Array(list) => list.len(),
        _ => 0,
    };
    if children == 0 || random.below(DEEPER) == 0 {
        *value = json_leaf(random);
        return;
    }
    let index = random.below(children as u64) as usize;
    let change = random.below(12);
    match value {
        Json::Array(list) => match change {
            0 => drop(list.remove(index)),
            1 => list.insert(index, list[index].clone()),
            2 => list.extend(vec![list[index].clone(); 200]),
            _ => mutate_json(random, &mut list[index]),
        },
        Json::Object(map) => {
            let Some(key) = map.keys().nth(index).cloned() else { return };
            match change {
                0 => drop(map.remove(&key)),
                1 => {
                    let old = map.remove(&key).unwrap_or_default();
                    let new = one_of(random, &[String::new(), "\u{1b}[2J".to_owned(), format!("{key}x")]);
                    map.insert(new, old);
                }
                2 => drop(map.insert("n".repeat(1 << random.below(15)), json_leaf(random))),
                _ => map.values_mut().nth(index).into_iter().for_each(|child| mutate_json(random, child)),
            }
        }
        _ => {}
    }
}

fn cbor_leaf(random: &mut SplitMix64) -> Cbor {
    let nested = (0..40).fold(Cbor::Null, |inner, _| Cbor::Array(vec![inner]));
    let text = |text: &str| Cbor::Text(text.to_owned());
    one_of(
        random,
        &[
            Cbor::Null,
            Cbor::Bool(true),
            Cbor::Float(f64::NAN),
            Cbor::from(0_u64),
            Cbor::from(1_u64),
            Cbor::from(u64::MAX),
            Cbor::from(i64::MIN),
            Cbor::from(1_u64 << 40),
            Cbor::Array(vec![]),
            Cbor::Array(vec![Cbor::from(1_u64); 40]),
            Cbor::Array(vec![Cbor::from(0_u64), Cbor::from(u64::MAX)]),
            Cbor::Map(vec![]),
            Cbor::Bytes(vec![0xff; 9]),
            text(""),
            text("I64"),
            text("BF16"),
            text("None"),
            text("{"),
            text("\u{1b}[2J"),
            Cbor::Text("n".repeat(5000)),
            nested,
        ],
    )
}

/// Changes CBOR in one place. JSON in a text is changed as JSON.
pub(super) fn mutate_cbor(random: &mut SplitMix64, value: &mut Cbor) {
    let change = random.below(12);
    match value {
        Cbor::Text(text) if text.starts_with(['{', '[']) && change > 0 => {
            if let Ok(mut inner) = serde_json::from_str(text) {
                mutate_json(random, &mut inner);
                *text = inner.to_string();
            }
        }
        Cbor::Array(list) if !list.is_empty() && change > 1 => {
            let index = random.below(list.len() as u64) as usize;
            match change {
                2 => drop(list.remove(index)),
                3 => list.insert(index, list[index].clone()),
                _ => mutate_cbor(random, &mut list[index]),
            }
        }
        Cbor::Map(map) if !map.is_empty() && change > 0 => {
            let index = random.below(map.len() as u64) as usize;
            let other = map[random.below(map.len() as u64) as usize].clone();
            match change {
                1 => drop(map.remove(index)),
                2 => map[index].0 = other.0,
                3 => map[index].1 = other.1,
                4 => mutate_cbor(random, &mut map[index].0),
                _ => mutate_cbor(random, &mut map[index].1),
            }
        }
        _ => *value = cbor_leaf(random),
    }
}
