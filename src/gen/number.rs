//! Which record this is: stream and number, packed into a number that the tool itself writes.
//!
//! | format | where |
//! |---|---|
//! | EVE | `flow_id` |
//! | Falco | `output_fields["evt.num"]` |
//! | Fail2ban | the process id in brackets |
//! | OSSEC | the alert's id behind its epoch |
//! | ModSecurity | the unique id, before its dot |

use memchr::memmem::find;

/// The number of a stream takes the upper 24 bits, the record's the lower 40.
const BITS: u32 = 40;
/// So many streams there are at most.
pub const MAX_STREAMS: u32 = 1 << 22;

/// Stream and number as one; numbers begin with 1.
pub fn packed(stream: u32, n: u64) -> u64 {
    u64::from(stream) << BITS | n & ((1 << BITS) - 1)
}

/// Stream and number of a record that `vigild gen` made, with or without a syslog header before it.
pub fn number_of(record: &[u8]) -> Option<(u32, u64)> {
    let behind = |mark: &[u8]| find(record, mark).and_then(|i| record.get(i + mark.len()..));
    let json = behind(b"\"flow_id\":").or_else(|| behind(b"\"evt.num\":")).or_else(|| behind(b"\"unique_id\":\""));
    let at = if let Some(digits) = json {
        digits
    } else if let Some(id) = behind(b"** Alert ").or_else(|| behind(b"},\"id\":\"")) {
        id.get(memchr::memchr(b'.', id)? + 1..)?
    } else if let Some(head) = behind(b"-A--\n[") {
        head.get(find(head, b"] ")? + 2..)?
    } else {
        let line = behind(b" fail2ban.")?;
        line.get(memchr::memchr(b'[', line)? + 1..)?
    };
    let digits = at.iter().take_while(|b| b.is_ascii_digit()).count();
    let packed: u64 = std::str::from_utf8(&at[..digits]).ok()?.parse().ok()?;
    Some((u32::try_from(packed >> BITS).ok()?, packed & ((1 << BITS) - 1)))
}
