//! What folding makes of events: `shop` by the shop's rules, `language` by the sentences of the projection language.

mod language;
mod shop;
