//! Columns under construction: one builder per column, fed value by value.
//!
//! Rows that lack a field cost nothing: a column is filled up with nulls only when it meets its next
//! value, or at the end. A column longer than the row at hand has had its value already, which is
//! how a name that occurs twice is noticed.

use crate::tree::{Field, Kind, arrow_fields, element};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Float64Array, Int64Array, ListArray, NullBufferBuilder,
    StringArray, StructArray, new_null_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use std::sync::Arc;

/// A fixed-width column.
#[derive(Debug)]
pub(crate) struct Values<T> {
    values: Vec<T>,
    valid: NullBufferBuilder,
}

impl<T: Copy + Default> Values<T> {
    pub(crate) fn new(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), valid: NullBufferBuilder::new(rows) }
    }

    #[inline]
    pub(crate) fn push(&mut self, value: T) {
        self.values.push(value);
        self.valid.append_non_null();
    }

    #[inline]
    pub(crate) fn push_option(&mut self, value: Option<T>) {
        self.values.push(value.unwrap_or_default());
        self.valid.append(value.is_some());
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    #[inline]
    pub(crate) fn pad(&mut self, len: usize) {
        if self.values.len() < len {
            self.valid.append_n_nulls(len - self.values.len());
            self.values.resize(len, T::default());
        }
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.values.len() {
            self.values.truncate(len);
            self.valid.truncate(len);
        }
    }

    pub(crate) fn parts(mut self) -> (Vec<T>, Option<NullBuffer>) {
        (std::mem::take(&mut self.values), self.valid.finish())
    }
}

/// A column of strings.
#[derive(Debug)]
pub(crate) struct Texts {
    /// Values that the batch is expected to hold.
    rows: usize,
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
}

impl Texts {
    pub(crate) fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { rows, bytes: Vec::new(), offsets, valid: NullBufferBuilder::new(rows) }
    }

    /// Adds a value. The decoder bounds a batch so that its offsets fit 31 bits.
    #[inline]
    pub(crate) fn push(&mut self, text: &[u8]) {
        if self.bytes.capacity() - self.bytes.len() < text.len() {
            self.grow(text.len());
        }
        self.bytes.extend_from_slice(text);
        self.offset();
        self.valid.append_non_null();
    }

    /// Makes room for as much as the values so far let expect of the rest, so that large columns are
    /// not moved over and over.
    #[cold]
    fn grow(&mut self, least: usize) {
        let (used, values) = (self.bytes.len(), self.len());
        let left = self.rows.saturating_sub(values);
        let expected = if values < 16 { 0 } else { used / values * left / 8 * 9 };
        self.bytes.reserve(expected.max(least));
    }

    #[inline]
    pub(crate) fn push_null(&mut self) {
        self.offset();
        self.valid.append_null();
    }

    #[inline]
    pub(crate) fn push_option(&mut self, text: Option<&[u8]>) {
        match text {
            Some(text) => self.push(text),
            None => self.push_null(),
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "bounded by BATCH_BYTES_MAX")]
    fn offset(&mut self) {
        self.offsets.push(self.bytes.len() as i32);
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    #[inline]
    pub(crate) fn pad(&mut self, len: usize) {
        if self.len() < len {
            self.valid.append_n_nulls(len - self.len());
            let end = self.offsets.last().copied().unwrap_or_default();
            self.offsets.resize(len + 1, end);
        }
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.offsets.truncate(len + 1);
            let end = self.offsets.last().copied().unwrap_or_default();
            self.bytes.truncate(usize::try_from(end).unwrap_or_default());
            self.valid.truncate(len);
        }
    }

    pub(crate) fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(self.bytes), self.valid.finish())?))
    }

    /// The same for values that may be no UTF-8: what can't be read in such a one becomes U+FFFD.
    pub(crate) fn finish_lossy(mut self) -> Result<ArrayRef, ArrowError> {
        let (valid, bytes) = (self.valid.finish(), Buffer::from_vec(self.bytes));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        if let Ok(array) = StringArray::try_new(offsets.clone(), bytes.clone(), valid.clone()) {
            return Ok(Arc::new(array));
        }
        let values = BinaryArray::try_new(offsets, bytes, valid)?;
        Ok(Arc::new(values.iter().map(|value| value.map(String::from_utf8_lossy)).collect::<StringArray>()))
    }

    /// The same as bytes, for what need not be text.
    pub(crate) fn finish_binary(mut self) -> Result<ArrayRef, ArrowError> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let values = Buffer::from_vec(self.bytes);
        Ok(Arc::new(BinaryArray::try_new(offsets, values, self.valid.finish())?))
    }
}

