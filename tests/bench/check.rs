//! Loading and checking a large project: everything that `kinora check` does before it prints.
//!
//! Run `cargo bench --bench check`. A project of 500 read models with 500 projections and their cases is written to a
//! temporary directory, then read, bound, planned and linted, as often as `KINORA_BENCH_TIMES` says (default 9); smaller and larger
//! ones show how the time grows. Wall time, since a person waits for it, and CPU time; medians. `KINORA_BENCH_TYPES`
//! measures one size alone.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::Path;
use std::time::Instant;

use kinora::diagnostic::{self, Severity};
use kinora::engine::{self, Loaded};

#[path = "../../src/allocator.rs"]
mod allocator;
#[path = "pairs.rs"]
mod pairs;
#[path = "usage.rs"]
mod usage;

use pairs::median;
use usage::{cpu_seconds_of_threads, peak_memory_mib};

/// Read models of one schema file.
const TYPES_OF_A_FILE: usize = 10;

fn main() {
    allocator::set_up();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<usize>().expect("a number"));
    let times = number("KINORA_BENCH_TIMES").unwrap_or(9);
    let sizes = number("KINORA_BENCH_TYPES").map_or(vec![125, 250, 500, 1_000], |types| vec![types]);
    println!("check: reading and checking a project, median of {times}");
    for types in sizes {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let bytes = write(folder.path(), types);
        let (mut wall, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..times {
            let (began, before) = (Instant::now(), cpu_seconds_of_threads());
            let loaded = engine::load(folder.path(), &Default::default()).expect("the files can be read");
            wall.push(began.elapsed().as_secs_f64());
            cpu.push(cpu_seconds_of_threads() - before);
            whole(&loaded, types);
        }
        println!(
            "  {types:>5} types and projections, {:>5} KiB: wall {:.3} s, CPU {:.3} s, peak memory {:.0} MiB",
            bytes / 1024,
            median(&mut wall),
            median(&mut cpu),
            peak_memory_mib(),
        );
    }
}

/// It has no finding but remarks, and everything that was written is there.
fn whole(loaded: &Loaded, types: usize) {
    let faults: Vec<_> =
        loaded.findings.iter().filter(|found| found.severity != Severity::Info).cloned().collect();
    let told = diagnostic::render(&faults[..faults.len().min(5)], &loaded.sources, false);
    assert!(faults.is_empty(), "{told}");
    let definitions = loaded.definitions.as_ref().expect("it has no finding");
    assert_eq!((definitions.projections.len(), definitions.cases.len()), (types, types));
    // Each type has a base table and three copies, one of them with a table of its buckets.
    assert!(definitions.plan.tables.len() >= types * 4, "{} tables", definitions.plan.tables.len());
}

/// Writes the project; answers how many bytes it has.
fn write(project: &Path, types: usize) -> usize {
    let (schema, projections) = (project.join("schema"), project.join("projections"));
    for folder in [&schema, &projections] {
        std::fs::create_dir(folder).expect("a folder can be made");
    }
    let mut files = Vec::new();
    for first in (0..types).step_by(TYPES_OF_A_FILE) {
        let text: String = (first..types.min(first + TYPES_OF_A_FILE)).map(|at| ty(at, types)).collect();
        let text = if first == 0 { format!("{COMMON}{text}") } else { text };
        files.push((schema.join(format!("part{first:04}.graphql")), text));
    }
    for at in 0..types {
        files.push((projections.join(format!("thing{at}.yaml")), projection(at)));
        files.push((projections.join(format!("thing{at}.cases.yaml")), cases(at)));
    }
    for (path, text) in &files {
        std::fs::write(path, text).expect("a file can be written");
    }
    files.iter().map(|(_, text)| text.len()).sum()
}

const COMMON: &str = "scalar DateTime\nscalar Decimal\n\
    type Money @shareable @udt { amount: Decimal!  currency: String! }\n\
    type Account @key(fields: \"id\") { id: ID! }\n";

