//! Payload bytes to columns, in one pass: each value is parsed once, straight into the builder of
//! its column; only what finds no column is looked at twice.

use crate::builders::{Builder, Object};
use crate::extra::{Overlay, Step};
use crate::scan::{Cursor, NotJson, Number, Text};
use crate::shape::{Disagreement, Shape};
use crate::table::{Additions, Rules};
use crate::tree::Field;
use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use std::collections::BTreeSet;

/// Integers up to here are exact as doubles.
const EXACT_MAX: u64 = 1 << 53;

/// The payload columns of a batch under construction.
#[derive(Debug)]
pub struct PayloadColumns {
    root: Object,
    rows: usize,
    misfits: Misfits,
}

/// What found no column, in one row and in all.
#[derive(Debug, Default)]
struct Misfits {
    /// Where the parser stands, containers only.
    path: Vec<Step>,
    overlay: Overlay,
    /// What the fields named `data` and `attributes` leave over.
    shadowed: Overlay,
    /// Values that went to `extra`.
    count: u64,
    additions: Additions,
    widenings: BTreeSet<Vec<String>>,
    discover: bool,
}

/// What the parser holds while it reads one payload.
struct Row<'a, 'p> {
    payload: &'p [u8],
    rules: Option<&'a Rules>,
    misfits: &'a mut Misfits,
}

/// How a payload's JSON was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// An object: its members went to columns and to the overlay.
    Object,
    /// `null`: an event without data.
    Null,
    /// Another value, which stands in the payload between these two bytes.
    Other(usize, usize),
}

impl PayloadColumns {
    /// Empty columns for `fields`, with room for `rows`.
    pub fn new(fields: &[Field], rows: usize, discover: bool) -> Self {
        let misfits = Misfits { discover, ..Misfits::default() };
        Self { root: Object::new(fields, rows), rows: 0, misfits }
    }

    /// Adds a row of nulls.
    pub fn push_empty(&mut self) {
        self.misfits.clear_row();
        self.rows += 1;
    }

    /// Adds the row of this payload.
    ///
    /// # Errors
    /// If it is no JSON; nothing was added then.
    pub fn push(&mut self, payload: &[u8], rules: Option<&Rules>) -> Result<Taken, NotJson> {
        self.misfits.clear_row();
        let count = self.misfits.count;
        match self.read(payload, rules) {
            Ok(taken) => {
                self.rows += 1;
                Ok(taken)
            }
            Err(error) => {
                self.root.truncate(self.rows);
                self.misfits.clear_row();
                self.misfits.count = count;
                Err(error)
            }
        }
    }

    /// What the last row left over, as the text of an object, and the same for the fields whose
    /// names are shadowed.
    pub(crate) fn overlays(&mut self) -> (Option<&[u8]>, Option<&[u8]>) {
        let Misfits { overlay, shadowed, .. } = &mut self.misfits;
        let text = |overlay: &mut Overlay| !overlay.is_empty();
        let (some, shadows) = (text(overlay), text(shadowed));
        (some.then(|| overlay.finish()), shadows.then(|| shadowed.finish()))
    }

    /// Ends the batch.
    ///
    /// # Errors
    /// Never for what [`Self::push`] took; Arrow checks its arrays once more.
    pub fn finish(self) -> Result<Finished, ArrowError> {
        let Misfits { count, additions, widenings, .. } = self.misfits;
        Ok(Finished { columns: self.root.finish(self.rows)?, extra_values: count, additions, widenings })
    }

    fn read(&mut self, payload: &[u8], rules: Option<&Rules>) -> Result<Taken, NotJson> {
        let text =
            std::str::from_utf8(payload).map_err(|error| NotJson { what: "no UTF-8", at: error.valid_up_to() })?;
        let mut cursor = Cursor::new(text);
        cursor.skip_space();
        let taken = match cursor.peek() {
            b'{' => {
                let mut row = Row { payload, rules, misfits: &mut self.misfits };
                row.object(&mut cursor, &mut self.root, self.rows, 0)?;
                Taken::Object
            }
            b'n' => {
                cursor.null()?;
                Taken::Null
            }
            _ => {
                let start = cursor.at;
                cursor.skip(0)?;
                Taken::Other(start, cursor.at)
            }
        };
        cursor.end()?;
        Ok(taken)
    }
}

