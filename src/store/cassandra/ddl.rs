//! Makes tables, and says what is missing or other than it should be.
//!
//! Comes in: a plan as CQL, and what the cluster has. Goes out: statements, run one after the other by one process at a time
//! and each awaited on all nodes; afterwards what was made is read back. `IF NOT EXISTS` is not relied on: two that make one
//! table at once would make two. Nothing that is there is altered, but that the engine's own tables get columns that they did
//! not have in an earlier version.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::answers::applied;
use super::cells::{CellType, read};
use super::meta::rows;
use super::names::{self, KEPT};
use super::session::{Binds, Reads, Session};
use crate::plan::cql::{Cql, CqlColumn, CqlKind, generation_suffix, quoted};
use crate::schema::{Order, Scalar};
use crate::store::StoreError;
use crate::value::Value;

/// Something that a generation needs.
struct Wanted {
    kind: Kind,
    /// Without keyspace and quotes.
    name: String,
    create: String,
    /// Whether it is the engine's own, and not of the definitions.
    is_kept: bool,
}

/// Something that is not there.
struct Missing {
    /// For a person.
    what: String,
    /// What makes it.
    statement: String,
}

enum Kind {
    /// Fields with their types.
    Type(Vec<(String, String)>),
    Table(Vec<Wished>),
    Index,
}

/// A column as it should be.
struct Wished {
    name: String,
    ty: String,
    kind: &'static str,
    /// Its place in the partition or in the clustering.
    position: i32,
    order: &'static str,
}

/// What the keyspace has.
#[derive(Default)]
struct Found {
    tables: BTreeSet<String>,
    /// By table and column: type, kind, position, order.
    columns: BTreeMap<(String, String), (String, String, i32, String)>,
    /// Names and types of the fields of each type.
    types: BTreeMap<String, (Vec<String>, Vec<String>)>,
    indexes: BTreeSet<String>,
}

impl Found {
    fn has(&self, table: &str, column: &Wished) -> bool {
        self.columns.contains_key(&(table.to_owned(), column.name.clone()))
    }
}

/// The statements that are yet to be run, in their order.
///
/// # Errors
/// The keyspace is missing, or something in it is other than it should be.
pub(super) async fn pending(session: &Session, cql: &Cql<'_>) -> Result<Vec<String>, StoreError> {
    check_keyspace(session).await?;
    let wanted = wanted(&session.settings.keyspace, cql);
    let (missing, differing) = compare(session, &wanted).await?;
    match differing.first() {
        None => Ok(missing.into_iter().map(|missing| missing.statement).collect()),
        Some(first) => Err(StoreError::Refused(first.clone())),
    }
}

/// Refuses to go on unless everything is there as it should be.
pub(super) async fn check(session: &Session, cql: &Cql<'_>) -> Result<(), StoreError> {
    check_keyspace(session).await?;
    let keyspace = &session.settings.keyspace;
    let wanted = wanted(keyspace, cql);
    let (missing, differing) = compare(session, &wanted).await?;
    if let Some(first) = differing.first() {
        return Err(StoreError::Refused(first.clone()));
    }
    let Some(first) = missing.first() else { return Ok(()) };
    let what = &first.what;
    let others = match missing.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Err(StoreError::Refused(format!(
        "{what} is missing in keyspace {keyspace:?}{others}: `kinora apply` makes what these definitions need"
    )))
}

