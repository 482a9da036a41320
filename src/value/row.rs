//! The bytes of rows: one encoding for every store that keeps bytes.
//!
//! Goes in: an offset, the live flag and cells. Goes out: bytes, and the row back, whole or only some of its
//! columns. Every cell says its kind and length, so a pruned read steps over what it does not want. Null is not
//! written. The format is on disk: its first byte is its version, and tests pin it.
//!
//! Layout: version (1 byte), live (1 byte), offset (8 bytes, big-endian), then for each cell its column number
//! (varint), its kind (1 byte) and its content. Fixed kinds have 1, 4, 8 or 16 bytes, decimals 16 and a varint,
//! the others a varint length and that many bytes.

use core::net::IpAddr;
use std::sync::Arc;

use super::encode::Malformed;
use super::order::octets;
use super::{Cells, Decimal, Period, Uuid, Value, weight};
use crate::event::Offset;
use crate::schema::ColumnId;

/// Which cells a read wants.
#[derive(Clone, Copy, Debug)]
pub enum Columns<'a> {
    /// All that the table holds. What a fold reads is always read whole.
    All,
    /// Only these, ascending; the others come back as `Null`.
    Only(&'a [ColumnId]),
}

/// Version of the layout; the first byte of each row.
pub const ROW_VERSION: u8 = 1;

const HEAD: usize = 10;
/// Deeper nesting than any column type has: what is deeper is damage, not data.
const DEPTH_MAX: u32 = 16;

/// A row, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedRow {
    pub offset: Offset,
    pub live: bool,
    /// `width` of them.
    pub cells: Vec<Value>,
}

/// The cells of a row that is written: as values, or encoded already, for a store that keeps these bytes. Encoded they take
/// a fraction of the memory.
#[derive(Clone, Debug)]
pub enum RowCells {
    Values(Arc<Cells>),
    Encoded(EncodedRow),
}

impl RowCells {
    /// The cells, one for each column of the entity.
    pub fn values(&self) -> Arc<Cells> {
        match self {
            RowCells::Values(cells) => Arc::clone(cells),
            RowCells::Encoded(row) => Arc::new(row.cells()),
        }
    }

    /// About how many bytes of memory they take.
    pub fn weight(&self) -> usize {
        match self {
            RowCells::Values(cells) => weight(cells),
            RowCells::Encoded(row) => row.bytes.len(),
        }
    }
}

impl From<Arc<Cells>> for RowCells {
    fn from(cells: Arc<Cells>) -> RowCells {
        RowCells::Values(cells)
    }
}

/// A row with all its cells, encoded. A clone is the same bytes.
#[derive(Clone, Debug)]
pub struct EncodedRow {
    bytes: Arc<[u8]>,
    /// How many cells it has, null ones too.
    width: usize,
}

impl EncodedRow {
    /// Encodes a row that is there, or only remembers its position. `scratch` is room to do that in.
    pub fn of(
        offset: Offset,
        state: Option<&Cells>,
        columns: &[ColumnId],
        scratch: &mut Vec<u8>,
    ) -> EncodedRow {
        scratch.clear();
        push_row(scratch, offset, state.is_some(), state.map_or(&[], Vec::as_slice), columns);
        EncodedRow { bytes: scratch.as_slice().into(), width: columns.len() }
    }

    /// The bytes of the whole row.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The row itself.
    pub fn decoded(&self) -> DecodedRow {
        decode_row(&self.bytes, Columns::All, self.width).expect("it was encoded by this page")
    }

    fn cells(&self) -> Cells {
        self.decoded().cells
    }

    /// The row as a table holds it that has only these columns, ascending; `scratch` is empty, and room for it.
    pub fn of_columns<'r>(&'r self, columns: &[ColumnId], scratch: &'r mut Vec<u8>) -> &'r [u8] {
        if columns.len() == self.width {
            return &self.bytes;
        }
        self.push_columns(scratch, columns);
        scratch
    }