/// A payload column, or what a list holds.
#[derive(Debug)]
pub(crate) enum Builder {
    Int64(Values<i64>),
    Float64(Values<f64>),
    Boolean { values: BooleanBufferBuilder, valid: NullBufferBuilder },
    Utf8(Texts),
    Json(Texts),
    Struct(Object),
    List { offsets: Vec<i32>, valid: NullBufferBuilder, item: Box<Builder>, kind: Kind },
    Foreign { data_type: DataType, len: usize },
}

/// The columns of an object's members.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) columns: Vec<(Box<[u8]>, Builder)>,
    index: hashbrown::HashMap<Box<[u8]>, usize>,
    /// By column, one up (0 is the start of the object): the column that came next the last time.
    next: Vec<usize>,
    fields: Vec<Field>,
    pub(crate) valid: NullBufferBuilder,
}

impl Object {
    pub(crate) fn new(fields: &[Field], rows: usize) -> Self {
        let key = |field: &Field| Box::<[u8]>::from(field.name.as_bytes());
        let columns: Vec<_> = fields.iter().map(|field| (key(field), Builder::new(&field.kind, rows))).collect();
        let mut index = hashbrown::HashMap::with_capacity(columns.len());
        for (place, (name, _)) in columns.iter().enumerate() {
            index.entry(name.clone()).or_insert(place);
        }
        let next = (0..=columns.len()).collect();
        Self { columns, index, next, fields: fields.to_vec(), valid: NullBufferBuilder::new(rows) }
    }

    /// The column of this name. Members mostly come in the order in which they came before, so what
    /// came after `last` (one up, 0 at the start) is tried first.
    #[inline]
    pub(crate) fn find(&mut self, name: &[u8], last: usize) -> Option<usize> {
        let guess = self.next[last];
        match self.columns.get(guess) {
            Some((expected, _)) if **expected == *name => Some(guess),
            _ => {
                let found = self.index.get(name).copied()?;
                self.next[last] = found;
                Some(found)
            }
        }
    }

    pub(crate) fn pad(&mut self, len: usize) {
        if self.valid.len() < len {
            self.valid.append_n_nulls(len - self.valid.len());
        }
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        for (_, column) in &mut self.columns {
            column.truncate(len);
        }
        if len < self.valid.len() {
            self.valid.truncate(len);
        }
    }

    /// The columns' arrays, each `len` long.
    pub(crate) fn finish(self, len: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.into_iter().map(|(_, column)| column.finish(len)).collect()
    }
}