/// A read model with a base table, three copies, reads of each, a value type, an enum, and references: to another
/// subgraph and to another read model.
fn ty(at: usize, types: usize) -> String {
    let next = (at + 7) % types;
    let extend = if at == 0 { "" } else { "extend " };
    format!(
        r#"
enum State{at} {{ OPEN ACTIVE DONE CANCELLED }}
type Part{at} @udt {{ partId: ID!  name: String!  quantity: Int!  price: Money! }}
{extend}type Query {{
  thing{at}(id: ID!): Thing{at} @read
  thing{at}ByCode(code: String!): Thing{at} @read
  things{at}Of(accountId: ID!, first: Int, after: String, last: Int, before: String): Thing{at}Connection! @read(table: "things{at}_by_account")
  things{at}Active(region: ID!, first: Int, after: String): Thing{at}Connection! @read(table: "things{at}_active", max: 500)
}}
"Things of kind {at}: made, changed, and done or cancelled."
type Thing{at} @key(fields: "id")
  @table(name: "things{at}", partition: "id")
  @table(name: "things{at}_by_code", partition: "code", clustering: "id", fields: "id")
  @table(name: "things{at}_by_account", partition: "accountId, month(madeAt)", clustering: "madeAt DESC, id DESC", rows: 500)
  @table(name: "things{at}_active", partition: "region, hash(id, 8)", clustering: "madeAt, id", where: "state == ACTIVE && total.amount > decimal('0')", rows: 5000) {{
  id: ID!
  code: String!
  account: Account @ref(key: "accountId")
  follows: Thing{next} @ref(key: "followsId")
  region: ID!
  state: State{at}!
  title: String!
  note: String
  madeAt: DateTime!
  changedAt: DateTime!
  doneAt: DateTime
  changes: Int!
  total: Money!
  currency: String! @column(hidden: true)
  parts: [Part{at}!]! @column(as: MAP, key: "partId", max: 100)
}}
"#
    )
}

fn projection(at: usize) -> String {
    format!(
        r#"projection: thing{at}
into: Thing{at}
from: {{ topic: things.{at}, format: json, type: event.type, version: event.v, time: event.at, recordKey: event.thingId }}
key: {{ id: event.thingId }}
unknown: park
upcast:
  ThingMade:
    0:
      rename: {{ account: accountId }}
      default: {{ currency: EUR, region: eu }}
events:
  ThingMade:
    create:
      code: event.code.upperAscii()
      accountId: event.accountId
      followsId: event.?followsId
      region: event.region
      state: OPEN
      title: event.title.trim()
      madeAt: event.at
      changedAt: event.at
      changes: 0
      currency: event.currency
  PartAdded:
    when: row.state in [OPEN, ACTIVE]
    update:
      changedAt: event.at
      changes: row.changes + 1
      state: ACTIVE
      parts[event.partId]:
        name: event.name
        quantity: old.quantity.orValue(0) + event.quantity
        price: money(event.price, row.currency)
  PartRemoved:
    - when: row.state == DONE
      update: {{ note: "'removed after it was done: ' + event.partId" }}
    - remove: parts[event.partId]
      update: {{ changedAt: event.at, changes: row.changes + 1 }}
  ThingRenamed: {{ update: {{ title: event.title.trim(), changedAt: event.at }} }}
  ThingDone:
    when: row.state == ACTIVE && row.changes.orValue(0) > 0
    update: {{ state: DONE, doneAt: event.at, changedAt: event.at }}
  ThingCancelled: {{ update: {{ state: CANCELLED, note: event.?reason, changedAt: event.at }} }}
  ThingErased: {{ delete: row }}
compute:
  total: money(row.parts.values().map(p, p.price.amount * p.quantity).sum(), row.currency)
assert: {{ changes are counted from 0: row.changes >= 0 }}
"#
    )
}

fn cases(at: usize) -> String {
    format!(
        r#"cases:
  - name: parts are counted and summed
    given:
      - {{ topic: things.{at}, key: t1, value: {{ type: ThingMade, v: 1, at: "2026-01-01T10:00:00Z", thingId: t1, code: a1, accountId: u1, region: eu, title: " One ", currency: EUR }} }}
      - {{ topic: things.{at}, key: t1, value: {{ type: PartAdded, v: 1, at: "2026-01-01T10:01:00Z", thingId: t1, partId: p1, name: Part, quantity: 2, price: "1.50" }} }}
    rows: {{ Thing{at}: [{{ id: t1, code: A1, state: ACTIVE, title: One, changes: 1 }}] }}
    query: '{{ thing{at}(id: "t1") {{ code total {{ amount }} }} }}'
    answer: {{ thing{at}: {{ code: A1, total: {{ amount: "3.00" }} }} }}
"#
    )
}
