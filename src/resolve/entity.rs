//! `_entities`: representations → reads, and an item of the answer for each.
//!
//! Comes in: the list of representations as JSON. Goes out: pending reads, grouped by type and key, each row asked
//! for once; and in the order of the list where each item's row will be. A representation that cannot be read is a
//! fault at its place, and harms no other.

use rustc_hash::FxHashMap;
use serde_json::{Map, Value as Json};

use crate::plan::{KeyLoad, Part, TablePlan, key};
use crate::schema::{
    EntityKey, Field, FieldId, FieldSource, FieldType, KeyPath, Named, ObjectType, ReadModel, TypeId,
    TypeKind,
};
use crate::store::StoredRow;
use crate::value::Value;
use crate::value::encode::RowKey;

use super::coerce::{Given, coerce};
use super::data::{Data, Target};
use super::error::{Code, Fault};
use super::execute::{Executor, Get, Goes, Pending, ScanJob, place_bytes};
use super::planned::EntityList;
use super::range::Range;
use super::select::is_point;
use super::variables::Variables;

/// Objects of more members are asked by hash.
const MEMBERS_LOOKED_AT: usize = 8;

/// A representation, read.
pub(super) struct Item {
    /// Its type's place among the list's types.
    choice: usize,
    read: Result<Found, Fault>,
    /// Of an interface: the other types that it may be of.
    others: Vec<(usize, Result<Found, Fault>)>,
}

/// How an entity is found.
enum Found {
    /// By the key at this place among the type's, which is this row's whole key.
    Row(usize, RowKey),
    /// By the key at this place among the type's; a value for each of its fields. The first row that has them.
    First(usize, Vec<Value>),
    /// By a key that no row can have: a part of it has no bucket.
    Nothing,
    /// Another subgraph's entity: what was sent of it, a cell for each field.
    Cells(Vec<Value>),
}

/// Where an item of the answer is.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// The entity's place among the parents of its type's site.
    Of {
        choice: usize,
        parent: usize,
    },
    /// As `Of`, of the first of these that is there.
    OneOf(Vec<(usize, usize)>),
    Fault(Fault),
}

/// How many representations an `_entities` has.
pub(super) fn count(list: &EntityList, variables: &Variables) -> usize {
    variables.json(&list.representations).as_array().map_or(1, Vec::len)
}

/// Reads the representations of an `_entities`; touches no table.
pub(super) fn read(executor: &Executor<'_>, list: &EntityList) -> Vec<Item> {
    let representations = executor.operation.variables.json(&list.representations);
    let items: &[Json] = match &*representations {
        Json::Array(items) => items,
        lone => std::slice::from_ref(lone),
    };
    let by_name: FxHashMap<&str, usize> = list
        .types
        .iter()
        .enumerate()
        .map(|(index, choice)| (&*executor.model.ty(choice.ty).name, index))
        .collect();
    items.iter().map(|item| read_one(executor, list, item, &by_name)).collect()
}

fn read_one(
    executor: &Executor<'_>,
    list: &EntityList,
    item: &Json,
    by_name: &FxHashMap<&str, usize>,
) -> Item {
    let of = |choice: usize| found(executor, list.types[choice].ty, item);
    match choice_of(item, by_name) {
        Ok(choice) => Item { choice, read: of(choice), others: Vec::new() },
        Err(fault) => {
            let mut choices = implementors(executor, list, item).map(|choice| (choice, of(choice)));
            match choices.next() {
                Some((choice, read)) => Item { choice, read, others: choices.collect() },
                None => Item { choice: usize::MAX, read: Err(fault), others: Vec::new() },
            }
        }
    }
}

/// The types that a representation may be of, where it names an interface.
fn implementors<'i>(
    executor: &Executor<'i>,
    list: &'i EntityList,
    item: &Json,
) -> impl Iterator<Item = usize> + use<'i> {
    let model = executor.model;
    let name = item.as_object().and_then(|object| member(object, "__typename")).and_then(Json::as_str);
    let types = name.and_then(|name| model.type_named(name)).map(|id| &*model.ty(id).resolves_to);
    let place = |ty: &TypeId| list.types.iter().position(|choice| choice.ty == *ty);
    types.unwrap_or_default().iter().filter_map(place)
}

/// The types of the entities that a list asks for.
pub(super) fn types<'l>(list: &'l EntityList, items: &'l [Item]) -> impl Iterator<Item = TypeId> + 'l {
    let choices =
        |item: &'l Item| std::iter::once(item.choice).chain(item.others.iter().map(|(choice, _)| *choice));
    items.iter().flat_map(choices).filter_map(|choice| list.types.get(choice)).map(|choice| choice.ty)
}

