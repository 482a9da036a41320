//! What gateways are told: how many rows a field answers, that a plan may say what it costs, and by which tag a cache can
//! drop an answer.
//!
//! Comes in: the model, and what the author's text says already. Goes out: directives to stand after a field or `@key`. Where the
//! author says it, defines or imports a directive of that name, or asks for a federation without it, nothing is told;
//! tags only where the author's `@link` imports them.

use apollo_compiler::Node;
use apollo_compiler::ast;

use super::directive::link_names;
use super::link::Link;
use super::parse::{Declarations, ObjectDeclaration};
use super::{
    ArgOp, Argument, ArgumentBinding, EntityKey, Field, FieldId, FieldSource, FieldType, KeyPath, Named,
    ObjectType, ReadDecl, ReadModel, TypeId, TypeKind,
};
use crate::diagnostic::FileId;

pub(super) const COST: &str = "cost";
const LIST_SIZE: &str = "listSize";
const CACHE_TAG: &str = "cacheTag";

/// What is told in one place. Directives stand in name order: a cost has its place between the others.
#[derive(Default)]
pub(super) struct Hint {
    pub before: String,
    /// The read whose cost is told, once it is known.
    pub read: Option<(TypeId, FieldId)>,
    pub after: String,
    /// The directives of `before` and `after`.
    pub used: Vec<&'static str>,
}

impl Hint {
    fn tag(&mut self, name: &str, format: &str) {
        self.before = format!(" @{name}(format: \"{format}\")");
        self.used.push(CACHE_TAG);
    }
}

/// What may be told, and under which names.
pub(super) struct Hints<'m> {
    model: &'m ReadModel,
    declarations: &'m Declarations<'m>,
    cache_tag: Option<String>,
    pub cost: Option<String>,
    list_size: Option<String>,
}