    fn push_columns(&self, out: &mut Vec<u8>, columns: &[ColumnId]) {
        out.extend_from_slice(&self.bytes[..HEAD]);
        let mut rest = &self.bytes[HEAD..];
        while !rest.is_empty() {
            let cell = rest;
            let column = take_varint(&mut rest).expect("it was encoded by this page");
            skip_cell(&mut rest).expect("it was encoded by this page");
            if wanted(Columns::Only(columns), column) {
                out.extend_from_slice(&cell[..cell.len() - rest.len()]);
            }
        }
    }
}

/// Encodes a row. Of `cells` only `columns` are written, in that order; null ones are left out.
pub fn encode_row(offset: Offset, live: bool, cells: &[Value], columns: &[ColumnId]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + columns.len() * 16);
    push_row(&mut out, offset, live, cells, columns);
    out
}

/// As [`encode_row`], behind what `out` holds already.
pub fn push_row(out: &mut Vec<u8>, offset: Offset, live: bool, cells: &[Value], columns: &[ColumnId]) {
    out.push(ROW_VERSION);
    out.push(u8::from(live));
    out.extend_from_slice(&offset.to_be_bytes());
    for column in columns {
        if let Some(value) = cells.get(column.0 as usize).filter(|value| !value.is_null()) {
            push_varint(out, u64::from(column.0));
            push_cell(out, value);
        }
    }
}

/// Offset and live flag of a row, without its cells.
///
/// # Errors
/// Too short, or of another version.
pub fn row_head(bytes: &[u8]) -> Result<(Offset, bool), Malformed> {
    let (version, live, offset) = match bytes {
        [version, live, offset @ ..] if offset.len() >= 8 => (*version, *live, &offset[..8]),
        _ => {
            return Err(Malformed(format!(
                "a row has {} bytes, fewer than the {HEAD} of its head",
                bytes.len()
            )));
        }
    };
    if version != ROW_VERSION {
        return Err(Malformed(format!(
            "a row is of version {version}; this program reads version {ROW_VERSION}"
        )));
    }
    let offset = u64::from_be_bytes(offset.try_into().expect("eight bytes were sliced"));
    match live {
        0 | 1 => Ok((offset, live == 1)),
        other => Err(Malformed(format!("a row's live flag is {other}, neither 0 nor 1"))),
    }
}

/// Decodes a row into `width` cells; those not asked for are null.
///
/// # Errors
/// The bytes are not a row of this version, or name a column at or above `width`.
pub fn decode_row(bytes: &[u8], columns: Columns<'_>, width: usize) -> Result<DecodedRow, Malformed> {
    let (offset, live) = row_head(bytes)?;
    let mut cells = Vec::new();
    // Writes a byte for each cell, where cloning a null writes a whole value.
    cells.resize_with(width, Value::default);
    let mut rest = &bytes[HEAD..];
    while !rest.is_empty() {
        let column = take_varint(&mut rest)?;
        let cell = usize::try_from(column)
            .ok()
            .and_then(|index| cells.get_mut(index))
            .ok_or_else(|| Malformed(format!("a row has column {column}, but its table only {width}")))?;
        if wanted(columns, column) {
            *cell = take_cell(&mut rest, DEPTH_MAX)?;
        } else {
            skip_cell(&mut rest)?;
        }
    }
    Ok(DecodedRow { offset, live, cells })
}

fn wanted(columns: Columns<'_>, column: u64) -> bool {
    match columns {
        Columns::All => true,
        Columns::Only(only) => only.binary_search_by_key(&column, |id| u64::from(id.0)).is_ok(),
    }
}