/// What a batch's payloads came to.
#[derive(Debug)]
pub struct Finished {
    /// One array per field.
    pub columns: Vec<ArrayRef>,
    /// Values that went to `extra`.
    pub extra_values: u64,
    /// Fields that have no column yet and may get one.
    pub additions: Additions,
    /// Paths of int64 columns that met a value only float64 holds.
    pub widenings: BTreeSet<Vec<String>>,
}

impl Misfits {
    #[inline]
    fn clear_row(&mut self) {
        self.path.clear();
        if !self.overlay.is_empty() {
            self.overlay.clear();
        }
        if !self.shadowed.is_empty() {
            self.shadowed.clear();
        }
    }
}

impl<'p> Row<'_, 'p> {
    /// At `{`: the members of row `row` of `object`.
    #[inline]
    fn object(
        &mut self,
        cursor: &mut Cursor<'p>,
        object: &mut Object,
        row: usize,
        depth: usize,
    ) -> Result<(), NotJson> {
        let mut last = 0;
        cursor.object(depth, |cursor, key| {
            let place = if key.escaped {
                cursor.unescape(key).and_then(|name| object.find(name.as_bytes(), last))
            } else {
                object.find(cursor.slice(key.start, key.end), last)
            };
            let step = Step::Key(key.start, key.end);
            if let Some(place) = place
                && let Some((_, column)) = object.columns.get_mut(place)
                && column.len() <= row
            {
                last = place + 1;
                column.pad(row);
                return self.value(cursor, column, step, depth + 1);
            }
            self.unknown(cursor, key, place.is_some(), depth + 1)
        })
    }

    /// One value into its column.
    #[inline]
    fn value(
        &mut self,
        cursor: &mut Cursor<'p>,
        column: &mut Builder,
        step: Step,
        depth: usize,
    ) -> Result<(), NotJson> {
        let start = cursor.at;
        match (column, cursor.peek()) {
            (Builder::Utf8(texts), b'"') => {
                let text = cursor.string()?;
                if !text.escaped {
                    texts.push(cursor.slice(text.start, text.end));
                } else if let Some(text) = cursor.unescape(text) {
                    texts.push(text.as_bytes());
                } else {
                    texts.push_null();
                    self.leave_over(step, start, cursor.at);
                }
            }
            (Builder::Int64(values), b'-' | b'0'..=b'9') => match as_int64(cursor.number()?) {
                Ok(value) => values.push(value),
                Err(is_float) => {
                    values.push_option(None);
                    self.leave_over(step, start, cursor.at);
                    if is_float {
                        self.widen(step);
                    }
                }
            },
            (Builder::Float64(values), b'-' | b'0'..=b'9') => {
                let value = as_float64(cursor.number()?);
                values.push_option(value);
                if value.is_none() {
                    self.leave_over(step, start, cursor.at);
                }
            }
            (Builder::Boolean { values, valid }, b't' | b'f') => {
                values.append(cursor.boolean()?);
                valid.append_non_null();
            }
            (Builder::Struct(object), b'{') => {
                let row = object.valid.len();
                self.misfits.path.push(step);
                self.object(cursor, object, row, depth)?;
                self.misfits.path.pop();
                object.valid.append_non_null();
            }
            (Builder::List { offsets, valid, item, .. }, b'[') => {
                self.misfits.path.push(step);
                cursor.array(depth, |cursor, index| self.value(cursor, item, Step::Index(index), depth + 1))?;
                self.misfits.path.pop();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_possible_wrap,
                    reason = "bounded by BATCH_BYTES_MAX"
                )]
                offsets.push(item.len() as i32);
                valid.append_non_null();
            }
            (column, b'n') => {
                cursor.null()?;
                column.push_null();
            }
            (Builder::Json(texts), _) => {
                cursor.skip(depth)?;
                texts.push(cursor.slice(start, cursor.at));
            }
            (column, _) => {
                cursor.skip(depth)?;
                column.push_null();
                self.leave_over(step, start, cursor.at);
            }
        }
        Ok(())
    }

    /// The value of a field that has no column, or had its value already.
    #[cold]
    fn unknown(&mut self, cursor: &mut Cursor<'p>, key: Text, again: bool, depth: usize) -> Result<(), NotJson> {
        let start = cursor.at;
        if cursor.peek() == b'n' {
            return cursor.null();
        }
        let name = (self.misfits.discover && !again).then(|| cursor.unescape(key)).flatten();
        match name {
            Some(name) if !self.is_closed() => {
                let shape = Shape::of(cursor, depth)?;
                let path = self.names(None);
                self.misfits.additions.note(path, &name, shape, Disagreement::FirstWins);
            }
            _ => cursor.skip(depth)?,
        }
        self.leave_over(Step::Key(key.start, key.end), start, cursor.at);
        Ok(())
    }

    /// Whether the schema says that the object at the path has no other members than its own.
    fn is_closed(&self) -> bool {
        self.rules.is_some_and(|rules| rules.is_closed(&self.names(None)))
    }

    /// The path's names and the leaf's, as the payload means them; items have none.
    fn names(&self, leaf: Option<Step>) -> Vec<String> {
        let name = |step: Step| match step {
            Step::Key(start, end) => {
                let quoted = self.payload.get(start - 1..=end)?;
                serde_json::from_slice::<String>(quoted).ok()
            }
            Step::Index(_) => None,
        };
        self.misfits.path.iter().copied().chain(leaf).filter_map(name).collect()
    }

    #[cold]
    fn widen(&mut self, step: Step) {
        let path = self.names(Some(step));
        self.misfits.widenings.insert(path);
    }

    /// To `extra`, as it stands.
    #[cold]
    fn leave_over(&mut self, leaf: Step, start: usize, end: usize) {
        let Misfits { path, overlay, shadowed, count, .. } = &mut *self.misfits;
        *count += 1;
        let top = path.first().copied().unwrap_or(leaf);
        let is_shadowed = match top {
            Step::Key(start, end) => {
                let name = &self.payload[start..end];
                let name = if name.contains(&b'\\') {
                    serde_json::from_slice::<String>(&self.payload[start - 1..=end]).unwrap_or_default().into_bytes()
                } else {
                    name.to_vec()
                };
                matches!(name.as_slice(), b"data" | b"attributes")
            }
            Step::Index(_) => false,
        };
        let overlay = if is_shadowed { shadowed } else { overlay };
        overlay.add(self.payload, path, leaf, &self.payload[start..end]);
    }
}

/// The integer that a number is; otherwise whether a double holds it.
#[inline]
fn as_int64(number: Number) -> Result<i64, bool> {
    match number {
        Number::Integer(value) => Ok(value),
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "whole, and at most 2^53")]
        Number::Float(value) if value.fract() == 0.0 && value.abs() <= EXACT_MAX as f64 => Ok(value as i64),
        Number::Float(_) => Err(true),
        Number::Beyond => Err(false),
    }
}

/// The double that a number is; none if it would be another integer than the one sent.
#[inline]
pub(crate) fn as_float64(number: Number) -> Option<f64> {
    match number {
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "checked to be exact")]
        Number::Integer(value) => {
            let double = value as f64;
            (value.unsigned_abs() <= EXACT_MAX || double as i128 == i128::from(value)).then_some(double)
        }
        Number::Float(value) => Some(value),
        Number::Beyond => None,
    }
}
