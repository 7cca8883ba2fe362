//! Keys and kept values where they are written out: one stretch of bytes each, with its length before it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::sync::Arc;

/// Such a stretch.
pub struct Blob(pub Arc<[u8]>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&self.0)
    }
}

impl<'d> Deserialize<'d> for Blob {
    fn deserialize<D: Deserializer<'d>>(d: D) -> Result<Blob, D::Error> {
        d.deserialize_bytes(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, b: &[u8]) -> Result<Blob, E> {
        Ok(Blob(Arc::from(b)))
    }
}

/// The same, of bytes that stay where they are.
pub struct Stretch<'a>(pub &'a [u8]);

impl Serialize for Stretch<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(self.0)
    }
}

/// For a field.
pub fn serialize<S: Serializer>(b: &Arc<[u8]>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_bytes(b)
}

/// For a field.
pub fn deserialize<'d, D: Deserializer<'d>>(d: D) -> Result<Arc<[u8]>, D::Error> {
    Blob::deserialize(d).map(|b| b.0)
}

/// For a field that may be missing.
pub mod option {
    use super::*;

    /// For such a field.
    pub fn serialize<S: Serializer>(b: &Option<Arc<[u8]>>, s: S) -> Result<S::Ok, S::Error> {
        match b {
            Some(b) => s.serialize_some(&Stretch(b)),
            None => s.serialize_none(),
        }
    }

    /// For such a field.
    pub fn deserialize<'d, D: Deserializer<'d>>(d: D) -> Result<Option<Arc<[u8]>>, D::Error> {
        Option::<Blob>::deserialize(d).map(|b| b.map(|b| b.0))
    }
}
