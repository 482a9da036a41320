//! `@column(type: "vector<float, 384>")`: lists of as many numbers in every row, by which rows are near to each other.
//!
//! Comes in: a field, and the type's text. Goes out: how many numbers it has, or what is wrong. Indexes of vectors are
//! `index`'s.

use super::bind::FieldDraft;
use super::columns::Text;
use super::{FieldType, Named, Scalar};
use crate::diagnostic::Diagnostic;

/// Most numbers of a vector, as Cassandra takes them.
pub const DIMENSIONS_MAX: u32 = 8_192;

/// A column of `vector<float, n>`: stored as a list of [`Scalar::Float32`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector {
    /// How many numbers each value has.
    pub dimensions: u32,
    /// Whether a value needs a direction, and so a number that is not 0: an index compares the angles.
    pub has_direction: bool,
}

/// By what an index of `ANN` says which of two vectors is nearer to a third.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Similarity {
    /// The smaller angle.
    Cosine,
    /// The greater product.
    DotProduct,
    /// The smaller distance.
    Euclidean,
}

impl Similarity {
    /// The word of `@index(similarity:)`, which is also Cassandra's.
    pub fn word(self) -> &'static str {
        match self {
            Similarity::Cosine => "COSINE",
            Similarity::DotProduct => "DOT_PRODUCT",
            Similarity::Euclidean => "EUCLIDEAN",
        }
    }

    /// What a word stands for; `COSINE` for any other.
    pub(super) fn of(word: &str) -> Similarity {
        let others = [Similarity::DotProduct, Similarity::Euclidean];
        others.into_iter().find(|found| found.word() == word).unwrap_or(Similarity::Cosine)
    }
}

/// Whether a type's text means a vector, right or wrong.
pub(super) fn is_meant(text: &str) -> bool {
    let name = text.split('<').next().unwrap_or(text);
    name.trim().eq_ignore_ascii_case("vector")
}

/// The vector that a field is.
///
/// # Errors
/// The text is not `vector<float, n>`, or the field no list of numbers.
pub(super) fn typed(field: &FieldDraft<'_>, text: &Text) -> Result<Vector, Box<Diagnostic>> {
    let Some(dimensions) = dimensions(&text.value) else {
        let message = format!("`{}` is not a type of vectors", text.value);
        return Err(Diagnostic::error("S013", text.span, message)
            .label("not `vector<float, n>`")
            .help(format!(
                "Write `vector<float, 384>`: numbers of 32 bits, from 1 to {DIMENSIONS_MAX} of them."
            ))
            .into());
    };
    let is_number = |of: &FieldType| {
        matches!(of, FieldType::Named { name: Named::Scalar(Scalar::Float | Scalar::Float32), .. })
    };
    match &field.ty {
        Some(FieldType::List { of, .. }) if !is_number(of) => {}
        Some(FieldType::Named { .. }) => {}
        _ => return Ok(Vector { dimensions, has_direction: false }),
    }
    let name = &field.node.name;
    let message = format!("`{name}` is `{}`, which is no vector", field.node.ty);
    let help = format!("Write `{name}: [Float!]`.");
    Err(Diagnostic::error("S044", text.span, message).label("not a list of numbers").help(help).into())
}

fn dimensions(text: &str) -> Option<u32> {
    let (name, rest) = text.split_once('<')?;
    let (of, count) = rest.trim_end().strip_suffix('>')?.split_once(',')?;
    let is_of = name.trim().eq_ignore_ascii_case("vector") && of.trim().eq_ignore_ascii_case("float");
    let count = count.trim();
    let is_plain = count.bytes().all(|digit| digit.is_ascii_digit());
    count.parse().ok().filter(|count| is_of && is_plain && (1..=DIMENSIONS_MAX).contains(count))
}
