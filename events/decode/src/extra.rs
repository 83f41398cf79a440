//! The text of the column `extra`: what found no column, under its path in the payload, in its
//! original bytes.
//!
//! `extra` is an overlay. Where it has a value, the column has none; laid over the columns it gives
//! the payload's content back. Objects are overlaid member by member, arrays item by item, and
//! `null` in an array of the overlay means "see the column". What a top-level field named `data` or
//! `attributes` leaves over stands in an object under `data`, since these two names mean something
//! else at the top: `data` is a payload that is no object, `attributes` are extension attributes.

/// One step of a path, as a place in the payload's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A member; its name's first byte and the byte after its last, quotes excluded.
    Key(usize, usize),
    /// An item.
    Index(usize),
}

/// Writes one object, member by member, in the order of the payload.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    text: Vec<u8>,
    /// The containers that are open inside the outermost object.
    open: Vec<Container>,
    /// Members written so far in the outermost object.
    members: usize,
}

#[derive(Debug)]
struct Container {
    /// What leads to it.
    step: Step,
    is_array: bool,
    /// Members or items written so far.
    written: usize,
}

impl Overlay {
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.open.clear();
        self.members = 0;
    }

    /// Adds the value `raw` at `path` and `leaf`, whose names stand in `payload`. Paths come in the
    /// order of the payload, so that each container is opened once.
    pub(crate) fn add(&mut self, payload: &[u8], path: &[Step], leaf: Step, raw: &[u8]) {
        if self.text.is_empty() {
            self.text.push(b'{');
        }
        let common = self.open.iter().zip(path).take_while(|(open, step)| open.step == **step).count();
        self.close_to(common);
        for (level, &step) in path.iter().enumerate().skip(common) {
            self.begin(payload, step);
            let is_array = matches!(path.get(level + 1).unwrap_or(&leaf), Step::Index(_));
            self.text.push(if is_array { b'[' } else { b'{' });
            self.open.push(Container { step, is_array, written: 0 });
        }
        self.begin(payload, leaf);
        self.text.extend_from_slice(raw);
    }

    /// Closes what is open, and gives the text.
    pub(crate) fn finish(&mut self) -> &[u8] {
        self.close_to(0);
        self.text.push(b'}');
        &self.text
    }

    fn close_to(&mut self, level: usize) {
        while self.open.len() > level {
            let Some(container) = self.open.pop() else { break };
            self.text.push(if container.is_array { b']' } else { b'}' });
        }
    }

    /// Writes what stands before a value: the comma, then the name, or a `null` for each item that
    /// was passed over.
    fn begin(&mut self, payload: &[u8], step: Step) {
        let written = self.open.last_mut().map_or(&mut self.members, |container| &mut container.written);
        if *written > 0 {
            self.text.push(b',');
        }
        match step {
            Step::Key(start, end) => {
                *written += 1;
                self.text.push(b'"');
                self.text.extend_from_slice(&payload[start..end]);
                self.text.extend_from_slice(b"\":");
            }
            Step::Index(index) => {
                for _ in *written..index {
                    self.text.extend_from_slice(b"null,");
                }
                *written = index + 1;
            }
        }
    }
}
