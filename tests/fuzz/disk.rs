//! What lies on the disk: segments of the log, stored rows and keys. What is read is written again as it was.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use kinora::event::{Record, TopicPartition};
use kinora::schema::{self, ColumnType, Order, Scalar};
use kinora::source::broker::{Broker, BrokerSettings};
use kinora::source::{NewRecord, Source};
use kinora::value::encode::{push_part, take_part};
use kinora::value::row::{Columns, decode_row, encode_row, row_head};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use crate::served;

/// A segment of the log: opened and read, or refused as damaged; what was opened can be written to and opened again.
pub fn segment(input: &[u8]) {
    let [anew, bytes @ ..] = input else { return };
    let mut bytes = bytes.to_vec();
    if anew % 2 == 1 {
        sum_anew(&mut bytes);
    }
    let folder = log_of(&bytes);
    let settings = BrokerSettings { sync: false, ..Default::default() };
    let open = || Broker::open_with(&folder, settings).and_then(|broker| Ok((records(&broker)?, broker)));
    let Ok((found, broker)) = open() else { return };
    let record = NewRecord { value: Some(Bytes::from_static(b"{}")), ..NewRecord::default() };
    served::run(broker.append("t", vec![record])).expect("an opened log takes records");
    drop(broker);
    let (again, _) = open().unwrap_or_else(|error| panic!("what was opened once opens again: {error}"));
    assert_eq!(again.len(), found.len() + 1);
    for (before, after) in found.iter().zip(&again) {
        assert_eq!((before.offset, &before.key, &before.value), (after.offset, &after.key, &after.value));
    }
}

/// The bytes of a stored row and of keys: what is read is written again as it was.
pub fn stored(input: &[u8]) {
    const WIDTH: usize = 8;
    let head = row_head(input);
    if let Ok(row) = decode_row(input, Columns::All, WIDTH) {
        assert_eq!(head, Ok((row.offset, row.live)));
        let columns: Vec<_> = (0..WIDTH as u32).map(schema::ColumnId).collect();
        let written = encode_row(row.offset, row.live, &row.cells, &columns);
        let again = decode_row(&written, Columns::All, WIDTH).expect("a written row reads back");
        assert_eq!(format!("{:?}", again.cells), format!("{:?}", row.cells));
    }
    let scalars = [
        Scalar::String,
        Scalar::Boolean,
        Scalar::Int,
        Scalar::Long,
        Scalar::Float,
        Scalar::Decimal,
        Scalar::DateTime,
        Scalar::Uuid,
        Scalar::LocalDate,
        Scalar::LocalTime,
    ];
    for ty in scalars.map(ColumnType::Scalar) {
        for order in [Order::Asc, Order::Desc] {
            let mut rest = input;
            if let Ok(value) = take_part(&mut rest, &ty, order) {
                let mut written = Vec::new();
                push_part(&mut written, &value, order);
                let mut bytes = &written[..];
                let again = take_part(&mut bytes, &ty, order).expect("a written part reads back");
                assert!(again == value && bytes.is_empty(), "{value:?} reads back as {again:?}");
            }
        }
    }
}

/// The folder of a log of one topic and partition with these bytes: made once for each thread.
fn log_of(bytes: &[u8]) -> PathBuf {
    thread_local! {
        static LOG: (TempDir, PathBuf) = {
            let folder = tempfile::tempdir().expect("a folder can be made");
            let settings = BrokerSettings { sync: false, ..Default::default() };
            let broker = Broker::open_with(folder.path(), settings).expect("the log opens");
            broker.create_topic("t", 1).expect("a topic can be made");
            let segment = served::segment(folder.path());
            (folder, segment)
        };
    }
    LOG.with(|(folder, segment)| {
        std::fs::write(segment, bytes).expect("the segment can be written");
        folder.path().to_owned()
    })
}

fn records(broker: &Broker) -> Result<Vec<Record>, kinora::source::SourceError> {
    served::run(async {
        let topic = broker.topic("t").await?.expect("it is there");
        let at = TopicPartition { topic: Arc::clone(&topic.name), partition: 0 };
        let info = &topic.partitions[0];
        let mut reader = broker.read(&[(at, info.start)]).await?;
        let (mut found, mut next) = (Vec::new(), info.start);
        while next < info.end {
            let fetched = reader.next(1 << 20).await?;
            found.extend(fetched.records);
            next = fetched.next;
        }
        Ok(found)
    })
}

/// Makes the checksum of every frame right, so that what the frames say is looked at.
fn sum_anew(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 12) {
        let length = u32::from_be_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let Some(body) = bytes.get(at + 12..).and_then(|rest| rest.get(..length)) else { return };
        let sum = xxh3_64(body).to_be_bytes();
        bytes[at + 4..at + 12].copy_from_slice(&sum);
        at += 12 + length;
    }
}
