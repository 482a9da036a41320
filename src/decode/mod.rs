//! Bytes of a record → the JSON object of an event, or a [`Reject`].
//!
//! Comes in: the value of a record; its size is bounded by whoever reads the log. Goes out: a [`Json`] object
//! whose numbers keep their text. What the object means is not known here.

mod record;

use sonic_rs::JsonValueTrait;

pub use record::{metadata, of_event};

use crate::event::{Json, Reject, Stage};

/// Deepest nesting of objects and lists in an event.
pub const DEPTH_MAX: usize = 64;

/// Reads a record's value as one JSON object.
///
/// # Errors
/// Bytes that are not UTF-8 or not JSON, with the byte; a value that is not an object; nesting deeper than
/// [`DEPTH_MAX`].
pub fn json(bytes: &[u8]) -> Result<Json, Reject> {
    if too_deep(bytes) {
        return Err(reject(format!("the event nests deeper than {DEPTH_MAX}")));
    }
    let body: Json = sonic_rs::from_slice(bytes).map_err(|error| not_json(bytes, &error))?;
    if !body.is_object() {
        return Err(reject(format!("an event is a JSON object, this is {}", describe(&body))));
    }
    Ok(body)
}

fn reject(reason: impl Into<String>) -> Reject {
    Reject::new(Stage::Decode, reason)
}

fn not_json(bytes: &[u8], error: &sonic_rs::Error) -> Reject {
    if bytes.is_empty() {
        return reject("the event is empty, and not JSON");
    }
    if let Err(error) = std::str::from_utf8(bytes) {
        return reject(format!("the event is not UTF-8 at byte {}", error.valid_up_to()));
    }
    let what = match error.is_eof() || error.offset() >= bytes.len() {
        true => "it ends too early".to_owned(),
        false => {
            let text = error.to_string();
            let sentence = text.split(" at line").next().unwrap_or(&text).trim();
            sentence.trim_end_matches('.').trim_end_matches(" while parsing").to_owned()
        }
    };
    reject(format!("the event is not JSON at byte {}: {what}", error.offset().min(bytes.len())))
}

fn describe(body: &Json) -> &'static str {
    if body.is_null() {
        "null"
    } else if body.is_array() {
        "a list"
    } else if body.is_str() {
        "a string"
    } else if body.is_boolean() {
        "a boolean"
    } else {
        "a number"
    }
}

/// Whether objects and lists nest deeper than the bound. Counting brackets first keeps the usual event cheap.
fn too_deep(bytes: &[u8]) -> bool {
    // `[` and `{` differ in one bit. Short pieces, whose counts fit a byte, are counted many bytes at a time.
    let opening = |piece: &[u8]| piece.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    if bytes.chunks(128).map(|piece| usize::from(opening(piece))).sum::<usize>() <= DEPTH_MAX {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for &byte in bytes {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_text = false,
            (true, _) => {}
            (false, b'"') => in_text = true,
            (false, b'{' | b'[') => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return true;
                }
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            (false, _) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spoil;

    fn reason(bytes: &[u8]) -> String {
        json(bytes).expect_err("it is rejected").to_string()
    }

    #[test]
    fn an_object_is_an_event_and_its_numbers_keep_their_text() {
        let body = json(br#"{"a": 12.50, "b": [1, {"c": null}]}"#).expect("an event");
        assert_eq!(body["a"].as_raw_number().expect("a number").as_str(), "12.50");
    }

    #[test]
    fn what_is_not_an_object_is_rejected_with_what_it_is() {
        assert_eq!(reason(b""), "decode: the event is empty, and not JSON");
        assert_eq!(reason(b"[1]"), "decode: an event is a JSON object, this is a list");
        assert_eq!(reason(b"null"), "decode: an event is a JSON object, this is null");
        assert_eq!(reason(b"\"x\""), "decode: an event is a JSON object, this is a string");
        assert_eq!(reason(b"12"), "decode: an event is a JSON object, this is a number");
        assert_eq!(reason(b"true"), "decode: an event is a JSON object, this is a boolean");
    }

    #[test]
    fn broken_bytes_are_rejected_with_the_byte() {
        assert_eq!(reason(b"{\"a\": \"\xff\"}"), "decode: the event is not UTF-8 at byte 7");
        assert!(
            reason(b"hello").starts_with("decode: the event is not JSON at byte "),
            "{}",
            reason(b"hello")
        );
        assert!(reason(b"{\"a\": 1").contains("it ends too early"), "{}", reason(b"{\"a\": 1"));
        assert!(
            reason(b"{} {}").starts_with("decode: the event is not JSON at byte "),
            "{}",
            reason(b"{} {}")
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1)).into_bytes()
        };
        assert!(json(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(
            reason(&nested(DEPTH_MAX + 1)),
            format!("decode: the event nests deeper than {DEPTH_MAX}")
        );
        let in_text = format!("{{\"a\":\"{}\\\"[\"}}", "[{".repeat(DEPTH_MAX));
        assert!(json(in_text.as_bytes()).is_ok());
        assert!(json("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn no_bytes_of_an_event_make_it_panic() {
        let cases = [
            include_str!("../../projections/carts.cases.yaml"),
            r#"{"type":"A","v":1,"n":-1.5e3,"l":[{"a":"\u00e9\ud83d\ude00"},null,true]}"#,
        ];
        spoil::never_panics(&cases, |text| {
            let _ = json(text.as_bytes());
        });
        spoil::on_a_usual_stack(|| {
            let pieces = ["[", "{", "{\"a\":", "\"", "\\", "]", "}", ",", ":", "1", "-", " "];
            for (before, after) in [("", ""), ("{\"a\":", "}"), ("{\"a\":\"", "\"}")] {
                for text in spoil::nested(&pieces, 100_000, before, after) {
                    let _ = json(text.as_bytes());
                }
            }
        });
    }
}