/// Appends one cell: its kind, then its content.
pub(super) fn push_cell(out: &mut Vec<u8>, value: &Value) {
    out.push(value.kind());
    match value {
        Value::Null => {}
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Int(value) | Value::Timestamp(value) | Value::Time(value) => {
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::Float(value) => out.extend_from_slice(&value.to_bits().to_be_bytes()),
        Value::Date(value) => out.extend_from_slice(&value.to_be_bytes()),
        Value::Uuid(value) | Value::TimeUuid(value) => out.extend_from_slice(value.as_bytes()),
        Value::Period(value) => {
            out.extend_from_slice(&value.months.to_be_bytes());
            out.extend_from_slice(&value.days.to_be_bytes());
            out.extend_from_slice(&value.nanos.to_be_bytes());
        }
        Value::Ip(value) => push_sized(out, &octets(value)),
        Value::Decimal(value) => {
            out.extend_from_slice(&value.mantissa.to_be_bytes());
            push_varint(out, u64::from(value.scale));
        }
        Value::Text(text) => push_sized(out, text.as_bytes()),
        Value::Bytes(bytes) => push_sized(out, bytes),
        Value::List(values) | Value::Set(values) | Value::Record(values) => {
            push_nested(out, |inner| values.iter().for_each(|value| push_cell(inner, value)));
        }
        Value::Map(entries) => push_nested(out, |inner| {
            for (key, value) in entries {
                push_cell(inner, key);
                push_cell(inner, value);
            }
        }),
    }
}

fn push_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes the content in place after a length of four bytes: what is inside is never copied again.
fn push_nested(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    content(out);
    let len = u32::try_from(out.len() - at - 4).expect("a cell is far below 4 GiB");
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

fn take_cell(bytes: &mut &[u8], depth: u32) -> Result<Value, Malformed> {
    let [kind] = take_array(bytes)?;
    Ok(match kind {
        0 => Value::Null,
        1 => match take_array(bytes)? {
            [flag @ (0 | 1)] => Value::Bool(flag == 1),
            [other] => return Err(Malformed(format!("a boolean cell is {other}, neither 0 nor 1"))),
        },
        2 => Value::Int(i64::from_be_bytes(take_array(bytes)?)),
        3 => Value::Float(f64::from_bits(u64::from_be_bytes(take_array(bytes)?))),
        4 => {
            let mantissa = i128::from_be_bytes(take_array(bytes)?);
            let scale = u32::try_from(take_varint(bytes)?)
                .map_err(|_| Malformed("the scale of a decimal cell is above 32 bits".to_owned()))?;
            Value::Decimal(Decimal { mantissa, scale })
        }
        5 => {
            let text = std::str::from_utf8(take_sized(bytes)?)
                .map_err(|error| Malformed(format!("a text cell is not UTF-8: {error}")))?;
            Value::Text(text.into())
        }
        6 => Value::Timestamp(i64::from_be_bytes(take_array(bytes)?)),
        7 => Value::Date(i32::from_be_bytes(take_array(bytes)?)),
        8 => Value::Time(i64::from_be_bytes(take_array(bytes)?)),
        9 => Value::Uuid(Uuid::from_bytes(take_array(bytes)?)),
        10 => Value::Bytes(take_sized(bytes)?.into()),
        11 => Value::List(take_cells(bytes, depth)?),
        12 => Value::Set(take_cells(bytes, depth)?),
        13 => Value::Map(take_entries(bytes, depth)?),
        14 => Value::Record(take_cells(bytes, depth)?),
        15 => Value::TimeUuid(Uuid::from_bytes(take_array(bytes)?)),
        16 => Value::Period(Period {
            months: i32::from_be_bytes(take_array(bytes)?),
            days: i32::from_be_bytes(take_array(bytes)?),
            nanos: i64::from_be_bytes(take_array(bytes)?),
        }),
        17 => Value::Ip(ip(take_sized(bytes)?)?),
        other => return Err(unknown_kind(other)),
    })
}

/// An address from its 4 or 16 bytes.
pub(super) fn ip(bytes: &[u8]) -> Result<IpAddr, Malformed> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let wrong = |_| Malformed(format!("an address has 4 or 16 bytes, not {}", bytes.len()));
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).map_err(wrong)
}

fn take_cells(bytes: &mut &[u8], depth: u32) -> Result<Vec<Value>, Malformed> {
    let depth = deeper(depth)?;
    let mut inner = take_nested(bytes)?;
    let mut cells = Vec::new();
    while !inner.is_empty() {
        cells.push(take_cell(&mut inner, depth)?);
    }
    Ok(cells)
}

