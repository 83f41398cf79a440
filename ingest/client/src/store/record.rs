//! How an event stands in the store: its length, a checksum, and what a request needs of it.
//!
//! `length u32 | crc32 u32 | order u64 | time i64 | server u8 | type length u16 | type | members`, little endian. The
//! length is that of what follows the checksum; the checksum covers the record's index, too, so that a record in the
//! wrong place is none.

/// Bytes before the payload.
pub(super) const HEAD: usize = 8;
/// Bytes of the payload before the type.
const FIXED: usize = 8 + 8 + 1 + 2;
/// A length beyond this is damage: no event is so large.
const PAYLOAD_MAX: usize = 4 << 20;

/// An event that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place among all events of the run that took it.
    pub order: u64,
    /// When it happened, in microseconds since 1970.
    pub time_us: i64,
    /// Whether that is by the server's clock; else by the local one.
    pub server_time: bool,
    /// Its type, at most 65,535 bytes.
    pub event_type: String,
    /// The members of its JSON object, without times: `"id":"...",...`.
    pub members: String,
}

impl Record {
    /// Bytes that it takes in the store.
    pub fn bytes(&self) -> u64 {
        (HEAD + FIXED + self.event_type.len() + self.members.len()) as u64
    }

    /// Appends it as it stands at `index`. `false`, and nothing appended, if it is larger than a record may be.
    pub(super) fn write(&self, index: u64, to: &mut Vec<u8>) -> bool {
        let length = FIXED + self.event_type.len() + self.members.len();
        let (Ok(length32), Ok(type_length)) = (u32::try_from(length), u16::try_from(self.event_type.len())) else {
            return false;
        };
        if length > PAYLOAD_MAX {
            return false;
        }
        to.extend_from_slice(&length32.to_le_bytes());
        let checksum = to.len();
        to.extend_from_slice(&[0; 4]);
        to.extend_from_slice(&self.order.to_le_bytes());
        to.extend_from_slice(&self.time_us.to_le_bytes());
        to.push(u8::from(self.server_time));
        to.extend_from_slice(&type_length.to_le_bytes());
        to.extend_from_slice(self.event_type.as_bytes());
        to.extend_from_slice(self.members.as_bytes());
        let crc = checksum_of(index, &to[checksum + 4..]);
        to[checksum..checksum + 4].copy_from_slice(&crc.to_le_bytes());
        true
    }
}

/// The length of the payload after this head, if it can be one.
pub(super) fn payload_length(head: &[u8]) -> Option<usize> {
    let length = usize::try_from(u32::from_le_bytes(*head.first_chunk()?)).ok()?;
    (FIXED..=PAYLOAD_MAX).contains(&length).then_some(length)
}

/// Whether head and payload are a record of this index, unharmed.
pub(super) fn is_sound(index: u64, head: &[u8], payload: &[u8]) -> bool {
    head.get(4..8)
        .and_then(|crc| crc.first_chunk())
        .is_some_and(|crc| u32::from_le_bytes(*crc) == checksum_of(index, payload))
}

/// The order of the record in a payload.
pub(super) fn order(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|order| u64::from_le_bytes(*order))
}

/// The record in a payload whose checksum is right.
pub(super) fn read(payload: &[u8]) -> Option<Record> {
    let (order, rest) = payload.split_first_chunk()?;
    let (time, rest) = rest.split_first_chunk()?;
    let (&server, rest) = rest.split_first()?;
    let (type_length, rest) = rest.split_first_chunk()?;
    let (event_type, members) = rest.split_at_checked(usize::from(u16::from_le_bytes(*type_length)))?;
    Some(Record {
        order: u64::from_le_bytes(*order),
        time_us: i64::from_le_bytes(*time),
        server_time: server != 0,
        event_type: String::from_utf8(event_type.to_vec()).ok()?,
        members: String::from_utf8(members.to_vec()).ok()?,
    })
}

fn checksum_of(index: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_any_flipped_bit_is_seen() {
        let record = Record {
            order: 7,
            time_us: -1,
            server_time: true,
            event_type: "chat.message".into(),
            members: "\"id\":\"é\"".into(),
        };
        let mut bytes = Vec::new();
        assert!(record.write(3, &mut bytes));
        assert_eq!(bytes.len() as u64, record.bytes());
        assert_eq!(payload_length(&bytes), Some(bytes.len() - HEAD));
        assert!(is_sound(3, &bytes[..HEAD], &bytes[HEAD..]));
        assert!(!is_sound(4, &bytes[..HEAD], &bytes[HEAD..]), "the index counts");
        assert_eq!(read(&bytes[HEAD..]), Some(record));
        for bit in 32..bytes.len() * 8 {
            let mut harmed = bytes.clone();
            harmed[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_sound(3, &harmed[..HEAD], &harmed[HEAD..]), "bit {bit}");
        }
    }
}
