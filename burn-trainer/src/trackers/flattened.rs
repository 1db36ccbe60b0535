//! Settings as names and values, as programs that show runs have them.

use serde_json::Value;

/// The values of an object, those of objects within it by names like `optimizer.beta_1`. A list is one value.
/// What is not an object is one value named `value`.
pub(super) fn flattened(value: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    match value {
        Value::Null => {}
        Value::Object(_) => collect("", value, &mut found),
        value => found.push(("value".to_owned(), value)),
    }
    found
}

/// A value as text: a string without quotes, and anything else as JSON.
pub(super) fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn collect<'a>(name: &str, value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (field, value) in fields {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                collect(&name, value, found);
            }
        }
        value => found.push((name.to_owned(), value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_within_fields_have_both_names() {
        let value = json!({"width": 64, "optimizer": {"lr": 0.1, "betas": [0.9, 0.99]}, "none": null});
        let names: Vec<_> =
            flattened(&value).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(names, ["width=64", "optimizer.lr=0.1", "optimizer.betas=[0.9,0.99]", "none=null"]);
        assert_eq!(flattened(&json!(3)), [("value".to_owned(), &json!(3))]);
        assert!(flattened(&Value::Null).is_empty());
    }
}
