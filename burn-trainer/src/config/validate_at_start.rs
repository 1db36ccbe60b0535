//! Whether a run validates before its first step.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whether a new run validates before its first optimizer step. In JSON `false` (the default), `true`, or a
/// number of batches (`2`).
///
/// ```
/// use burn_trainer::TrainerConfig;
/// use burn_trainer::config::ValidateAtStart;
///
/// let config = TrainerConfig::new().with_validate_at_start(ValidateAtStart::Batches(2));
/// let same: TrainerConfig = serde_json::from_str(r#"{"validate_at_start": 2}"#)?;
/// assert_eq!(config, same);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValidateAtStart {
    /// It does not. The default.
    #[default]
    Off,
    /// It validates as after a step: the untrained state, or that of `init_from`, can be the best one.
    Whole,
    /// It tries the validation on this number of batches, so that a mistake shows before the training. The
    /// numbers are not kept, and callbacks are not called.
    Batches(u64),
}

impl Serialize for ValidateAtStart {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => to.serialize_bool(false),
            Self::Whole => to.serialize_bool(true),
            Self::Batches(batches) => to.serialize_u64(*batches),
        }
    }
}

impl<'de> Deserialize<'de> for ValidateAtStart {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Given;
        impl Visitor<'_> for Given {
            type Value = ValidateAtStart;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false or a number of batches")
            }

            fn visit_bool<E>(self, is_on: bool) -> Result<ValidateAtStart, E> {
                Ok(if is_on { ValidateAtStart::Whole } else { ValidateAtStart::Off })
            }

            fn visit_u64<E>(self, batches: u64) -> Result<ValidateAtStart, E> {
                Ok(ValidateAtStart::Batches(batches))
            }

            fn visit_i64<E: Error>(self, batches: i64) -> Result<ValidateAtStart, E> {
                let batches = u64::try_from(batches);
                batches
                    .map(ValidateAtStart::Batches)
                    .map_err(|_| E::custom("a number of batches is not negative"))
            }
        }
        from.deserialize_any(Given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_switch_or_a_number() {
        let read = |json: &str| serde_json::from_str::<ValidateAtStart>(json);
        for (json, expected) in [
            ("false", ValidateAtStart::Off),
            ("true", ValidateAtStart::Whole),
            ("2", ValidateAtStart::Batches(2)),
        ] {
            assert_eq!(read(json).unwrap(), expected);
            assert_eq!(serde_json::to_string(&expected).unwrap(), json);
        }
        for wrong in ["-1", "0.5", "\"all\"", "null"] {
            assert!(read(wrong).unwrap_err().to_string().contains("number of batches"), "{wrong}");
        }
    }
}
