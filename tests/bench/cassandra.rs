//! What a write costs: rows of a batch committed to a real Cassandra by the store, beside the raw driver sending the same
//! statements in the same groups, interleaved in one run.
//!
//! Run `KINORA_REAL=1 cargo bench --bench cassandra`; it starts a node, or uses that of `KINORA_TEST_CASSANDRA=host:port`.
//! `KINORA_BENCH_ROWS` says how many rows each measurement writes (default 60,000), `KINORA_BENCH_PAIRS` how many pairs
//! there are (default 5). Each row is replaced: a delete one below its stamp, and its cells. CPU is this process's.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, StreamExt};
use kinora::config::Cassandra;
use kinora::diagnostic::Sources;
use kinora::plan::key::row_key;
use kinora::plan::{Plan, TableId, TableRole, plan};
use kinora::schema::{self, ReadModel};
use kinora::store::cassandra::CassandraStore;
use kinora::store::{Batch, Mutation, Store, Tables};
use kinora::value::Value;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;
use scylla::statement::batch::{Batch as DriverBatch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;

#[path = "../../src/allocator.rs"]
mod allocator;
#[path = "pairs.rs"]
mod pairs;
#[path = "../servers/mod.rs"]
mod servers;
#[path = "usage.rs"]
mod usage;

const SCHEMA: &str = r#"
scalar DateTime
type Query { order(id: ID!): Order @read ordersOf(user: ID!, first: Int, after: String): OrderConnection! @read }
type Order @key(fields: "id") @table(name: "orders", partition: "id")
  @table(name: "orders_by_user", partition: "user", clustering: "placedAt DESC, id", rows: 10000) {
  id: ID! user: ID! placedAt: DateTime! status: String! currency: String! total: String! city: String! street: String!
  carrier: String! note: String!
}
"#;
const CONCURRENT: usize = 128;
/// Rows of one batch of the store, as the write loop makes them.
const BATCH: usize = 20_000;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn planned() -> (Arc<ReadModel>, Arc<Plan>) {
    let mut sources = Sources::default();
    let file = sources.add("schema/orders.graphql", SCHEMA);
    let model = schema::load(&[file], &sources).0.expect("the schema is right");
    let plan = plan(&model, &sources).0.expect("it can be planned");
    (Arc::new(model), Arc::new(plan))
}

/// What both sides write: about 230 bytes of values.
#[derive(Clone)]
struct Row {
    user: String,
    id: String,
    at: i64,
}

const REST: [&str; 7] = [
    "PLACED",
    "EUR",
    "1234.50",
    "Frankfurt am Main",
    "Lange Strasse 17, second floor, ring twice",
    "a carrier with a long name, next day",
    "please leave the parcel with the neighbours if nobody is in; they know, and are at home until six",
];

fn rows(count: usize, of_user: usize, round: usize) -> Vec<Row> {
    let one = |at: usize| Row {
        user: format!("user-{round}-{:08}", at / of_user),
        id: format!("order-{round}-{at:08}"),
        at: 1_700_000_000_000 + at as i64,
    };
    (0..count).map(one).collect()
}

struct Ours {
    tables: Arc<dyn Tables>,
    plan: Arc<Plan>,
    table: TableId,
}

impl Ours {
    fn mutations(&self, rows: &[Row], from: usize) -> Vec<Mutation> {
        let table = self.plan.table(self.table);
        let one = |(offset, row): (usize, &Row)| {
            let mut cells =
                vec![Value::text(row.id.as_str()), Value::text(row.user.as_str()), Value::Timestamp(row.at)];
            cells.extend(REST.map(Value::text));
            let key = row_key(table, &cells).expect("no part is null");
            Mutation::Replace {
                table: self.table,
                key,
                cells: Arc::new(cells).into(),
                offset: offset as u64,
                base: 1_000,
            }
        };
        (from..).zip(rows).map(one).collect()
    }

    async fn write(&self, rows: &[Row]) {
        for (number, part) in rows.chunks(BATCH).enumerate() {
            let derived = self.mutations(part, number * BATCH);
            self.tables.commit(Batch { derived, ..Batch::default() }).await.expect("commits");
        }
    }
}

struct Theirs {
    session: Session,
    delete: PreparedStatement,
    insert: PreparedStatement,
}

impl Theirs {
    async fn new(address: &str, keyspace: &str) -> Theirs {
        let profile = ExecutionProfile::builder().consistency(Consistency::LocalQuorum).build();
        let session =
            SessionBuilder::new().known_node(address).default_execution_profile_handle(profile.into_handle());
        let session = session.build().await.expect("the node answers");
        let table = format!("{keyspace}.orders_by_user__g1");
        let delete =
            format!("DELETE FROM {table} USING TIMESTAMP ? WHERE user = ? AND placed_at = ? AND id = ?");
        let insert = format!(
            "INSERT INTO {table} (user, placed_at, id, status, currency, total, city, street, carrier, note) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
        );
        let (mut delete, mut insert) = (
            session.prepare(delete).await.expect("is prepared"),
            session.prepare(insert).await.expect("is prepared"),
        );
        delete.set_is_idempotent(true);
        insert.set_is_idempotent(true);
        Theirs { session, delete, insert }
    }

    async fn write(&self, rows: &[Row], of_user: usize) {
        let one = async |(number, group): (usize, &[Row])| {
            let mut batch = DriverBatch::new(BatchType::Unlogged);
            let mut values = Vec::with_capacity(group.len() * 2);
            for (offset, row) in (number * of_user..).zip(group) {
                let stamp = 1_000 + offset as i64;
                batch.append_statement(self.delete.clone());
                values.push(Values::Delete(stamp - 1, row));
                batch.append_statement(self.insert.clone());
                values.push(Values::Insert(row, stamp));
            }
            self.session.batch(&batch, &values).await.expect("is written");
        };
        let groups = rows.chunks(of_user).enumerate().map(one);
        stream::iter(groups).buffer_unordered(CONCURRENT).collect::<Vec<()>>().await;
    }
}

enum Values<'r> {
    Delete(i64, &'r Row),
    Insert(&'r Row, i64),
}

impl scylla::serialize::row::SerializeRow for Values<'_> {
    fn serialize(
        &self,
        context: &scylla::serialize::row::RowSerializationContext<'_>,
        writer: &mut scylla::serialize::writers::RowWriter<'_>,
    ) -> Result<(), scylla::serialize::SerializationError> {
        match self {
            Values::Delete(stamp, row) => {
                (stamp, &row.user, CqlTimestamp(row.at), &row.id).serialize(context, writer)
            }
            Values::Insert(row, stamp) => {
                let [a, b, c, d, e, f, g] = REST;
                (&row.user, CqlTimestamp(row.at), &row.id, a, b, c, d, e, f, g, stamp)
                    .serialize(context, writer)
            }
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

fn main() {
    allocator::set_up();
    let Some(server) = servers::cassandra() else {
        println!("set KINORA_REAL=1 to start a node, or KINORA_TEST_CASSANDRA=host:port to use one");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("threads can be started");
    let keyspace = format!("kinora_bench_{}", std::process::id());
    let (model, plan) = planned();
    let is_copy = |table: &&Arc<kinora::plan::TablePlan>| table.role == TableRole::Copy;
    let table = plan.tables.iter().find(is_copy).expect("there is a copy").id;
    let (ours, theirs) = runtime.block_on(async {
        let session =
            SessionBuilder::new().known_node(&server.address).build().await.expect("the node answers");
        let replication = "{'class': 'NetworkTopologyStrategy', 'datacenter1': 1}";
        let create = format!("CREATE KEYSPACE {keyspace} WITH replication = {replication}");
        session.query_unpaged(create, ()).await.expect("a keyspace is made");
        let settings = Cassandra {
            nodes: vec![server.address.clone()],
            keyspace: keyspace.clone(),
            concurrent: CONCURRENT,
            ..Cassandra::default()
        };
        let store = CassandraStore::connect(&settings, model).await.expect("connects");
        store.apply(1, &plan).await.expect("applies");
        let tables = store.open(1, &plan).await.expect("opens");
        (Ours { tables, plan, table }, Theirs::new(&server.address, &keyspace).await)
    });
    let (count, pairs) = (number("KINORA_BENCH_ROWS", 60_000), number("KINORA_BENCH_PAIRS", 5));
    println!("{count} rows a measurement, {pairs} pairs, medians");
    for of_user in [1, 5, 20] {
        let (mut ours_cpu, mut theirs_cpu) = (Vec::new(), Vec::new());
        let round = std::cell::Cell::new(0);
        let next = || {
            round.set(round.get() + 1);
            rows(count, of_user, of_user * 1_000 + round.get())
        };
        let measured = |write: &dyn Fn(&[Row]), used: &mut Vec<f64>| {
            let rows = next();
            let (start, before) = (Instant::now(), usage::cpu());
            write(&rows);
            let (seconds, after) = (start.elapsed().as_secs_f64(), usage::cpu());
            used.push((after.user + after.system - before.user - before.system) / count as f64 * 1e6);
            count as f64 / seconds
        };
        let compared = pairs::compared(
            pairs,
            || measured(&|rows| runtime.block_on(ours.write(rows)), &mut ours_cpu),
            || measured(&|rows| runtime.block_on(theirs.write(rows, of_user)), &mut theirs_cpu),
        );
        println!(
            "{of_user:>2} rows a partition: {:>7.0} rows/s, driver {:>7.0}; ratio {:.2} ({:.2} to {:.2}); CPU-s per million {:.1}, driver {:.1}",
            compared.ours,
            compared.theirs,
            compared.ratio,
            compared.least,
            compared.greatest,
            pairs::median(&mut ours_cpu),
            pairs::median(&mut theirs_cpu),
        );
    }
    runtime.block_on(async {
        let drop = format!("DROP KEYSPACE {keyspace}");
        theirs.session.query_unpaged(drop, ()).await.expect("the keyspace is dropped");
    });
}
