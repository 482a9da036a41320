//! Bytes as text and back, ids made from records, shares by hash, and the type of a value.
//!
//! Comes in: bytes, texts, records. Goes out: what was made of them, or a fault. The ids are part of what is stored: the
//! same event gives the same id at every replay, and in every version.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha2::{Digest, Sha256};
use xxhash_rust::xxh64::xxh64;

use crate::value::Uuid;

use super::super::Fault;
use super::super::json;
use super::super::reach::text_of;
use super::super::val::Val;
use super::{Gives, Signature, Takes, unfit};

/// Reads base64 with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) const ALL: &[Signature] = &[
    signature!("base64.encode", [Bytes], Text, "base64.encode(bytes)", |args, text| match &args[0] {
        Val::Bytes(bytes) => Ok(Val::Text(Cow::Owned(STANDARD.encode(bytes)))),
        other => unfit(text, other, "bytes"),
    }),
    signature!("base64.decode", [Text], Bytes, "base64.decode(text)", |args, text| {
        let decoded = text_of(&args[0]).and_then(|found| LENIENT.decode(&*found).ok());
        match decoded {
            Some(bytes) => Ok(Val::Bytes(Cow::Owned(bytes))),
            None => unfit(text, &args[0], "base64 text"),
        }
    }),
    signature!("uuid", [Record], Uuid, "uuid(record)", |args, text| id(args, text, "")),
    signature!("uuid", [Record, Text], Uuid, "uuid(record, 'name')", |args, text| {
        match text_of(&args[1]) {
            Some(name) => id(args, text, &name),
            None => unfit("the name of the id", &args[1], "a string"),
        }
    }),
    signature!("hash", [Text, Int], Int, "hash(text, shares)", |args, text| {
        let (Some(found), Val::Int(shares)) = (text_of(&args[0]), &args[1]) else {
            return unfit(text, &args[0], "a string");
        };
        match u64::try_from(*shares).ok().and_then(|shares| xxh64(found.as_bytes(), 0).checked_rem(shares)) {
            Some(share) => Ok(Val::Int(i64::try_from(share).expect("a share is below a positive integer"))),
            None => Err(Fault(format!("{text} cannot be divided into {shares} shares"))),
        }
    }),
    signature!("type", [Any], Type, "type(x)", |args, _| Ok(Val::Type(type_of(&args[0])))),
];

fn id<'v>(args: &[Val<'v>], text: &str, name: &str) -> Result<Val<'v>, Fault> {
    match &args[0] {
        // Before its event is read, a record has its position alone.
        Val::Json(record) => {
            match json::field(record, "id").or(json::field(record, "position")).and_then(json::text) {
                Some(id) => Ok(Val::Uuid(id_of(id, name))),
                None => unfit(text, &args[0], "`record`"),
            }
        }
        other => unfit(text, other, "`record`"),
    }
}

/// A UUID of version 8: the front of the SHA-256 of the event's id (`topic:partition@offset`, and the part of a record that
/// was split), and of a line break and the name where there is one.
fn id_of(id: &str, name: &str) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(id);
    if !name.is_empty() {
        hash.update("\n");
        hash.update(name);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid::from_bytes(bytes)
}

/// The name of a value's type.
fn type_of(value: &Val<'_>) -> &'static str {
    match value {
        Val::Null => "null_type",
        Val::Nothing => "optional_type",
        Val::Bool(_) => "bool",
        Val::Int(_) => "int",
        Val::Uint(_) => "uint",
        Val::Float(_) => "double",
        Val::Decimal(_) => "decimal",
        Val::Text(_) => "string",
        Val::Bytes(_) => "bytes",
        Val::Timestamp(_) => "google.protobuf.Timestamp",
        Val::Duration(_) => "google.protobuf.Duration",
        Val::Date(_) => "date",
        Val::Time(_) => "time",
        Val::Uuid(_) => "uuid",
        Val::Json(json) => type_of_json(json),
        Val::Record(_) | Val::Money(_) | Val::Map(_) | Val::Pairs(_) => "map",
        Val::Cells(_) | Val::List(_) => "list",
        Val::Type(_) => "type",
    }
}

fn type_of_json(found: &crate::event::Json) -> &'static str {
    match (json::text(found), json::array(found), json::integer(found), json::bool(found)) {
        (Some(_), ..) => "string",
        (_, Some(_), ..) => "list",
        (_, _, Some(_), _) => "int",
        (.., Some(_)) => "bool",
        _ if json::is_object(found) => "map",
        _ if json::is_null(found) => "null_type",
        _ => "decimal",
    }
}