/// Makes what is missing; answers the statements that were run.
pub(super) async fn apply(session: &Session, cql: &Cql<'_>) -> Result<Vec<String>, StoreError> {
    if pending(session, cql).await?.is_empty() {
        return Ok(Vec::new());
    }
    let mut run = Vec::new();
    let lease = KEPT.iter().find(|kept| kept.name == "kinora_lease").expect("it is one of them");
    let before = found(session).await?;
    if !before.tables.contains(lease.name) {
        // Before there is a lease nobody can hold it: of several first ones each asks for it, and one makes it.
        let create = names::create(&quoted(&session.settings.keyspace), lease);
        session.change_schema(&create.replacen("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)).await?;
        run.push(create);
    }
    let lease = Lease::take(session).await?;
    let made = make(session, cql, &lease, &mut run).await;
    let ended = lease.end().await;
    made?;
    ended?;
    check(session, cql).await?;
    Ok(run)
}

async fn make(
    session: &Session,
    cql: &Cql<'_>,
    lease: &Lease<'_>,
    run: &mut Vec<String>,
) -> Result<(), StoreError> {
    // Read again: whoever had the lease before may have made all of it.
    for statement in pending(session, cql).await? {
        lease.keep().await?;
        tracing::info!(statement, "Cassandra's schema is changed.");
        session.change_schema(&statement).await?;
        run.push(statement);
    }
    Ok(())
}

/// Removes the tables and types of a generation.
pub(super) async fn drop_generation(session: &Session, generation: u32) -> Result<(), StoreError> {
    let found = found(session).await?;
    let suffix = generation_suffix(generation);
    let keyspace = quoted(&session.settings.keyspace);
    let tables: Vec<&String> = found.tables.iter().filter(|name| name.ends_with(&suffix)).collect();
    let mut types: Vec<&String> = found.types.keys().filter(|name| name.ends_with(&suffix)).collect();
    if tables.is_empty() && types.is_empty() {
        return Ok(());
    }
    let lease = Lease::take(session).await?;
    let dropped = async {
        for name in tables {
            lease.keep().await?;
            session.change_schema(&format!("DROP TABLE {keyspace}.{}", quoted(name))).await?;
        }
        // Those that hold others go first.
        while !types.is_empty() {
            let is_held = |name: &String| {
                let word = |ty: &String| ty.split(|letter: char| !is_name(letter)).any(|word| word == name);
                types.iter().any(|other| *other != name && found.types[*other].1.iter().any(word))
            };
            let at = types.iter().position(|name| !is_held(name)).unwrap_or(0);
            lease.keep().await?;
            session.change_schema(&format!("DROP TYPE {keyspace}.{}", quoted(types.remove(at)))).await?;
        }
        Ok(())
    };
    let dropped = dropped.await;
    let ended = lease.end().await;
    dropped.and(ended)
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

impl Kind {
    fn word(&self) -> &'static str {
        match self {
            Kind::Type(_) => "type",
            Kind::Table(_) => "table",
            Kind::Index => "index",
        }
    }
}

/// Everything that a generation needs, in the order in which it is made.
fn wanted(keyspace: &str, cql: &Cql<'_>) -> Vec<Wanted> {
    let keyspace = quoted(keyspace);
    let within = |create: &str, before: &str| create.replacen(before, &format!("{before}{keyspace}."), 1);
    let kept = KEPT.iter().map(|kept| Wanted {
        kind: Kind::Table(wished_kept(kept)),
        name: kept.name.to_owned(),
        create: names::create(&keyspace, kept),
        is_kept: true,
    });
    let types = cql.types().into_iter().map(|ty| Wanted {
        create: within(&ty.create, "CREATE TYPE "),
        kind: Kind::Type(ty.fields),
        name: ty.name,
        is_kept: false,
    });
    let tables = cql.tables().into_iter().map(|(_, table)| Wanted {
        create: within(&table.create, "CREATE TABLE "),
        kind: Kind::Table(wished(&table.columns)),
        name: table.name,
        is_kept: false,
    });
    let indexes = cql.vector_indexes().into_iter().map(|index| Wanted {
        create: within(&index.create, " ON "),
        kind: Kind::Index,
        name: index.name,
        is_kept: false,
    });
    kept.chain(types).chain(tables).chain(indexes).collect()
}

fn wished(columns: &[CqlColumn]) -> Vec<Wished> {
    let mut places = [0, 0];
    let mut next = |at: usize| {
        places[at] += 1;
        places[at] - 1
    };
    let one = |column: &CqlColumn| {
        let (kind, position, order) = match column.kind {
            CqlKind::Partition => ("partition_key", next(0), "none"),
            CqlKind::Clustering(Order::Asc) => ("clustering", next(1), "asc"),
            CqlKind::Clustering(Order::Desc) => ("clustering", next(1), "desc"),
            CqlKind::Static => ("static", -1, "none"),
            CqlKind::Regular => ("regular", -1, "none"),
        };
        Wished { name: column.name.clone(), ty: column.ty.clone(), kind, position, order }
    };
    columns.iter().map(one).collect()
}

fn wished_kept(kept: &names::Kept) -> Vec<Wished> {
    let (partition, clustering) = match kept.key.strip_prefix('(') {
        Some(key) => key.split_once(')').unwrap_or((key, "")),
        None => kept.key.split_once(", ").unwrap_or((kept.key, "")),
    };
    let at = |of: &str, name: &str| {
        let place = of.split(", ").filter(|part| !part.is_empty()).position(|part| part == name)?;
        i32::try_from(place).ok()
    };
    let one = |(name, ty): &(&str, &str)| {
        let (ty, is_static) = ty.strip_suffix(" STATIC").map_or((*ty, false), |ty| (ty, true));
        let (kind, position, order) =
            match (at(partition, name), at(clustering.trim_start_matches(", "), name)) {
                (Some(place), _) => ("partition_key", place, "none"),
                (None, Some(place)) => ("clustering", place, "asc"),
                (None, None) if is_static => ("static", -1, "none"),
                (None, None) => ("regular", -1, "none"),
            };
        Wished { name: (*name).to_owned(), ty: ty.to_owned(), kind, position, order }
    };
    kept.columns.iter().map(one).collect()
}

/// What is missing, by its place, and a sentence for each thing that is other than it should be.
async fn compare(session: &Session, wanted: &[Wanted]) -> Result<(Vec<Missing>, Vec<String>), StoreError> {
    let found = found(session).await?;
    let (mut missing, mut differing) = (Vec::new(), Vec::new());
    for wanted in wanted {
        let name = &wanted.name;
        let whole =
            || Missing { what: format!("{} {name:?}", wanted.kind.word()), statement: wanted.create.clone() };
        match &wanted.kind {
            Kind::Type(fields) => match found.types.get(name) {
                None => missing.push(whole()),
                Some((names, types)) => {
                    let there: Vec<(String, String)> =
                        names.iter().cloned().zip(types.iter().map(|ty| plain(ty))).collect();
                    let wished: Vec<(String, String)> =
                        fields.iter().map(|(name, ty)| (name.clone(), plain(ty))).collect();
                    if there != wished {
                        differing.push(altered(
                            "type",
                            name,
                            &format!("has the fields {}", shown(&there)),
                            &shown(&wished),
                        ));
                    }
                }
            },
            Kind::Table(columns) if found.tables.contains(name) => {
                for column in columns {
                    match wanted.is_kept && column.kind == "regular" && !found.has(name, column) {
                        true => missing.push(lacking(&session.settings.keyspace, name, column)),
                        false => differing.extend(differs(&found, name, column)),
                    }
                }
            }
            Kind::Index if found.indexes.contains(name) => {}
            Kind::Table(_) | Kind::Index => missing.push(whole()),
        }
    }
    Ok((missing, differing))
}

/// A column that a table of an earlier version lacks.
fn lacking(keyspace: &str, table: &str, column: &Wished) -> Missing {
    let Wished { name, ty, .. } = column;
    let statement = format!("ALTER TABLE {}.{table} ADD {name} {ty};", quoted(keyspace));
    Missing { what: format!("column {name:?} of table {table:?}"), statement }
}

fn differs(found: &Found, table: &str, wished: &Wished) -> Option<String> {
    let place = |ty: &str, kind: &str, position: i32, order: &str| match kind {
        "clustering" => format!("{ty} in place {} of the clustering, {order}", position + 1),
        "partition_key" => format!("{ty} in place {} of the partition", position + 1),
        "static" => format!("{ty}, static"),
        _ => ty.to_owned(),
    };
    let wanted = place(&plain(&wished.ty), wished.kind, wished.position, wished.order);
    let there = match found.columns.get(&(table.to_owned(), wished.name.clone())) {
        None => return Some(altered("table", table, &format!("has no column {:?}", wished.name), &wanted)),
        Some((ty, kind, position, order)) => place(&plain(ty), kind, *position, order),
    };
    (there != wanted)
        .then(|| altered("table", table, &format!("has column {:?} as {there}", wished.name), &wanted))
}

fn altered(kind: &str, name: &str, there: &str, wanted: &str) -> String {
    format!(
        "{kind} {name:?} {there}, where these definitions need {wanted}: it was altered by hand; alter it back, or drop it \
         and run `kinora apply`"
    )
}

fn shown(fields: &[(String, String)]) -> String {
    fields.iter().map(|(name, ty)| format!("{name} {ty}")).collect::<Vec<_>>().join(", ")
}

/// A type without what is written in several ways.
fn plain(ty: &str) -> String {
    ty.chars().filter(|letter| !matches!(letter, '"' | ' ')).collect()
}

async fn found(session: &Session) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let keyspace = || Binds::default().text(&session.settings.keyspace);
    rows(session, names::TABLES, Reads::Usual, keyspace(), |row| {
        found.tables.insert(row.text(0)?.to_owned());
        Ok(())
    })
    .await?;
    rows(session, names::COLUMNS, Reads::Usual, keyspace(), |row| {
        let name = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
        let column = (row.text(2)?.to_owned(), row.text(3)?.to_owned(), row.int(4)?, row.text(5)?.to_owned());
        found.columns.insert(name, column);
        Ok(())
    })
    .await?;
    rows(session, names::TYPES, Reads::Usual, keyspace(), |row| {
        found.types.insert(row.text(0)?.to_owned(), (texts(row.bytes(1)?)?, texts(row.bytes(2)?)?));
        Ok(())
    })
    .await?;
    rows(session, names::INDEXES, Reads::Usual, keyspace(), |row| {
        found.indexes.insert(row.text(0)?.to_owned());
        Ok(())
    })
    .await?;
    Ok(found)
}

fn texts(bytes: &[u8]) -> Result<Vec<String>, StoreError> {
    let list = read(bytes, &CellType::List(Box::new(CellType::Scalar(Scalar::String))));
    match list.map_err(|error| StoreError::Corrupt(format!("Cassandra's own schema: {error}")))? {
        Value::List(items) => Ok(items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()),
        _ => Ok(Vec::new()),
    }
}

/// The replication of the keyspace, such as `class: SimpleStrategy, replication_factor: 1`.
pub(super) async fn replication(session: &Session) -> Result<Option<String>, StoreError> {
    let mut found = None;
    let keyspace = Binds::default().text(&session.settings.keyspace);
    let text = || CellType::Scalar(Scalar::String);
    let ty = CellType::Map(Box::new(text()), Box::new(text()));
    rows(session, names::KEYSPACE, Reads::Usual, keyspace, |row| {
        let entries = read(row.bytes(0)?, &ty);
        if let Ok(Value::Map(entries)) = entries {
            let shown = entries.iter().map(|(name, value)| {
                let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                format!("{}: {}", of(name), of(value).rsplit('.').next().unwrap_or_default())
            });
            found = Some(shown.collect::<Vec<_>>().join(", "));
        }
        Ok(())
    })
    .await?;
    Ok(found)
}

/// Makes the keyspace where it is not there; answers the statement where it was run.
pub(super) async fn make_keyspace(session: &Session) -> Result<Option<String>, StoreError> {
    let keyspace = &session.settings.keyspace;
    if replication(session).await?.is_some() {
        return Ok(None);
    }
    let Some(wanted) = session.settings.replication.as_deref() else {
        return Err(StoreError::Refused(format!(
            "keyspace {keyspace:?} is not there, and nothing says how it is replicated: set `cassandra.replication`, like \
             \"datacenter1: 3\""
        )));
    };
    let statement = create_keyspace(keyspace, Some(wanted));
    session.change_schema(statement.trim_end_matches(';')).await?;
    Ok(Some(statement))
}

async fn check_keyspace(session: &Session) -> Result<(), StoreError> {
    let keyspace = &session.settings.keyspace;
    let wanted = session.settings.replication.as_deref();
    match (replication(session).await?, wanted) {
        (None, _) => Err(StoreError::Refused(format!(
            "there is no keyspace {keyspace:?} (cassandra.keyspace); whoever runs the cluster makes it, for instance:\n{}",
            create_keyspace(keyspace, wanted)
        ))),
        (Some(found), Some(wanted))
            if !parts(wanted).all(|part| found.split(", ").any(|there| there == part)) =>
        {
            Err(StoreError::Refused(format!(
                "keyspace {keyspace:?} is replicated as {found}, where cassandra.replication says {wanted}"
            )))
        }
        _ => Ok(()),
    }
}

fn parts(replication: &str) -> impl Iterator<Item = &str> {
    replication.split(',').map(str::trim)
}

/// A statement that makes the keyspace.
fn create_keyspace(keyspace: &str, replication: Option<&str>) -> String {
    let parts = parts(replication.unwrap_or("datacenter1: 3"))
        .filter_map(|part| part.split_once(':'))
        .map(|(name, count)| format!(", '{}': {}", name.trim(), count.trim()));
    format!(
        "CREATE KEYSPACE {} WITH replication = {{'class': 'NetworkTopologyStrategy'{}}};",
        quoted(keyspace),
        parts.collect::<String>()
    )
}

const LEASE: &str = "schema";
/// How long whoever holds the lease is waited for: it ends by itself when its holder is gone.
const LEASE_WAIT: Duration = Duration::from_secs(150);
const LEASE_PAUSE: Duration = Duration::from_millis(250);

/// The right to change the schema, of one process at a time.
struct Lease<'s> {
    session: &'s Session,
    holder: String,
}

