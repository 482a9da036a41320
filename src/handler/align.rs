//! Finds where the parts of a folded or escaped scalar stand in the file.
//!
//! Comes in: what stands in the file, and the text that YAML reads in it. Goes out: for each byte of the text its place in
//! the file. Blanks are not looked for: folding makes and takes them. A text with escapes that stand for other letters
//! has no places.

/// For each byte of `text`, and for its end, how many bytes of `written` stand before it; `None` where a part of the
/// text is not written so.
pub fn aligned(written: &str, text: &str) -> Option<Vec<u32>> {
    let mut places = Vec::with_capacity(text.len() + 1);
    let mut rest = written.char_indices();
    let mut end = 0;
    for letter in text.chars() {
        if !letter.is_whitespace() {
            let (at, _) = rest.by_ref().find(|(_, written)| *written == letter)?;
            end = at;
        }
        let place = u32::try_from(end).ok()?;
        places.extend((0..).take(letter.len_utf8()).map(|byte| match letter.is_whitespace() {
            true => place,
            false => place + byte,
        }));
        if !letter.is_whitespace() {
            end += letter.len_utf8();
        }
    }
    places.push(u32::try_from(end).ok()?);
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in the file where a part of the text does.
    fn stands(written: &str, text: &str, part: &str) -> Option<String> {
        let places = aligned(written, text)?;
        let start = text.find(part).expect("the part is in the text");
        let (first, last) = (places[start] as usize, places[start + part.len()] as usize);
        Some(written[first..last].to_owned())
    }

    #[test]
    fn parts_are_found_in_folded_and_quoted_text() {
        assert_eq!(
            stands("|\n    event.a +\n    evnt.b\n", "event.a +\nevnt.b\n", "evnt").as_deref(),
            Some("evnt")
        );
        assert_eq!(stands(">-\n  a +\n  é.b", "a + é.b", "é.b").as_deref(), Some("é.b"));
        assert_eq!(stands("'x == ''a'' + b'", "x == 'a' + b", "b").as_deref(), Some("b"));
        assert_eq!(stands("\"a == \\\"x\\\" + c\"", "a == \"x\" + c", "c").as_deref(), Some("c"));
        assert_eq!(stands("\"\\u0061.b\"", "a.c", "a"), None);
        assert_eq!(aligned("", ""), Some(vec![0]));
    }
}
