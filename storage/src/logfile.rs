//! Is a log file of RocksDB's whole to its last byte?
//!
//! RocksDB takes a record that goes past the end of its file for one that a power cut tore, and drops it. A flipped bit in
//! the length of the last record looks the same, and with the last record of a manifest goes a whole table: some
//! spaces would be as they were before, others not. So whoever opens a database asks here first, and treats a torn manifest
//! as damage. The form (`db/log_format.h`): blocks of 32 KiB; records of a masked CRC-32C of type and payload (4 bytes),
//! the payload's length (2), the type (1), and the payload; what is left of a block below a header's size is zero.

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;
const MASK_DELTA: u32 = 0xa282_ead8;

/// What does not fit, and where; `None`: every byte is part of a sound record.
pub(crate) fn flaw(file: &[u8]) -> Option<String> {
    let mut at = 0;
    let mut inside = false;
    while at < file.len() {
        let left = BLOCK - at % BLOCK;
        if left < HEADER {
            let end = (at + left).min(file.len());
            if file[at..end].iter().any(|b| *b != 0) {
                return Some(format!("rubbish at the end of a block, byte {at}"));
            }
            at = end;
            continue;
        }
        let Some(head) = file.get(at..at + HEADER) else { return Some(format!("a torn record at byte {at}")) };
        let length = usize::from(u16::from_le_bytes([head[4], head[5]]));
        let end = at + HEADER + length;
        if HEADER + length > left || end > file.len() {
            return Some(format!("a record at byte {at} goes past its end"));
        }
        let said = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        if masked(crc32c(&file[at + 6..end])) != said {
            return Some(format!("the checksum of the record at byte {at} does not fit"));
        }
        // 1: whole; 2, 3, 4: first, middle and last part. Each is told apart from torn ones by what comes before.
        let fits = match head[6] {
            1 | 2 => !inside,
            3 | 4 => inside,
            _ => false,
        };
        if !fits {
            return Some(format!("a record of an unknown kind at byte {at}"));
        }
        inside = matches!(head[6], 2 | 3);
        at = end;
    }
    inside.then(|| "the last record has no end".into())
}

fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(MASK_DELTA)
}

/// CRC-32C (Castagnoli), bytewise.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ TABLE[usize::from((crc as u8) ^ byte)])
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let (mut crc, mut bit) = (i as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let body = [&[kind], payload].concat();
        let head = masked(crc32c(&body)).to_le_bytes();
        [&head[..], &(payload.len() as u16).to_le_bytes(), &body].concat()
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn every_flipped_bit_and_every_missing_end_is_seen() {
        let mut file = [record(1, b"one"), record(2, &[7; 60]), record(3, b""), record(4, b"end")].concat();
        let room = BLOCK - file.len() - HEADER - 3;
        file.extend(record(1, &vec![1; room]));
        file.extend([0; 3]);
        file.extend(record(1, b"in the next block"));
        assert_eq!(flaw(&file), None);
        assert_eq!(flaw(b""), None);
        for byte in (0..100).chain(file.len() - 30..file.len()) {
            for bit in 0..8 {
                let mut wreck = file.clone();
                wreck[byte] ^= 1 << bit;
                assert!(flaw(&wreck).is_some(), "byte {byte}, bit {bit}");
            }
        }
        for end in 1..24 {
            assert!(flaw(&file[..file.len() - end]).is_some(), "{end} bytes less");
        }
    }
}