impl Builder {
    pub(crate) fn new(kind: &Kind, rows: usize) -> Self {
        match kind {
            Kind::Int64 => Self::Int64(Values::new(rows)),
            Kind::Float64 => Self::Float64(Values::new(rows)),
            Kind::Boolean => {
                Self::Boolean { values: BooleanBufferBuilder::new(rows), valid: NullBufferBuilder::new(rows) }
            }
            Kind::Utf8 => Self::Utf8(Texts::new(rows)),
            Kind::Json => Self::Json(Texts::new(rows)),
            Kind::Struct(fields) => Self::Struct(Object::new(fields, rows)),
            Kind::List(item) => {
                let mut offsets = Vec::with_capacity(rows + 1);
                offsets.push(0);
                let valid = NullBufferBuilder::new(rows);
                Self::List { offsets, valid, item: Box::new(Self::new(item, rows)), kind: (**item).clone() }
            }
            Kind::Foreign(data_type) => Self::Foreign { data_type: data_type.clone(), len: 0 },
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Int64(values) => values.len(),
            Self::Float64(values) => values.len(),
            Self::Boolean { valid, .. } => valid.len(),
            Self::Utf8(texts) | Self::Json(texts) => texts.len(),
            Self::Struct(object) => object.valid.len(),
            Self::List { offsets, .. } => offsets.len() - 1,
            Self::Foreign { len, .. } => *len,
        }
    }

    /// Fills up with nulls to `len`.
    #[inline]
    pub(crate) fn pad(&mut self, len: usize) {
        if self.len() < len {
            self.fill(len);
        }
    }

    fn fill(&mut self, to: usize) {
        match self {
            Self::Int64(values) => values.pad(to),
            Self::Float64(values) => values.pad(to),
            Self::Boolean { values, valid } => {
                let missing = to - valid.len();
                values.append_n(missing, false);
                valid.append_n_nulls(missing);
            }
            Self::Utf8(texts) | Self::Json(texts) => texts.pad(to),
            Self::Struct(object) => object.pad(to),
            Self::List { offsets, valid, .. } => {
                valid.append_n_nulls(to - valid.len());
                let end = offsets.last().copied().unwrap_or_default();
                offsets.resize(to + 1, end);
            }
            Self::Foreign { len, .. } => *len = to,
        }
    }

    #[inline]
    pub(crate) fn push_null(&mut self) {
        self.fill(self.len() + 1);
    }

    /// Takes back all beyond `to`.
    pub(crate) fn truncate(&mut self, to: usize) {
        if self.len() < to {
            return;
        }
        match self {
            Self::Int64(values) => values.truncate(to),
            Self::Float64(values) => values.truncate(to),
            Self::Boolean { values, valid } => {
                values.truncate(to);
                valid.truncate(to);
            }
            Self::Utf8(texts) | Self::Json(texts) => texts.truncate(to),
            Self::Struct(object) => object.truncate(to),
            Self::List { offsets, valid, item, .. } => {
                offsets.truncate(to + 1);
                valid.truncate(to);
                let end = offsets.last().copied().unwrap_or_default();
                item.truncate(usize::try_from(end).unwrap_or_default());
            }
            Self::Foreign { len, .. } => *len = to,
        }
    }

    /// The array, `len` long.
    pub(crate) fn finish(mut self, len: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(len);
        Ok(match self {
            Self::Int64(values) => {
                let (values, valid) = values.parts();
                Arc::new(Int64Array::try_new(values.into(), valid)?)
            }
            Self::Float64(values) => {
                let (values, valid) = values.parts();
                Arc::new(Float64Array::try_new(values.into(), valid)?)
            }
            Self::Boolean { mut values, mut valid } => {
                let values: BooleanBuffer = values.finish();
                Arc::new(BooleanArray::new(values, valid.finish()))
            }
            Self::Utf8(texts) | Self::Json(texts) => texts.finish()?,
            Self::Struct(mut object) => {
                let (fields, valid) = (arrow_fields(&object.fields), object.valid.finish());
                Arc::new(StructArray::try_new_with_length(fields, object.finish(len)?, valid, len)?)
            }
            Self::List { offsets, mut valid, item, kind } => {
                let items = offsets.last().copied().unwrap_or_default();
                let items = item.finish(usize::try_from(items).unwrap_or_default())?;
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                Arc::new(ListArray::try_new(element(&kind), offsets, items, valid.finish())?)
            }
            Self::Foreign { data_type, len } => new_null_array(&data_type, len),
        })
    }
}
