//! What folding makes of events: `shop` by the shop's rules, `language` and `forms` by the sentences of the language.

mod forms;
mod language;
mod shop;
