//! Upcasts as declared → the chains that events go through.
//!
//! Comes in: the declarations of one projection. Goes out: [`Upcasts`], and faults: versions with a gap, values that are
//! not plain, conversions that do not exist, and splits that lead nowhere or in a circle.

use rustc_hash::FxHashMap;

use super::bind::Binder;
use super::declaration::{ConvertDecl, Declaration, PieceDecl, UpcastDecl};
use super::nearest::advice;
use super::yaml::Text;
use crate::event::{Json, TypeName};
use crate::upcast::{self, Chain, Convert, Path, Piece, Step, Upcast, Upcasts};

impl Binder<'_> {
    /// The chains of all event types that the projection handles.
    pub(super) fn upcasts(&mut self, declaration: &Declaration) -> Upcasts {
        let known = self.known_types(declaration);
        let mut by_type: FxHashMap<Box<str>, Vec<(i64, Step)>> = FxHashMap::default();
        for step in &declaration.upcasts {
            if declaration.handler.is_none() && !known.contains(&step.type_name.text.as_str()) {
                if step.shared {
                    continue; // It is another projection's.
                }
                if is_ignored(declaration, &step.type_name.text) {
                    let message = format!("`{}` is ignored in every version", step.type_name.text);
                    let help = "leave its upcasts out, or say under `events` what it does";
                    self.fault("P017", step.type_name.span, message, help);
                    continue;
                }
                let help = advice(&step.type_name.text, known.iter().copied());
                self.fault(
                    "P017",
                    step.type_name.span,
                    format!("`events` has no `{}`", step.type_name.text),
                    help,
                );
            }
            let steps = by_type.entry(step.type_name.text.as_str().into()).or_default();
            if let Some((last, _)) = steps.last()
                && step.version != last + 1
            {
                let message =
                    format!("version {} of `{}` follows version {last}", step.version, step.type_name.text);
                self.fault("P017", step.version_span, message, "write the versions in order, without a gap");
            }
            let bound = self.step(declaration, step, &known);
            steps.push((step.version, bound));
        }
        let chains = by_type.into_iter().map(|(name, steps)| (name, Chain::new(steps))).collect();
        let upcasts = Upcasts::new(chains);
        self.check_pieces(declaration, &upcasts, &known);
        upcasts
    }

    /// Types that `events` handles, and those that a step splits.
    fn known_types<'d>(&self, declaration: &'d Declaration) -> Vec<&'d str> {
        let handled = declaration.events.iter().map(|event| event.name.text.as_str());
        // A shared split of a type that is not handled otherwise counts where one of its pieces is.
        let is_handled = |piece: &PieceDecl| {
            declaration.events.iter().any(|event| event.name.text == piece.type_name.text)
        };
        let split = declaration.upcasts.iter().filter(|step| {
            step.split.as_ref().is_some_and(|pieces| !step.shared || pieces.iter().any(is_handled))
        });
        let split =
            split.map(|step| step.type_name.text.as_str()).filter(|name| !is_ignored(declaration, name));
        let mut known: Vec<&str> = handled.chain(split).collect();
        known.sort_unstable();
        known.dedup();
        known
    }

    fn step(&mut self, declaration: &Declaration, step: &UpcastDecl, known: &[&str]) -> Step {
        let mut change = Upcast {
            rename: step.rename.iter().map(|(old, new)| (boxed(old), boxed(new))).collect(),
            ..Upcast::default()
        };
        for (old, new) in &step.moves {
            let (Some(from), Some(to)) = (self.field_path(old), self.field_path(new)) else { continue };
            if from.overlaps(&to) {
                let message = format!("`{from}` cannot move to `{to}`: one lies in the other");
                self.fault("P017", new.span, message, "move it to a field of its own, or use `rename`");
                continue;
            }
            change.moves.push((from, to));
        }
        for (field, convert) in &step.convert {
            if let (Some(path), Some(convert)) = (self.field_path(field), self.conversion(field, convert)) {
                change.convert.push((path, convert));
            }
        }
        change.drop = step.drop.iter().filter_map(|field| self.field_path(field)).collect();
        for (field, json) in &step.default {
            if let (Some(path), Some(value)) =
                (self.field_path(field), self.plain("the default", field, json))
            {
                change.default.push((path, value));
            }
        }
        let split = step.split.as_ref().map(|pieces| {
            let taken = |piece: &&PieceDecl| {
                let name = piece.type_name.text.as_str();
                !is_ignored(declaration, name) && (!step.shared || known.contains(&name))
            };
            pieces.iter().filter(taken).filter_map(|piece| self.piece(piece, step)).collect()
        });
        Step { change, split }
    }

    fn field_path(&mut self, field: &Text) -> Option<Path> {
        let path = Path::parse(&field.text);
        if path.is_none() {
            let help = "write the name of a field, or several with dots between: `address.city`";
            self.fault("P017", field.span, format!("`{}` is not a field", field.text), help);
        }
        path
    }

    fn plain(&mut self, what: &str, field: &Text, json: &str) -> Option<Json> {
        match upcast::plain(json) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.fault(
                    "P017",
                    field.span,
                    format!("{what} of `{}` is not a plain value: {reason}", field.text),
                    "write text, a number, true, false, null, or lists and maps of them",
                );
                None
            }
        }
    }

    fn conversion(&mut self, field: &Text, convert: &ConvertDecl) -> Option<Convert> {
        match convert {
            ConvertDecl::Named(name) => {
                let found = Convert::NAMED.iter().find(|(known, _)| *known == name.text);
                if found.is_none() {
                    let help = advice(&name.text, Convert::NAMED.iter().map(|(known, _)| *known));
                    self.fault("P017", name.span, format!("`{}` is not a conversion", name.text), help);
                }
                found.map(|(_, convert)| convert.clone())
            }
            ConvertDecl::Words(words) => {
                if words.is_empty() {
                    let help = "write each old value with its new one: `status: { NEW: PLACED }`";
                    self.fault("P017", field.span, format!("`{}` is converted to nothing", field.text), help);
                    return None;
                }
                let mut bound = Vec::with_capacity(words.len());
                for (word, json) in words {
                    bound.push((boxed(word), self.plain("what takes the place", word, json)?));
                }
                Some(Convert::Words(bound))
            }
        }
    }

    fn piece(&mut self, piece: &PieceDecl, step: &UpcastDecl) -> Option<Piece> {
        let each = match &piece.each {
            Some((list, name)) => Some((self.field_path(list)?, boxed(name))),
            None => None,
        };
        Some(Piece {
            type_name: TypeName::new(&piece.type_name.text),
            version: version_of(piece, step),
            each,
            drop: piece.drop.iter().map(boxed).collect(),
        })
    }

    /// Every piece is of a type and version that is known, and no event becomes one that it came from.
    fn check_pieces(&mut self, declaration: &Declaration, upcasts: &Upcasts, known: &[&str]) {
        for step in &declaration.upcasts {
            for piece in step.split.iter().flatten() {
                let name = piece.type_name.text.as_str();
                if is_ignored(declaration, name) || step.shared && !known.contains(&name) {
                    continue;
                }
                let version = version_of(piece, step);
                let handled = declaration.events.iter().any(|event| event.name.text == name)
                    || declaration.handler.is_some()
                    || upcasts.is_split(name, version);
                if !handled {
                    let help = advice(name, known.iter().copied());
                    self.fault("P017", piece.type_name.span, format!("`events` has no `{name}`"), help);
                    continue;
                }
                let ranges = declaration.events.iter().filter(|event| event.name.text == name);
                if ranges.flat_map(|event| &event.cases).any(|case| case.range.is_some()) {
                    let message = format!("`{name}` deletes rows, and cannot be one of several events");
                    let help =
                        "let it be an event of its own: such a record concerns rows that it does not name";
                    self.fault("P017", piece.type_name.span, message, help);
                    continue;
                }
                let (oldest, newest) = upcasts.versions(name);
                let span = piece.version.map_or(piece.type_name.span, |(_, span)| span);
                if version < oldest || version > newest {
                    let message = format!("`{name}` has no version {version}");
                    let help = match oldest == newest {
                        true => format!("its only version is {oldest}"),
                        false => format!("its versions are {oldest} to {newest}"),
                    };
                    self.fault("P017", span, message, help);
                } else if leads_back(upcasts, name, version, &step.type_name.text, step.version) {
                    let message = format!(
                        "version {} of `{}` becomes itself again by way of `{name}`",
                        step.version, step.type_name.text
                    );
                    let help = "an event is split into newer ones: say a newer `version`, or another type";
                    self.fault("P017", piece.type_name.span, message, help);
                }
            }
        }
    }
}

/// Whether events of that type concern no row.
fn is_ignored(declaration: &Declaration, name: &str) -> bool {
    declaration.ignored.iter().any(|ignored| ignored.text == name)
}

/// The version of a piece: of its own type the next one, else 1 unless said.
fn version_of(piece: &PieceDecl, step: &UpcastDecl) -> i64 {
    match piece.version {
        Some((version, _)) => version,
        None if piece.type_name.text == step.type_name.text => step.version.saturating_add(1),
        None => 1,
    }
}

/// Whether an event of a type and version comes, through its pieces, to a step of another.
fn leads_back(upcasts: &Upcasts, name: &str, version: i64, to: &str, step: i64) -> bool {
    let mut seen: Vec<(&str, i64)> = Vec::new();
    let mut open = vec![(name, version)];
    while let Some((name, version)) = open.pop() {
        if name == to && version <= step {
            return true;
        }
        if seen.contains(&(name, version)) {
            continue;
        }
        seen.push((name, version));
        open.extend(upcasts.pieces(name, version).map(|piece| (&*piece.type_name, piece.version)));
    }
    false
}

fn boxed(text: &Text) -> Box<str> {
    text.text.as_str().into()
}