/// Makes the reads of a list.
pub(super) fn gather(
    executor: &Executor<'_>,
    list: &EntityList,
    items: Vec<Item>,
    data: &mut Data,
    pending: &mut Pending,
) -> Vec<Slot> {
    let mut gather =
        Gather { executor, list, data, pending, gets: FxHashMap::default(), scans: FxHashMap::default() };
    let mut slots = Vec::with_capacity(items.len());
    for item in items {
        let first = gather.place(item.choice, item.read);
        slots.push(match first {
            Ok((choice, parent)) if item.others.is_empty() => Slot::Of { choice, parent },
            Err(fault) => Slot::Fault(fault),
            Ok(first) => {
                let others = item.others.into_iter().map(|(choice, read)| gather.place(choice, read));
                match std::iter::once(Ok(first)).chain(others).collect() {
                    Ok(places) => Slot::OneOf(places),
                    Err(fault) => Slot::Fault(fault),
                }
            }
        });
    }
    let Gather { gets, pending, .. } = gather;
    pending.gets.extend(gets.into_values());
    slots
}

/// The reads of one list as they come together.
struct Gather<'g, 'a> {
    executor: &'g Executor<'a>,
    list: &'g EntityList,
    data: &'g mut Data,
    pending: &'g mut Pending,
    /// By type and key.
    gets: FxHashMap<(usize, usize), Get>,
    /// By type, key and values.
    scans: FxHashMap<(usize, usize, Vec<u8>), Target>,
}

impl Gather<'_, '_> {
    /// Asks for a representation's row; answers its type, and its place among the parents of that one's site.
    fn place(&mut self, choice: usize, read: Result<Found, Fault>) -> Result<(usize, usize), Fault> {
        let target = self.target(choice, read?);
        let of = &mut self.data.sites[self.list.types[choice].site].of;
        of.push(target);
        Ok((choice, of.len() - 1))
    }

    fn target(&mut self, choice: usize, found: Found) -> Target {
        let site = self.list.types[choice].site;
        match found {
            Found::Cells(cells) => {
                let row = StoredRow { key: RowKey::new(Vec::new(), &[]), offset: 0, live: true, cells };
                Target::At(self.data.sites[site].push(Some(row)))
            }
            Found::Row(at, key) => self.row(choice, at, key),
            Found::First(at, values) => self.first(choice, at, &values),
            Found::Nothing => Target::Null,
        }
    }

    fn row(&mut self, choice: usize, at: usize, key: RowKey) -> Target {
        let chosen = &self.list.types[choice];
        let Some(load) = key_load(self.executor, chosen.ty, at) else { return Target::Null };
        let get = self.gets.entry((choice, at)).or_insert_with(|| Get::new(chosen.site, load.table));
        Target::At(get.row_of(key, &mut self.data.sites[chosen.site]))
    }

    fn first(&mut self, choice: usize, at: usize, values: &[Value]) -> Target {
        let plan = self.executor.plan;
        let chosen = &self.list.types[choice];
        let Some(load) = key_load(self.executor, chosen.ty, at) else { return Target::Null };
        let table = plan.table(load.table);
        let (partition, clustering) = parts(load, values);
        let name = (choice, at, place_bytes(&partition, &clustering, &[]));
        if let Some(target) = self.scans.get(&name) {
            return *target;
        }
        let Some(range) = Range::new(plan, table, partition, &clustering, &[]) else { return Target::Null };
        let row = self.data.sites[chosen.site].push(None);
        self.pending.scans.push(ScanJob {
            site: chosen.site,
            range,
            reversed: false,
            goes: Goes::Row(row as usize),
        });
        self.scans.insert(name, Target::At(row));
        Target::At(row)
    }
}

/// How entities of a type are loaded by the key at a place; `None` if they are not.
fn key_load<'a>(executor: &Executor<'a>, ty: TypeId, at: usize) -> Option<&'a KeyLoad> {
    executor.plan.entity(ty).keys.get(at)?.as_ref()
}

fn choice_of(item: &Json, by_name: &FxHashMap<&str, usize>) -> Result<usize, Fault> {
    let refused = |why: String| Fault::new(Code::BadUserInput, why);
    let Some(object) = item.as_object() else {
        return Err(refused("A representation must be an object with `__typename` and a key.".to_owned()));
    };
    match member(object, "__typename") {
        Some(Json::String(name)) => by_name.get(&**name).copied().ok_or_else(|| {
            let name: String = name.chars().take(60).collect();
            refused(format!("`__typename` is {name:?}, which is no entity of this subgraph."))
        }),
        Some(_) => Err(refused("`__typename` of a representation is not a string.".to_owned())),
        None => Err(refused("A representation has no `__typename`.".to_owned())),
    }
}

