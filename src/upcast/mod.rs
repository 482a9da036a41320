//! An event of an old version → today's.
//!
//! Comes in: a JSON object, its type and version, and the [`Chain`] that a projection declares. Goes out: the same
//! object changed in place and its new version, or a [`Reject`]. Only plain values take part, no expressions.

use sonic_rs::JsonValueMutTrait;

use crate::event::{Json, Reject, Stage};

/// The steps from the oldest known version of an event type to the newest.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Version that the first step takes to the next.
    first: i64,
    steps: Vec<Upcast>,
}

/// One step: what differs between a version and the next. Renames come first, then drops, then defaults.
#[derive(Clone, Debug, Default)]
pub struct Upcast {
    /// Old and new name of a field. A field that is not there is no fault.
    pub rename: Vec<(Box<str>, Box<str>)>,
    /// A field and the value that it gets where it is missing.
    pub default: Vec<(Box<str>, Json)>,
    pub drop: Vec<Box<str>>,
}

/// A plain value from JSON text.
///
/// # Errors
/// Text that is not JSON, with the reason.
pub fn plain(json: &str) -> Result<Json, String> {
    sonic_rs::from_str(json).map_err(|error| error.to_string())
}

impl Chain {
    /// A chain of steps, each with the version that it starts from, without a gap.
    pub fn new(steps: Vec<(i64, Upcast)>) -> Chain {
        let first = steps.first().map_or(1, |(version, _)| *version);
        Chain { first, steps: steps.into_iter().map(|(_, step)| step).collect() }
    }

    /// The oldest version that it takes.
    pub fn oldest(&self) -> i64 {
        self.first
    }

    /// The version that it leads to.
    pub fn newest(&self) -> i64 {
        self.first.saturating_add(i64::try_from(self.steps.len()).unwrap_or(i64::MAX))
    }

    /// Brings an event of a version up to the newest, and says which that is.
    ///
    /// # Errors
    /// A version older than the first step; a rename onto a field that is there.
    pub fn apply(&self, type_name: &str, version: i64, body: &mut Json) -> Result<i64, Reject> {
        if version < self.first {
            return Err(too_old(type_name, version, self.first));
        }
        let skipped = usize::try_from(version - self.first).unwrap_or(usize::MAX);
        for step in self.steps.iter().skip(skipped) {
            step.apply(type_name, body)?;
        }
        Ok(self.newest().max(version))
    }
}

/// The reject of a version that no step starts from.
pub fn too_old(type_name: &str, version: i64, oldest: i64) -> Reject {
    Reject::new(
        Stage::Upcast,
        format!("version {version} of {type_name} is older than {oldest}, the oldest version that is known"),
    )
}

impl Upcast {
    fn apply(&self, type_name: &str, body: &mut Json) -> Result<(), Reject> {
        let Some(object) = body.as_object_mut() else { return Ok(()) };
        for (old, new) in &self.rename {
            let Some(value) = object.remove(old) else { continue };
            if object.contains_key(new) {
                let reason = format!("{type_name} has both `{old}` and `{new}`, which is its new name");
                return Err(Reject::new(Stage::Upcast, reason));
            }
            object.insert(new, value);
        }
        for field in &self.drop {
            object.remove(field);
        }
        for (field, value) in &self.default {
            if !object.contains_key(field) {
                object.insert(field, value.clone());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        let rename = Upcast {
            rename: vec![("customer".into(), "customerId".into())],
            default: vec![("currency".into(), plain("\"EUR\"").expect("JSON"))],
            drop: Vec::new(),
        };
        let drop = Upcast { drop: vec!["note".into()], ..Upcast::default() };
        Chain::new(vec![(0, rename), (1, drop)])
    }

    fn upcast(version: i64, body: &str) -> Result<(i64, Json), String> {
        let mut body = plain(body).expect("JSON");
        let version =
            chain().apply("OrderPlaced", version, &mut body).map_err(|reject| reject.to_string())?;
        Ok((version, body))
    }

    #[test]
    fn each_version_is_brought_to_the_newest() {
        let (version, body) = upcast(0, r#"{"customer":"u1","note":"x"}"#).expect("it is known");
        assert_eq!((version, body), (2, plain(r#"{"customerId":"u1","currency":"EUR"}"#).expect("JSON")));
        let (version, body) = upcast(1, r#"{"customer":"u1","note":"x"}"#).expect("it is known");
        assert_eq!((version, body), (2, plain(r#"{"customer":"u1"}"#).expect("JSON")));
        let (version, body) = upcast(2, r#"{"note":"x"}"#).expect("it is known");
        assert_eq!((version, body), (2, plain(r#"{"note":"x"}"#).expect("JSON")));
    }

    #[test]
    fn a_default_leaves_what_is_there_even_null() {
        let (_, body) = upcast(0, r#"{"currency":null}"#).expect("it is known");
        assert_eq!(body, plain(r#"{"currency":null}"#).expect("JSON"));
    }

    #[test]
    fn what_cannot_be_upcast_says_why() {
        assert_eq!(
            upcast(-1, "{}"),
            Err("upcast: version -1 of OrderPlaced is older than 0, the oldest version that is known"
                .to_owned())
        );
        assert_eq!(
            upcast(0, r#"{"customer":"u1","customerId":"u2"}"#),
            Err("upcast: OrderPlaced has both `customer` and `customerId`, which is its new name".to_owned())
        );
    }
}