fn take_entries(bytes: &mut &[u8], depth: u32) -> Result<Vec<(Value, Value)>, Malformed> {
    let depth = deeper(depth)?;
    let mut inner = take_nested(bytes)?;
    let mut entries = Vec::new();
    while !inner.is_empty() {
        let key = take_cell(&mut inner, depth)?;
        entries.push((key, take_cell(&mut inner, depth)?));
    }
    Ok(entries)
}

fn deeper(depth: u32) -> Result<u32, Malformed> {
    depth.checked_sub(1).ok_or_else(|| Malformed(format!("a cell is nested deeper than {DEPTH_MAX}")))
}

fn skip_cell(bytes: &mut &[u8]) -> Result<(), Malformed> {
    let [kind] = take_array(bytes)?;
    match kind {
        0 => {}
        1 => drop(take_array::<1>(bytes)?),
        7 => drop(take_array::<4>(bytes)?),
        2 | 3 | 6 | 8 => drop(take_array::<8>(bytes)?),
        9 | 15 | 16 => drop(take_array::<16>(bytes)?),
        4 => {
            take_array::<16>(bytes)?;
            take_varint(bytes)?;
        }
        5 | 10 | 17 => drop(take_sized(bytes)?),
        11..=14 => drop(take_nested(bytes)?),
        other => return Err(unknown_kind(other)),
    }
    Ok(())
}

fn unknown_kind(kind: u8) -> Malformed {
    Malformed(format!("a cell has kind {kind}, which this version does not know"))
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let Some((head, rest)) = bytes.split_first_chunk::<N>() else {
        return Err(Malformed(format!("a cell of {N} bytes has only {}", bytes.len())));
    };
    *bytes = rest;
    Ok(*head)
}

fn take_sized<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = take_varint(bytes)?;
    take_slice(bytes, len)
}

fn take_nested<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = u32::from_be_bytes(take_array(bytes)?);
    take_slice(bytes, u64::from(len))
}