/// Chooses the first key whose fields are all there.
fn found(executor: &Executor<'_>, ty: TypeId, item: &Json) -> Result<Found, Fault> {
    let object = executor.model.ty(ty);
    let item = item.as_object().expect("what is no object has no type and is refused before");
    let given = |path: &KeyPath| member_at(executor.model, ty, item, path).filter(|value| !value.is_null());
    let complete = |key: &EntityKey| key.resolvable && key.fields.iter().all(|path| given(path).is_some());
    let Some(at) = object.keys.iter().position(complete) else {
        let message = format!(
            "A representation of {} has none of its keys: {}.",
            object.name,
            keys_shown(executor, ty)
        );
        return Err(Fault::new(Code::BadUserInput, message));
    };
    let values = object.keys[at]
        .fields
        .iter()
        .map(|path| {
            let given = Given::json(given(path).unwrap_or(&Json::Null));
            coerce(executor.model, executor.model.read_as(ty, path), &given).map_err(|why| {
                let shown = executor.model.path_shown(ty, path);
                Fault::new(Code::BadUserInput, format!("Key field `{shown}` of {}: {why}.", object.name))
            })
        })
        .collect::<Result<Vec<Value>, Fault>>()?;
    if object.kind == TypeKind::Stub {
        return cells(executor, object, item).map(Found::Cells);
    }
    let Some(load) = key_load(executor, ty, at) else { return Ok(Found::Nothing) };
    let table = executor.plan.table(load.table);
    if is_point(load, table.clustering.len()) {
        return Ok(row_key(table, load, &values).map_or(Found::Nothing, |key| Found::Row(at, key)));
    }
    Ok(Found::First(at, values))
}

/// A member of an object. Representations are small: looking at each name costs less than hashing one.
fn member<'j>(object: &'j Map<String, Json>, name: &str) -> Option<&'j Json> {
    if object.len() > MEMBERS_LOOKED_AT {
        return object.get(name);
    }
    object.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// What was sent of another subgraph's entity.
fn cells(
    executor: &Executor<'_>,
    object: &ObjectType,
    item: &Map<String, Json>,
) -> Result<Vec<Value>, Fault> {
    object
        .fields
        .iter()
        .map(|field| match (&field.source, member(item, &field.name)) {
            (FieldSource::Column(_) | FieldSource::External, Some(value)) => {
                represented(executor, object, field, &field.ty, value)
            }
            _ => Ok(Value::Null),
        })
        .collect()
}

/// A field's value as it was sent; of an object a record with a cell for each field of its type.
fn represented(
    executor: &Executor<'_>,
    object: &ObjectType,
    field: &Field,
    ty: &FieldType,
    value: &Json,
) -> Result<Value, Fault> {
    let refused = |why: String| {
        Fault::new(Code::BadUserInput, format!("Field `{}` of {}: {why}.", field.name, object.name))
    };
    match (ty, value) {
        (_, Json::Null) => Ok(Value::Null),
        (FieldType::List { of, .. }, Json::Array(items)) => {
            let items = items.iter().map(|item| represented(executor, object, field, of, item));
            Ok(Value::List(items.collect::<Result<_, Fault>>()?))
        }
        (FieldType::List { .. }, _) => Err(refused("it is not a list".to_owned())),
        (FieldType::Named { name: Named::Object(inner), .. }, Json::Object(item)) => {
            Ok(Value::Record(cells(executor, executor.model.ty(*inner), item)?))
        }
        (FieldType::Named { name: Named::Object(_), .. }, _) => {
            Err(refused("it is not an object".to_owned()))
        }
        (FieldType::Named { name, .. }, value) => {
            coerce(executor.model, *name, &Given::json(value)).map_err(refused)
        }
    }
}

/// What stands at the end of a path of members.
fn member_at<'j>(
    model: &ReadModel,
    ty: TypeId,
    item: &'j Map<String, Json>,
    path: &[FieldId],
) -> Option<&'j Json> {
    let (first, rest) = path.split_first()?;
    let field = model.ty(ty).field(*first);
    let value = member(item, &field.name)?;
    match field.ty.named() {
        Named::Object(inner) if !rest.is_empty() => member_at(model, inner, value.as_object()?, rest),
        _ => Some(value),
    }
}

fn keys_shown(executor: &Executor<'_>, ty: TypeId) -> String {
    let model = executor.model;
    let keys = model.ty(ty).keys.iter().filter(|key| key.resolvable).map(|key| {
        let names: Vec<String> = key.fields.iter().map(|path| model.path_shown(ty, path)).collect();
        format!("`{}`", names.join(" "))
    });
    keys.collect::<Vec<_>>().join(" or ")
}

/// The values of a key as they fill a table's key; what is open stays open.
fn parts(load: &KeyLoad, values: &[Value]) -> (Vec<Part<Value>>, Vec<Value>) {
    let value = |at: &usize| values.get(*at).cloned().unwrap_or_default();
    let partition = load.partition.iter().map(|part| match part {
        Part::From(at) => Part::From(value(at)),
        Part::EachBucket => Part::EachBucket,
        Part::EachShard(count) => Part::EachShard(*count),
    });
    let clustering = load.clustering.iter().map_while(|part| match part {
        Part::From(at) => Some(value(at)),
        Part::EachBucket | Part::EachShard(_) => None,
    });
    (partition.collect(), clustering.collect())
}

/// The key of a row, where a key gives all of it.
fn row_key(table: &TablePlan, load: &KeyLoad, values: &[Value]) -> Option<RowKey> {
    let columns = load.partition.len();
    key::row_key_by(table, |at, _| {
        let part = if at < columns { &load.partition[at] } else { load.clustering.get(at - columns)? };
        match part {
            Part::From(at) => values.get(*at),
            Part::EachBucket | Part::EachShard(_) => None,
        }
    })
}
