//! What both ends of a connection agree on, each bound with its reason.
//!
//! A bound here is part of the format: raising one is a new version of the wire, since an older peer would refuse what
//! the newer one sends.

/// Longest bucket name in bytes. Names are repeated in every stored record and every request.
pub const BUCKET_BYTES_MAX: usize = 1024;

/// Longest key in bytes. Keys are repeated in every stored record, index entry and request; longer ones belong in the
/// value.
pub const KEY_BYTES_MAX: usize = 1024;

/// Longest value in bytes. A value is held in memory by the coordinator and by every owner at once, and delays all that
/// waits behind it on a connection: at 1 Gbit/s, 8 MiB already take 70 ms.
pub const VALUE_BYTES_MAX: usize = 8 << 20;

/// Longest content type in bytes. It is stored with every value; the longest in use have about a hundred.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// Most siblings that one key may have; a write that would make one more is refused with
/// [`TooManySiblings`](super::ErrorCode::TooManySiblings). More than a few mean that a writer never reads what it
/// overwrites.
pub const SIBLINGS_MAX: usize = 64;

/// From so many siblings of one key on, a warning metric counts: high enough for a burst of honest conflicts, low enough
/// to see a broken writer long before [`SIBLINGS_MAX`] stops it.
pub const SIBLINGS_WARN: usize = 16;

/// Longest sealed context in bytes. One dot takes about 20 bytes, and a key has at most [`SIBLINGS_MAX`] of them beside
/// the clock's base, which names every actor that ever wrote to the partition and was not closed yet.
pub const CONTEXT_BYTES_MAX: usize = 64 << 10;

/// Most keys in one page of [`Keys`](super::Keys): at the longest keys, a page still is a quarter of [`HEADER_BYTES_MAX`].
pub const KEYS_PAGE_MAX: u32 = 2048;

/// Longest header in bytes. The largest is the largest layout there can be: 65,536 partitions with eight owners each,
/// 1.6 MiB, and 4,096 members with the longest names, 3.2 MiB. A page of [`KEYS_PAGE_MAX`] longest keys has 2.1 MiB.
pub const HEADER_BYTES_MAX: usize = 8 << 20;

/// Longest body in bytes. [`SIBLINGS_MAX`] values of [`VALUE_BYTES_MAX`] would be 512 MiB, which nobody wants to buffer
/// for one answer: eight values of the largest size fit, or 64 of 1 MiB. A key whose siblings together exceed this
/// cannot be answered in one frame; the node says [`TooLarge`](super::ErrorCode::TooLarge) then, and the way out is a
/// write over [`Current`](super::Causality::Current).
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// The fixed part of a frame in bytes, before the header: length, checksum, version, kind, flags, request id, header
/// length.
pub const FIXED_BYTES: usize = 24;

/// Longest name of a request in bytes. It is logged, and has to fit the one byte that says its length.
pub const REQUEST_NAME_BYTES_MAX: usize = 255;

/// Longest [`Trace`](super::Trace) in bytes: trace, step, and a name with its length.
pub const TRACE_BYTES_MAX: usize = 16 + 8 + 1 + REQUEST_NAME_BYTES_MAX;

/// Longest frame in bytes, all included. Whatever announces more is refused when its first four bytes have come.
pub const FRAME_BYTES_MAX: usize = FIXED_BYTES + TRACE_BYTES_MAX + HEADER_BYTES_MAX + BODY_BYTES_MAX;

/// A frame from a client, in bytes: a value, its key and bucket and the largest context, with as much room again for the
/// header's own bytes. What is larger is refused before it is buffered.
pub const REQUEST_BYTES_MAX: usize = FIXED_BYTES + VALUE_BYTES_MAX + 2 * CONTEXT_BYTES_MAX;

/// Longest frame in bytes before the handshake is done: a [`Hello`](super::Hello) has some 40 bytes, a
/// [`Welcome`](super::Welcome) and a [`Failure`](super::Failure) carry a name or a sentence. Strangers cannot make
/// us buffer more.
pub const HANDSHAKE_BYTES_MAX: usize = 4 << 10;

/// How much one header may claim while it is decoded, in bytes as the decoder counts them: decoded sizes, not encoded
/// ones. A length takes one byte on the wire and counts 8; a small `u16` takes one and counts 2. The largest layout
/// (see [`HEADER_BYTES_MAX`]) counts 65,536 × (8 + 8 × 2) = 1.5 MiB beside 3.3 MiB for its members, the longest page of
/// keys 2.1 MiB. 16 MiB leaves room, and bounds what a hostile header can make of a few bytes: at worst two million empty
/// lists, 48 MiB.
pub const DECODED_BYTES_MAX: usize = 16 << 20;

/// Bodies up to so many bytes are copied behind their header, so that many small frames are one contiguous write; longer
/// ones are queued as they are. Copying 16 KiB costs about as much as one more slice in a vectored write.
pub const BODY_COPIED_MAX: usize = 16 << 10;
