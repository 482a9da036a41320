//! Makes random valid operations over the shop: every field, arguments as literals and variables, aliases, fields that
//! merge, fragments of both kinds, `@skip` and `@include`, representations good and bad.

use apollo_compiler::Schema;
use apollo_compiler::schema::ExtendedType;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value as Json, json};

/// Most fields of an operation, so that merged fragments stay small.
const FIELDS_MAX: usize = 120;

pub struct Operations<'s> {
    schema: &'s Schema,
    random: fastrand::Rng,
    cursors: Vec<String>,
    /// Declarations and values of the operation being made.
    variables: Vec<(String, Option<Json>)>,
    /// Names of conditions, reused.
    conditions: Vec<String>,
    /// A field with its arguments always has the same alias: fields of one response key are the same field.
    aliases: FxHashMap<String, usize>,
    /// Definitions, and the type and surroundings that each is for.
    fragments: Vec<(String, String, bool)>,
    fields: usize,
}

impl<'s> Operations<'s> {
    pub fn new(schema: &'s Schema, random: fastrand::Rng, cursors: Vec<String>) -> Operations<'s> {
        Operations {
            schema,
            random,
            cursors,
            variables: Vec::new(),
            conditions: Vec::new(),
            aliases: FxHashMap::default(),
            fragments: Vec::new(),
            fields: 0,
        }
    }

    /// An operation and its variables.
    pub fn next(&mut self) -> (String, Json) {
        self.variables.clear();
        self.conditions.clear();
        self.aliases.clear();
        self.fragments.clear();
        self.fields = 0;
        let depth = self.random.usize(2..7);
        let selection = self.selection("Query", depth, false);
        let mut values = Map::new();
        let mut declared = String::new();
        for (at, (declaration, value)) in self.variables.iter().enumerate() {
            declared.push_str(if at == 0 { "(" } else { ", " });
            declared.push_str(declaration);
            if let Some(value) = value {
                let name = declaration.split(':').next().unwrap().trim_start_matches('$');
                values.insert(name.to_owned(), value.clone());
            }
        }
        if !declared.is_empty() {
            declared.push(')');
        }
        let fragments: String = self.fragments.iter().map(|(text, ..)| text.as_str()).collect();
        (format!("query Q{declared} {selection}{fragments}"), Json::Object(values))
    }

    /// `mixed`: objects of several types can stand here, whose fields must not meet under one name.
    fn selection(&mut self, ty: &str, depth: usize, mixed: bool) -> String {
        let mut text = "{ ".to_owned();
        for _ in 0..self.random.usize(1..5) {
            let item = match self.random.usize(0..12) {
                0 => "__typename ".to_owned(),
                1 if depth > 1 => {
                    let condition = if self.random.bool() { format!("on {ty}") } else { String::new() };
                    let directive = self.directive();
                    format!("... {condition} {directive}{} ", self.selection(ty, depth - 1, mixed))
                }
                2 if depth > 1 => self.spread(ty, depth - 1, mixed),
                _ => self.field(ty, depth, mixed),
            };
            text.push_str(&item);
        }
        text.push_str("} ");
        text
    }

    fn spread(&mut self, ty: &str, depth: usize, mixed: bool) -> String {
        let fits = |fragment: &(String, String, bool)| fragment.1 == ty && fragment.2 == mixed;
        let known: Vec<usize> = (0..self.fragments.len()).filter(|at| fits(&self.fragments[*at])).collect();
        let at = if !known.is_empty() && self.random.bool() {
            known[self.random.usize(0..known.len())]
        } else {
            let selection = self.selection(ty, depth, mixed);
            // Only now: a fragment must not be spread inside itself.
            let at = self.fragments.len();
            self.fragments.push((format!(" fragment F{at} on {ty} {selection}"), ty.to_owned(), mixed));
            at
        };
        format!("...F{at} {}", self.directive())
    }

    fn field(&mut self, ty: &str, depth: usize, mixed: bool) -> String {
        let fields = match &self.schema.types[ty] {
            ExtendedType::Object(object) => &object.fields,
            ExtendedType::Union(_) => return self.member(depth),
            other => panic!("{} has no fields", other.name()),
        };
        self.fields += 1;
        let small = depth <= 1 || self.fields > FIELDS_MAX;
        let choices: Vec<_> = fields
            .values()
            .filter(|field| !small || self.is_leaf(field.ty.inner_named_type().as_str()))
            .collect();
        if choices.is_empty() {
            return "__typename ".to_owned();
        }
        let field = choices[self.random.usize(0..choices.len())];
        let inner = field.ty.inner_named_type().as_str();
        let mut arguments = String::new();
        for argument in &field.arguments {
            if let Some(value) = self.argument(&argument.name, &argument.ty.to_string()) {
                arguments.push_str(&format!("{}: {value} ", argument.name));
            }
        }
        if !arguments.is_empty() {
            arguments = format!("({arguments})");
        }
        let alias = if mixed || !arguments.is_empty() || self.random.u8(0..4) == 0 {
            let next = self.aliases.len();
            let number = self.aliases.entry(format!("{ty}.{}{arguments}", field.name)).or_insert(next);
            format!("a{number}: ")
        } else {
            String::new()
        };
        let directive = self.directive();
        let below = if self.is_leaf(inner) {
            String::new()
        } else {
            self.selection(inner, depth.saturating_sub(1), mixed || inner == "_Entity")
        };
        format!("{alias}{}{arguments} {directive}{below} ", field.name)
    }

    /// A selection of one of the entities.
    fn member(&mut self, depth: usize) -> String {
        let types = ["Order", "Product", "Cart", "User", "Customer"];
        let ty = types[self.random.usize(0..types.len())];
        format!("... on {ty} {}", self.selection(ty, depth.max(1), true))
    }

    fn is_leaf(&self, ty: &str) -> bool {
        matches!(self.schema.types[ty], ExtendedType::Scalar(_) | ExtendedType::Enum(_))
    }

    fn directive(&mut self) -> String {
        if self.random.u8(0..6) > 0 {
            return String::new();
        }
        let name = if self.random.bool() { "skip" } else { "include" };
        let condition =
            if self.random.u8(0..4) == 0 { self.random.bool().to_string() } else { self.condition() };
        format!("@{name}(if: {condition}) ")
    }

    fn condition(&mut self) -> String {
        if !self.conditions.is_empty() && self.random.bool() {
            return self.conditions[self.random.usize(0..self.conditions.len())].clone();
        }
        let value = self.random.bool();
        let name = if self.random.bool() {
            self.variable("Boolean!", Some(json!(value)))
        } else {
            self.variable(&format!("Boolean! = {value}"), None)
        };
        self.conditions.push(name.clone());
        name
    }

    fn variable(&mut self, ty: &str, value: Option<Json>) -> String {
        let name = format!("$v{}", self.variables.len());
        self.variables.push((format!("{name}: {ty}"), value));
        name
    }

    /// A literal or a variable; `None` leaves an optional argument out.
    fn argument(&mut self, name: &str, ty: &str) -> Option<String> {
        let value = match name {
            "id" => {
                json!(format!("{}{}", ["o", "p", "c", "u"][self.random.usize(0..4)], self.random.u8(0..9)))
            }
            "number" => json!(format!("n{}", self.random.u8(0..11))),
            "sku" => json!(format!("s{}", self.random.u8(0..6))),
            "categoryId" => json!(format!("k{}", self.random.u8(1..4))),
            "warehouseId" => json!(format!("w{}", self.random.u8(1..4))),
            "representations" => return Some(self.representations()),
            "first" | "last" => match self.random.u8(0..20) {
                0 => json!(-1),
                1 => json!(101),
                2..=10 => json!(self.random.u8(0..5)),
                11 => Json::Null,
                _ => return None,
            },
            "after" | "before" => match self.random.u8(0..20) {
                0 => json!("bogus"),
                1..=6 if !self.cursors.is_empty() => {
                    json!(self.cursors[self.random.usize(0..self.cursors.len())])
                }
                7 => Json::Null,
                _ => return None,
            },
            other => panic!("{other} is an argument that no operation was made with yet"),
        };
        if self.random.bool() {
            return Some(value.to_string());
        }
        Some(match self.random.u8(0..4) {
            0 if !ty.ends_with('!') => self.variable(ty, None),
            1 if !value.is_null() => self.variable(&format!("{ty} = {value}"), None),
            _ => self.variable(ty, Some(value)),
        })
    }

    fn representations(&mut self) -> String {
        let list: Vec<Json> = (0..self.random.usize(0..8)).map(|_| self.representation()).collect();
        if self.random.bool() {
            return self.variable("[_Any!]!", Some(Json::Array(list)));
        }
        literal(&Json::Array(list))
    }

    fn representation(&mut self) -> Json {
        let at = self.random.u8(0..9);
        match self.random.u8(0..12) {
            0..=3 => json!({"__typename": "Order", "id": format!("o{at}")}),
            4 => json!({"__typename": "Order", "number": format!("n{at}")}),
            5 => json!({"__typename": "Product", "id": format!("p{at}")}),
            6 => json!({"sku": format!("s{at}"), "__typename": "Product"}),
            7 => json!({"__typename": "Cart", "id": format!("c{at}"), "more": [1, {"a": null}]}),
            8 | 9 => json!({"__typename": "User", "id": format!("u{at}")}),
            10 => json!({"__typename": "Customer", "id": format!("u{at}")}),
            _ => [
                json!({"__typename": "Nothing", "id": "o1"}),
                json!({"__typename": "Order"}),
                json!({"__typename": "Order", "id": null, "number": "n1"}),
                json!({"id": "o1"}),
            ][self.random.usize(0..4)]
            .clone(),
        }
    }
}

/// JSON as GraphQL writes it: names of members without quotes.
fn literal(value: &Json) -> String {
    match value {
        Json::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Json::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{name}: {}", literal(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