fn take_slice<'a>(bytes: &mut &'a [u8], len: u64) -> Result<&'a [u8], Malformed> {
    let (head, rest) = usize::try_from(len)
        .ok()
        .and_then(|len| bytes.split_at_checked(len))
        .ok_or_else(|| Malformed(format!("a cell of {len} bytes has only {}", bytes.len())))?;
    *bytes = rest;
    Ok(head)
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    // Nearly all are column numbers and short lengths.
    if let [byte @ ..0x80, rest @ ..] = bytes {
        let value = u64::from(*byte);
        *bytes = rest;
        return Ok(value);
    }
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take_array(bytes)?;
        let bits = u64::from(byte & 0x7F);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed("a number in a row is above 64 bits".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Vec<Value> {
        vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(-2),
            Value::Float(1.5),
            Value::Decimal(Decimal { mantissa: -150, scale: 2 }),
            Value::text("né"),
            Value::Timestamp(1_700_000_000_000),
            Value::Date(-1),
            Value::Time(1),
            Value::Uuid(Uuid::from_u128(7)),
            Value::Bytes(Box::new([0, 255])),
            Value::List(vec![Value::Int(1), Value::Null]),
            Value::Set(vec![Value::text("a")]),
            Value::Map(vec![(Value::text("k"), Value::Record(vec![Value::Bool(false), Value::Null]))]),
            Value::Record(vec![]),
            Value::TimeUuid(Uuid::from_u128(7)),
            Value::Period(Period { months: 1, days: -2, nanos: 3 }),
            Value::Ip([127, 0, 0, 1].into()),
        ]
    }

    fn all(width: u32) -> Vec<ColumnId> {
        (0..width).map(ColumnId).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_row_of_every_kind_comes_back() {
        let cells = every_kind();
        let bytes = encode_row(9, true, &cells, &all(18));
        let row = decode_row(&bytes, Columns::All, 18).expect("decodes");
        assert_eq!(row, DecodedRow { offset: 9, live: true, cells });
    }

    #[test]
    fn the_format_is_pinned() {
        let bytes = encode_row(258, false, &every_kind(), &all(18));
        assert_eq!(
            hex(&bytes),
            "01000000000000000102\
             010101\
             0202fffffffffffffffe\
             03033ff8000000000000\
             0404ffffffffffffffffffffffffffffff6a02\
             0505036ec3a9\
             06060000018bcfe56800\
             0707ffffffff\
             08080000000000000001\
             090900000000000000000000000000000007\
             0a0a0200ff\
             0b0b0000000a02000000000000000100\
             0c0c00000003050161\
             0d0d0000000b05016b0e00000003010000\
             0e0e00000000\
             0f0f00000000000000000000000000000007\
             101000000001fffffffe0000000000000003\
             1111047f000001"
        );
    }

    #[test]
    fn of_an_encoded_row_a_table_gets_its_columns_as_if_they_alone_had_been_encoded() {
        let cells = every_kind();
        let row = EncodedRow::of(7, Some(&cells), &all(18), &mut vec![1, 2, 3]);
        assert_eq!(*RowCells::Encoded(row.clone()).values(), cells);
        for columns in [all(18), all(3), vec![ColumnId(2), ColumnId(13), ColumnId(17)], vec![]] {
            let mut scratch = Vec::new();
            let found = row.of_columns(&columns, &mut scratch);
            assert_eq!(found, encode_row(7, true, &cells, &columns), "{columns:?}");
        }
        let gone = EncodedRow::of(8, None, &all(18), &mut Vec::new());
        assert_eq!(gone.bytes(), encode_row(8, false, &[], &[]));
    }

    #[test]
    fn only_the_wanted_cells_are_decoded() {
        let cells = every_kind();
        let bytes = encode_row(1, true, &cells, &all(18));
        for index in 0..18 {
            let only = [ColumnId(index)];
            let row = decode_row(&bytes, Columns::Only(&only), 18).expect("decodes");
            for (at, cell) in row.cells.iter().enumerate() {
                let expected = if at == index as usize { cells[at].clone() } else { Value::Null };
                assert_eq!(*cell, expected, "column {at}");
            }
        }
    }

    #[test]
    fn columns_that_the_table_lacks_are_not_written() {
        let bytes = encode_row(1, true, &every_kind(), &[ColumnId(2)]);
        let row = decode_row(&bytes, Columns::All, 18).expect("decodes");
        assert_eq!(row.cells.iter().filter(|cell| !cell.is_null()).count(), 1);
    }

    #[test]
    fn damaged_bytes_are_errors_and_never_panic() {
        let bytes = encode_row(1, true, &every_kind(), &all(18));
        for len in 0..bytes.len() {
            let _ = decode_row(&bytes[..len], Columns::All, 18);
            let _ = decode_row(&bytes[..len], Columns::Only(&[]), 18);
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let _ = decode_row(&damaged, Columns::All, 18);
                let _ = decode_row(&damaged, Columns::Only(&[]), 18);
            }
        }
        let error = decode_row(&bytes, Columns::All, 17).expect_err("column 17 is too many").to_string();
        assert_eq!(error, "a row has column 17, but its table only 17");
        let error = decode_row(&[7; 12], Columns::All, 1).expect_err("another version").to_string();
        assert_eq!(error, "a row is of version 7; this program reads version 1");
        let error = decode_row(&bytes[..9], Columns::All, 1).expect_err("short").to_string();
        assert_eq!(error, "a row has 9 bytes, fewer than the 10 of its head");
    }

    #[test]
    fn nesting_beyond_the_bound_is_refused() {
        let nest = |depth| (0..depth).fold(Value::Null, |inner, _| Value::List(vec![inner]));
        for (depth, fits) in [(15, true), (16, true), (17, false)] {
            let bytes = encode_row(1, true, &[nest(depth)], &all(1));
            assert_eq!(decode_row(&bytes, Columns::All, 1).is_ok(), fits, "depth {depth}");
        }
    }
}
