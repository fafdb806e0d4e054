//! What a hostile header can make the decoder allocate. Alone in its process: it counts all memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::BytesMut;
use dynode_client::wire::{WireError, decode};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// A global allocator is unsafe by nature; this one only counts.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(held, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Decodes a frame of `kind` with that header, which must be refused, and returns the most memory held meanwhile.
fn peak(kind: u8, header: &[u8]) -> usize {
    let mut tail = vec![1, kind, 0, 0];
    tail.extend(5_u64.to_le_bytes());
    tail.extend((header.len() as u32).to_le_bytes());
    tail.extend(header);
    let mut frame = BytesMut::new();
    frame.extend((tail.len() as u32).to_le_bytes());
    frame.extend(crc32fast::hash(&tail).to_le_bytes());
    frame.extend(tail);

    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    let decoded = decode(&mut frame);
    let peak = PEAK.load(Relaxed) - before;
    assert!(matches!(decoded, Err(WireError::Header { .. })), "{decoded:?}");
    peak
}

#[test]
fn an_announced_length_allocates_little() {
    // 0xfd: a length of eight bytes follows. Lists that announce far more than what comes.
    let huge = [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let billion = [0xfc, 0, 0, 0, 0x40];
    let mebibyte: usize = 1 << 20;
    for length in [&huge[..], &billion[..]] {
        // Found.siblings, Keys.keys, Put.bucket, PutDone.context
        for kind in [19, 22, 16, 17] {
            let held = peak(kind, length);
            assert!(held <= mebibyte + 4096, "kind {kind}: {held} bytes");
        }
        // LayoutIs.owners: a list of lists, both hostile.
        let layout = [&[1, 1, 0][..], length, length].concat();
        let held = peak(24, &layout);
        assert!(held <= 2 * mebibyte + 4096, "{held} bytes");
    }
    // As many empty lists as eight million bytes of header can name, which the decode limit stops.
    let lists = [&[1, 1, 0, 0xfc, 0, 0, 0x70, 0][..], &vec![0; 0x70_0000]].concat();
    let held = peak(24, &lists);
    assert!((mebibyte..100 * mebibyte).contains(&held), "{held} bytes");
}