impl Lease<'_> {
    async fn take(session: &Session) -> Result<Lease<'_>, StoreError> {
        let holder = format!("{:032x}", fastrand::u128(..));
        let until = Instant::now() + LEASE_WAIT;
        loop {
            let taken = match applied(session, names::LEASE, Binds::default().text(LEASE).text(&holder)).await
            {
                // Another makes it at this moment: it is listed, and not there yet.
                Err(StoreError::Refused(text))
                    if text.contains("does not exist") && Instant::now() < until =>
                {
                    tokio::time::sleep(LEASE_PAUSE).await;
                    continue;
                }
                taken => taken?,
            };
            if taken {
                return Ok(Lease { session, holder });
            }
            let lease = Lease { session, holder: holder.clone() };
            // One that was sent twice finds itself.
            if lease.keep().await.is_ok() {
                return Ok(lease);
            }
            if Instant::now() > until {
                return Err(StoreError::Unavailable(format!(
                    "another process has been changing the schema for {LEASE_WAIT:?}; end it, or wait for it"
                )));
            }
            tokio::time::sleep(LEASE_PAUSE).await;
        }
    }

    async fn keep(&self) -> Result<(), StoreError> {
        let binds = Binds::default().text(&self.holder).text(LEASE).text(&self.holder);
        match applied(self.session, names::KEEP_LEASE, binds).await? {
            true => Ok(()),
            false => Err(StoreError::Unavailable(
                "the right to change the schema was lost to another process; run it again".to_owned(),
            )),
        }
    }

    async fn end(self) -> Result<(), StoreError> {
        applied(self.session, names::END_LEASE, Binds::default().text(LEASE).text(&self.holder))
            .await
            .map(drop)
    }
}

/// Whether there is a table for the manifest: before the first `apply` there is none.
pub(super) async fn has_manifest(session: &Session) -> Result<bool, StoreError> {
    check_keyspace(session).await?;
    Ok(found(session).await?.tables.contains(KEPT[0].name))
}

/// Whether all of the engine's own tables are there.
pub(super) async fn is_prepared(session: &Session) -> Result<bool, StoreError> {
    check_keyspace(session).await?;
    let found = found(session).await?;
    Ok(KEPT.iter().all(|kept| found.tables.contains(kept.name)))
}
