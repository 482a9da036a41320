//! Content types: what a client sends and what it would take. Pure: header text comes in, a decision goes out.

/// What an answer of GraphQL is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `application/graphql-response+json`: the status says what became of the request.
    Response,
    /// `application/json`: a well-formed request has status 200 whatever became of it.
    Json,
    /// `text/html`: a person in a browser.
    Page,
}

impl Wanted {
    /// The header `content-type`.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Wanted::Response => "application/graphql-response+json; charset=utf-8",
            Wanted::Json => "application/json; charset=utf-8",
            Wanted::Page => "text/html; charset=utf-8",
        }
    }
}

/// Chooses by `accept`: the highest weight, at equal weight the more exact range, then the first written.
/// No header and `*/*` mean JSON. `None`: nothing that we have is acceptable.
pub(super) fn wanted(accept: Option<&str>) -> Option<Wanted> {
    let Some(accept) = accept.filter(|text| !text.trim().is_empty()) else { return Some(Wanted::Json) };
    let mut best: Option<(u32, u8, Wanted)> = None;
    for range in accept.split(',') {
        let Some((found, exact)) = known(range.split(';').next().unwrap_or("").trim()) else { continue };
        let weight = weight(range);
        if weight > 0 && best.is_none_or(|(high, exactness, _)| (weight, exact) > (high, exactness)) {
            best = Some((weight, exact, found));
        }
    }
    best.map(|(_, _, found)| found)
}

/// What a media range means here, and how exact it is.
fn known(range: &str) -> Option<(Wanted, u8)> {
    match range.to_ascii_lowercase().as_str() {
        "application/graphql-response+json" => Some((Wanted::Response, 2)),
        "application/json" => Some((Wanted::Json, 2)),
        "text/html" | "application/xhtml+xml" => Some((Wanted::Page, 2)),
        "application/*" => Some((Wanted::Json, 1)),
        "*/*" => Some((Wanted::Json, 0)),
        _ => None,
    }
}

/// The weight `q` in thousandths; 1,000 where none is given, 0 where it is no number.
fn weight(range: &str) -> u32 {
    let given = range.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    match given.map(str::parse::<f32>) {
        None => 1_000,
        Some(Ok(weight)) if (0.0..=1.0).contains(&weight) => (weight * 1_000.0) as u32,
        Some(_) => 0,
    }
}

/// Whether a `content-type` is one of these, in UTF-8.
pub(super) fn is_type(content_type: Option<&str>, types: &[&str]) -> bool {
    let Some(text) = content_type else { return false };
    let mut parts = text.split(';');
    let essence = parts.next().unwrap_or("").trim();
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    });
    utf8 && types.iter().any(|one| essence.eq_ignore_ascii_case(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_range_wins_then_the_most_exact_then_the_first() {
        let cases = [
            (None, Some(Wanted::Json)),
            (Some(""), Some(Wanted::Json)),
            (Some("*/*"), Some(Wanted::Json)),
            (Some("application/*"), Some(Wanted::Json)),
            (Some("application/graphql-response+json"), Some(Wanted::Response)),
            (Some("application/graphql-response+json, application/json;q=0.9"), Some(Wanted::Response)),
            (Some("application/graphql-response+json;q=0.5, application/json"), Some(Wanted::Json)),
            (Some("application/json, application/graphql-response+json"), Some(Wanted::Json)),
            (Some("*/*, application/graphql-response+json"), Some(Wanted::Response)),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Some(Wanted::Page)),
            (Some("image/png"), None),
            (Some("application/json;q=0"), None),
            (Some("APPLICATION/JSON; charset=utf-8"), Some(Wanted::Json)),
        ];
        for (accept, expected) in cases {
            assert_eq!(wanted(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn only_utf8_of_the_named_types_is_taken() {
        let json = ["application/json"];
        assert!(is_type(Some("application/json"), &json));
        assert!(is_type(Some("Application/JSON; charset=UTF-8"), &json));
        assert!(is_type(Some("application/json; charset=\"utf-8\""), &json));
        assert!(!is_type(Some("application/json; charset=latin1"), &json));
        assert!(!is_type(Some("text/plain"), &json));
        assert!(!is_type(None, &json));
    }
}
