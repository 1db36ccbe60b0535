//! What a type serializes to, with all that JSON loses: numbers that are not finite, and `Some` of nothing.

/// A serialized value. Deserializing it gives what was serialized; replacing a part of it changes that part
/// alone.
#[derive(Debug, Clone)]
pub enum SerializedValue {
    /// A unit, which JSON writes as null.
    Null,
    /// An absent option, which JSON writes as null.
    None,
    /// A present option, which JSON writes as its value.
    Some(Box<Self>),
    /// A truth value.
    Bool(bool),
    /// Every integer but the largest.
    Int(i128),
    /// An integer that is larger.
    Large(u128),
    /// A number of any float type.
    Float(f64),
    /// A text, or the name of a variant.
    Str(String),
    /// Bytes, which JSON writes as a list.
    Bytes(Vec<u8>),
    /// A list.
    Seq(Vec<Self>),
    /// A struct, a map, or a variant with its contents, in the order written.
    Map(Vec<(Self, Self)>),
    /// What no type accepts. It stands for a field whose type is to be found out.
    Unreadable,
}

impl SerializedValue {
    /// The value without options around it.
    pub fn inner(&self) -> &Self {
        match self {
            Self::Some(value) => value.inner(),
            value => value,
        }
    }

    /// The parts of a list or map with their names, in order.
    pub fn parts(&self) -> Vec<(String, &Self)> {
        match self.inner() {
            Self::Seq(items) => {
                items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
            }
            Self::Map(entries) => entries.iter().map(|(key, value)| (key.key_text(), value)).collect(),
            _ => Vec::new(),
        }
    }

    /// The place of a dotted key (`strategies.0.topk`), if there is one.
    pub fn find_mut(&mut self, key: &str) -> Option<&mut Self> {
        let below = |name: &str| match key.strip_prefix(name) {
            Some("") => Some(""),
            Some(rest) => rest.strip_prefix('.'),
            None => None,
        };
        let (place, rest) = match self {
            Self::Some(value) => return value.find_mut(key),
            Self::Seq(items) => items
                .iter_mut()
                .enumerate()
                .find_map(|(index, item)| Some((item, below(&index.to_string())?)))?,
            Self::Map(entries) => {
                entries.iter_mut().find_map(|(name, value)| Some((value, below(&name.key_text())?)))?
            }
            _ => return None,
        };
        if rest.is_empty() { Some(place) } else { place.find_mut(rest) }
    }

    /// The same with another value at the place of a dotted key, which may be missing in a map that is there.
    pub fn with(&self, key: &str, value: Self) -> Option<Self> {
        let mut changed = self.clone();
        if let Some(place) = changed.find_mut(key) {
            *place = value;
            return Some(changed);
        }
        let (map, name) = match key.rsplit_once('.') {
            Some((map, name)) => (changed.find_mut(map)?, name),
            None => (&mut changed, key),
        };
        let Self::Map(entries) = map.inner_mut() else { return None };
        entries.push((Self::Str(name.to_owned()), value));
        Some(changed)
    }

    /// The value at the place of a dotted key.
    pub fn find(&self, key: &str) -> Option<Self> {
        self.clone().find_mut(key).cloned()
    }

    /// The first part that does not come back from JSON, by its dotted key, and what it is.
    pub fn lost_in_json(&self) -> Option<(String, String)> {
        let lost = match self {
            Self::Float(number) if !number.is_finite() => Some(number.to_string()),
            // It would come back as `None`.
            Self::Some(value) if matches!(**value, Self::Null | Self::None) => {
                Some("Some of nothing".to_owned())
            }
            Self::Some(value) => return value.lost_in_json(),
            _ => None,
        };
        if let Some(lost) = lost {
            return Some((String::new(), lost));
        }
        self.parts().into_iter().find_map(|(name, part)| {
            let (rest, lost) = part.lost_in_json()?;
            Some((if rest.is_empty() { name } else { format!("{name}.{rest}") }, lost))
        })
    }

    /// The text of a map's key.
    fn key_text(&self) -> String {
        match self.inner() {
            Self::Str(text) => text.clone(),
            Self::Bool(key) => key.to_string(),
            Self::Int(key) => key.to_string(),
            Self::Large(key) => key.to_string(),
            Self::Float(key) => key.to_string(),
            _ => String::new(),
        }
    }

    fn inner_mut(&mut self) -> &mut Self {
        match self {
            Self::Some(value) => value.inner_mut(),
            value => value,
        }
    }
}