impl<'m> Hints<'m> {
    pub fn new(model: &'m ReadModel, declarations: &'m Declarations<'m>, link: Option<&Link>) -> Hints<'m> {
        let name = |directive: &str| match link {
            Some(link) => link.has(directive).then(|| link.local_name(directive)),
            None => (!is_taken(directive, declarations)).then(|| directive.to_string()),
        };
        // Apollo's gateway (not its router) refuses a supergraph with tags: they are for those who ask for them.
        let is_asked = |link: &&Link| link.has(CACHE_TAG) && link.imports(CACHE_TAG);
        let cache_tag = link.filter(is_asked).map(|link| link.local_name(CACHE_TAG));
        let (cost, list_size) = (name(COST), name(LIST_SIZE));
        Hints { model, declarations, cache_tag, cost, list_size }
    }

    /// What is told of the types that can come in `_entities`, each with the `@key` after which it stands, of one file.
    pub fn of_entities(&self, file: FileId) -> Vec<(&'m Node<ast::Directive>, Hint)> {
        let Some(name) = &self.cache_tag else { return Vec::new() };
        let of_object = |object: &'m ObjectDeclaration<'m>| {
            let key = object.directives.iter().find(|directive| directive.node.name == "key")?;
            let is_told = object.directives.iter().any(|directive| *directive.node.name == **name);
            if is_told || key.file != file {
                return None;
            }
            let mut hint = Hint::default();
            hint.tag(name, &entity_tag(self.model.ty(self.model.type_named(object.name)?))?);
            Some((key.node, hint))
        };
        self.declarations.objects.iter().filter_map(of_object).collect()
    }

    /// What is told of a field of an object type.
    pub fn of_field(&self, parent: &str, node: &ast::FieldDefinition) -> Option<Hint> {
        let id = self.model.type_named(parent)?;
        let ty = self.model.ty(id);
        let field_id = ty.field_named(&node.name)?;
        let field = ty.field(field_id);
        let free = |name: &Option<String>| {
            name.clone().filter(|name| !node.directives.iter().any(|directive| *directive.name == **name))
        };
        let mut hint = Hint::default();
        let tag = (id == self.model.query).then(|| keyed_tag(field)).flatten();
        if let Some((name, tag)) = free(&self.cache_tag).zip(tag) {
            hint.tag(&name, &tag);
        }
        if free(&self.cost).is_some() && matches!(field.source, FieldSource::Read(_)) {
            hint.read = Some((id, field_id));
        }
        if let Some((name, size)) = free(&self.list_size).zip(self.list_size(ty, field)) {
            hint.after = format!(" @{name}({size})");
            hint.used.push(LIST_SIZE);
        }
        Some(hint)
    }

    /// The arguments of `@listSize`; `None` for what is no list, or has no bound.
    fn list_size(&self, ty: &ObjectType, field: &Field) -> Option<String> {
        let is_list = matches!(field.ty, FieldType::List { .. });
        let bound = match &field.source {
            FieldSource::Read(read) => return self.page_size(field, read),
            FieldSource::Column(column) if is_list => ty.column(*column).max,
            FieldSource::Ref(reference) if is_list => {
                reference.key.iter().find_map(|(_, column)| ty.column(*column).max)
            }
            _ => None,
        };
        bound.map(|max| format!("assumedSize: {max}"))
    }

    /// A page, unless the request says how many rows; of a connection it counts in its lists.
    fn page_size(&self, field: &Field, read: &ReadDecl) -> Option<String> {
        let sized: Vec<&str> = match field.ty.named() {
            Named::Object(id) if matches!(self.model.ty(id).kind, TypeKind::Connection { .. }) => {
                let lists = ["edges", "nodes"];
                lists.into_iter().filter(|name| self.model.ty(id).field_named(name).is_some()).collect()
            }
            _ if matches!(field.ty, FieldType::List { .. }) => Vec::new(),
            _ => return None,
        };
        let slices = |name: &&str| {
            let mut paging = field.args.iter().filter(|argument| argument.binds == ArgumentBinding::Paging);
            paging.any(|argument| argument.name == **name)
        };
        let slicing: Vec<&str> = ["first", "last"].into_iter().filter(slices).collect();
        let mut arguments = format!("assumedSize: {}", read.page.min(read.max));
        if !slicing.is_empty() {
            arguments += &format!(", slicingArguments: {slicing:?}");
        }
        if !sized.is_empty() {
            arguments += &format!(", sizedFields: {sized:?}");
        }
        if !slicing.is_empty() {
            arguments += ", requireOneSlicingArgument: false";
        }
        Some(arguments)
    }
}

/// `order-{$key.id}`: the type, and the fields of a key that all its other keys have too. `None` where they share none: the
/// gateway may hold an answer by any of them, and needs the tag's fields for each.
fn entity_tag(ty: &ObjectType) -> Option<String> {
    let plain = |path: &KeyPath| path.len() == 1 && ty.field(path[0]).ty.non_null();
    let is_shared = |key: &EntityKey| {
        let in_all = |path: &KeyPath| ty.keys.iter().all(|other| other.fields.contains(path));
        key.fields.iter().all(|path| plain(path) && in_all(path))
    };
    let key = ty.keys.iter().find(|key| key.resolvable && is_shared(key))?;
    let fields = key.fields.iter().map(|path| format!("-{{$key.{}}}", ty.field(path[0]).name));
    Some(format!("{}{}", lower_first(&ty.name), fields.collect::<String>()))
}

/// `orders-{$args.user}`: the field, and its arguments that are always given. `None` where there are none.
fn keyed_tag(field: &Field) -> Option<String> {
    if !matches!(field.source, FieldSource::Read(_)) {
        return None;
    }
    let is_given = |argument: &&Argument| {
        matches!(argument.binds, ArgumentBinding::Column { op: ArgOp::Eq, .. })
            && matches!(
                argument.ty,
                FieldType::Named { name: Named::Scalar(_) | Named::Enum(_), non_null: true }
            )
    };
    let given = field.args.iter().filter(is_given).map(|argument| format!("-{{$args.{}}}", argument.name));
    let given: String = given.collect();
    (!given.is_empty()).then(|| format!("{}{given}", field.name))
}

fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or(String::new(), |first| first.to_ascii_lowercase().to_string() + letters.as_str())
}

/// Whether a name is that of a directive which the author defines or imports from elsewhere.
fn is_taken(name: &str, declarations: &Declarations<'_>) -> bool {
    let links = declarations.schema_directives.iter().filter(|directive| directive.node.name == "link");
    declarations.directives.iter().any(|definition| definition.node.name == name)
        || links.flat_map(|link| link_names(link.node)).any(|imported| imported == name)
}
