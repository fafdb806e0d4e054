//! The engine on RocksDB: one column family for each space, one write-ahead log, one batch a commit.
//!
//! This is the only file that names `rocksdb`. What it relies on: a `WriteBatch` is atomic and keeps the order of its
//! steps; one write with `sync` makes all before it durable too; every block and every record of the log has a checksum,
//! which is verified when it is read.

mod syncs;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::properties as property;
use rocksdb::statistics::{StatsLevel, Ticker};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator,
    DBRecoveryMode, DataBlockIndexType, ErrorKind, LogLevel, ReadOptions, Snapshot, WriteBatch, WriteOptions,
};
use self_cell::self_cell;

use crate::engine::{Engine, EngineError, Space, Step, View};
use crate::logfile;
use syncs::Syncs;

/// Range deletions in one memtable of the index before it is flushed: each reader sorts them anew after a further one.
const RANGE_DELETIONS_MAX: &str = "2000";

/// Open table files: bounded, since each takes a descriptor; enough for 60 GiB of data.
const OPEN_FILES_MAX: i32 = 1024;

/// RocksDB's own log: so many files of so many bytes are kept.
const LOG_FILES_KEPT: usize = 4;
const LOG_FILE_BYTES: usize = 4 << 20;

/// How much memory the engine may take, and how it treats a damaged log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The block cache, shared by all spaces. Indexes and filters are kept in it too.
    pub block_cache_bytes: usize,
    /// All memtables together.
    pub memtable_bytes: usize,
    /// Threads for flushes and compactions.
    pub background_jobs: u16,
    /// What is done about a damaged write-ahead log.
    pub log_damage: LogDamage,
}

/// What is done when the write-ahead log is damaged.
///
/// A power cut tears the last record, which nobody was promised. But a flipped bit in the length of the last record looks
/// just like that, and then a synced write is gone. So a node first asks for a log that is [`LogDamage::Whole`]. When it
/// has none, it opens with [`LogDamage::Refuse`], and no copy goes on with its life. When that fails too, synced writes may
/// be behind the damage, and it [salvages](crate::salvage) what it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogDamage {
    /// The engine does not open unless the log is whole to its last byte.
    Whole,
    /// A torn record at the very end is dropped. The engine does not open when there is damage elsewhere: synced writes may
    /// be behind it.
    Refuse,
    /// The engine opens as it was before the damage. Copies that were rolled back like this have lost writes that others
    /// may have seen: open the store with [`Past::MayLack`](crate::store::Past::MayLack).
    RollBack,
}

impl Default for Options {
    /// For a node that shares two cores and a few GiB of memory with others.
    fn default() -> Options {
        Options {
            block_cache_bytes: 128 << 20,
            memtable_bytes: 128 << 20,
            background_jobs: 2,
            log_damage: LogDamage::Refuse,
        }
    }
}

/// The numbers worth a metric.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes in memtables, those being flushed included.
    pub memtable_bytes: u64,
    /// Memtables that wait for a flush.
    pub memtables_waiting: u64,
    /// Table files on each level, all spaces together.
    pub files_per_level: Vec<u64>,
    /// Bytes of table files that are in use.
    pub table_bytes: u64,
    /// Bytes that compactions still have to rewrite.
    pub compaction_pending_bytes: u64,
    /// Compactions and flushes under way.
    pub background_running: u64,
    /// Writes are stopped until compactions catch up.
    pub write_stopped: bool,
    /// Writes are slowed down to so many bytes a second; 0: they are not.
    pub write_delayed_bytes_per_s: u64,
    /// Errors of flushes and compactions since the engine was opened.
    pub background_errors: u64,
    /// Bytes in the block cache.
    pub cache_bytes: u64,
    /// The most of them that are kept.
    pub cache_bytes_max: u64,
    /// Of these, bytes that are in use and cannot be evicted.
    pub cache_pinned_bytes: u64,
    /// Blocks that were found in the cache since the engine was opened.
    pub cache_hits: u64,
    /// Blocks that were not.
    pub cache_misses: u64,
    /// Reads of a table that its filter has spared.
    pub filter_useful: u64,
    /// Snapshots that scans hold.
    pub snapshots: u64,
}

/// The place of a failure.
const LOG: &str = "the write-ahead log";

/// Damage that concerns no single space.
const THE_WHOLE: &str = "the database as a whole";

/// Databases that are set aside beside this one; each holds disk space until a person has removed it.
const SET_ASIDE_MAX: usize = 8;

type Families<'a> = [&'a ColumnFamily; 4];

self_cell!(
    /// The database with its column families looked up once.
    struct Database {
        owner: Arc<DB>,
        #[covariant]
        dependent: Families,
    }
);

self_cell!(
    /// A snapshot that keeps its database open.
    struct Kept {
        owner: Arc<DB>,
        #[covariant]
        dependent: Snapshot,
    }
);

/// RocksDB as an [`Engine`].
pub struct RocksEngine {
    database: Database,
    cache: Cache,
    cache_bytes_max: usize,
    /// With which it was opened: they hold what RocksDB counts.
    options: rocksdb::Options,
    syncs: Syncs,
    reads: ReadOptions,
    writes: WriteOptions,
    path: PathBuf,
}

/// A damaged database, to read what can be read of it. Nothing in its directory is changed.
pub struct RocksWreck(Database);

/// The engine as it was when [`Engine::snapshot`] was called. Keep it no longer than needed: it holds disk space.
pub struct RocksSnapshot(Kept);

impl RocksEngine {
    /// Opens the database in a directory of its own, made when it is missing.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<RocksEngine, EngineError> {
        let path = path.as_ref();
        std::fs::create_dir_all(path)
            .map_err(|e| EngineError::Failed(format!("cannot make the directory {}: {e}", path.display())))?;
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        check_files(path)?;
        let families = families(&options, &cache);
        let mut database = database_options(&options);
        // Counters only: times would cost more than what they measure.
        database.enable_statistics();
        database.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
        let opened = DB::open_cf_descriptors(&database, path, families);
        let (db, counting) = (opened.map_err(|e| opening(path, &e))?, database);
        let database = Database::try_new(Arc::new(db), |db| families_of(db))?;
        let index = database.borrow_dependent()[Space::Index.index()];
        let limit = [("memtable_max_range_deletions", RANGE_DELETIONS_MAX)];
        database.borrow_owner().set_options_cf(index, &limit).map_err(|e| failed(Space::Index.name(), &e))?;
        Ok(RocksEngine {
            database,
            cache,
            cache_bytes_max: options.block_cache_bytes,
            options: counting,
            syncs: Syncs::default(),
            reads: ReadOptions::default(),
            writes: WriteOptions::default(),
            path: path.into(),
        })
    }

    /// How the engine is doing.
    pub fn stats(&self) -> Stats {
        let levels = (0..7).map(|level| self.sum(&property::num_files_at_level(level))).collect();
        Stats {
            memtable_bytes: self.sum(property::CUR_SIZE_ALL_MEM_TABLES),
            memtables_waiting: self.sum(property::NUM_IMMUTABLE_MEM_TABLE),
            files_per_level: levels,
            table_bytes: self.sum(property::LIVE_SST_FILES_SIZE),
            compaction_pending_bytes: self.sum(property::ESTIMATE_PENDING_COMPACTION_BYTES),
            background_running: self.one(property::NUM_RUNNING_COMPACTIONS) + self.one(property::NUM_RUNNING_FLUSHES),
            write_stopped: self.one(property::IS_WRITE_STOPPED) != 0,
            write_delayed_bytes_per_s: self.one(property::ACTUAL_DELAYED_WRITE_RATE),
            background_errors: self.sum(property::BACKGROUND_ERRORS),
            cache_bytes: self.cache.get_usage() as u64,
            cache_bytes_max: self.cache_bytes_max as u64,
            cache_pinned_bytes: self.cache.get_pinned_usage() as u64,
            cache_hits: self.options.get_ticker_count(Ticker::BlockCacheHit),
            cache_misses: self.options.get_ticker_count(Ticker::BlockCacheMiss),
            filter_useful: self.options.get_ticker_count(Ticker::BloomFilterUseful),
            snapshots: self.one(property::NUM_SNAPSHOTS),
        }
    }

    fn db(&self) -> &DB {
        self.database.borrow_owner()
    }

    fn family(&self, space: Space) -> &ColumnFamily {
        self.database.borrow_dependent()[space.index()]
    }

    /// A property of the whole database.
    fn one(&self, name: &property::PropName) -> u64 {
        self.db().property_int_value(name).ok().flatten().unwrap_or(0)
    }

    /// A property of each space, added up.
    fn sum(&self, name: &property::PropName) -> u64 {
        Space::ALL.iter().map(|space| self.property(*space, name)).sum()
    }

    fn property(&self, space: Space, name: &property::PropName) -> u64 {
        self.db().property_int_value_cf(self.family(space), name).ok().flatten().unwrap_or(0)
    }
}

impl RocksWreck {
    /// Opens a damaged database. True: its log is whole but for a torn last record, so that no synced write is missing
    /// without a trace.
    pub fn open(path: impl AsRef<Path>, mut options: Options) -> Result<(RocksWreck, bool), EngineError> {
        let path = path.as_ref();
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let mut open = |log_damage, checked: bool| {
            options.log_damage = log_damage;
            let mut db = database_options(&options);
            if !checked {
                // What is there to be read is read, whatever is missing beside it; each copy is checked by itself.
                db.set_paranoid_checks(false);
                db.set_track_and_verify_wals_in_manifest(false);
            }
            let db = DB::open_cf_descriptors_read_only(&db, path, families(&options, &cache), false);
            let db = db.map_err(|e| opening(path, &e))?;
            Ok(RocksWreck(Database::try_new(Arc::new(db), |db| families_of(db))?))
        };
        if check_files(path).is_ok()
            && let Ok(wreck) = open(LogDamage::Refuse, true)
        {
            return Ok((wreck, true));
        }
        open(LogDamage::RollBack, false).map(|wreck| (wreck, false))
    }
}

impl View for RocksWreck {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.0.borrow_owner().get_pinned_cf(self.0.borrow_dependent()[space.index()], key);
        Ok(found.map_err(|e| unread(space, &e))?.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        let open = |reads| self.0.borrow_owner().raw_iterator_cf_opt(self.0.borrow_dependent()[space.index()], reads);
        scan(space, open, Blocks::Leave, from, to, visit)
    }
}

impl View for RocksEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.db().get_pinned_cf_opt(self.family(space), key, &self.reads);
        Ok(found.map_err(|e| unread(space, &e))?.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        let open = |reads| self.db().raw_iterator_cf_opt(self.family(space), reads);
        scan(space, open, Blocks::Keep, from, to, visit)
    }
}

impl View for RocksSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.0.borrow_dependent().get_pinned_cf(family_of(self.0.borrow_owner(), space)?, key);
        Ok(found.map_err(|e| unread(space, &e))?.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        let family = family_of(self.0.borrow_owner(), space)?;
        let open = |reads| self.0.borrow_dependent().raw_iterator_cf_opt(family, reads);
        scan(space, open, Blocks::Leave, from, to, visit)
    }
}

impl Engine for RocksEngine {
    type Snapshot = RocksSnapshot;

    fn snapshot(&self) -> RocksSnapshot {
        RocksSnapshot(Kept::new(Arc::clone(self.database.borrow_owner()), |db| db.snapshot()))
    }

    fn write(&mut self, steps: &[Step], durable: bool) -> Result<(), EngineError> {
        let mut batch = WriteBatch::with_capacity_bytes(64 + steps.iter().map(step_bytes).sum::<usize>());
        let families = self.database.borrow_dependent();
        for step in steps {
            match step {
                Step::Put(space, key, value) => batch.put_cf(families[space.index()], key, value),
                Step::Delete(space, key) => batch.delete_cf(families[space.index()], key),
                // RocksDB refuses a range that ends before it begins; it has no records.
                Step::DeleteRange(_, from, to) if from >= to => {}
                Step::DeleteRange(space, from, to) => batch.delete_range_cf(families[space.index()], from, to),
            }
        }
        self.database.borrow_owner().write_opt(batch, &self.writes).map_err(|e| failed(LOG, &e))?;
        if durable { self.sync() } else { Ok(()) }
    }

    /// By itself, and not as a part of the write, so that its time is known.
    fn sync(&mut self) -> Result<(), EngineError> {
        let database = self.database.borrow_owner();
        self.syncs.time(|| database.flush_wal(true)).map_err(|e| failed(LOG, &e))
    }

    fn set_aside(&mut self, name: &str) -> Result<Option<String>, EngineError> {
        let Some(beside) = self.path.parent() else { return Ok(None) };
        let others = std::fs::read_dir(beside).into_iter().flatten().flatten();
        let set_aside = others.filter(|f| f.file_name().to_string_lossy().starts_with("damaged-")).count();
        let place = beside.join(name);
        if set_aside >= SET_ASIDE_MAX || place.exists() {
            return Ok(None);
        }
        // Hard links to the tables. Whether it succeeds changes nothing about what is to be done.
        let made = Checkpoint::new(self.db()).and_then(|checkpoint| checkpoint.create_checkpoint(&place));
        Ok(made.ok().map(|()| place.display().to_string()))
    }

    fn figures(&self) -> Vec<(&'static str, Vec<u64>)> {
        let stats = self.stats();
        vec![
            ("memtable_bytes", vec![stats.memtable_bytes]),
            ("memtables_waiting", vec![stats.memtables_waiting]),
            ("files_per_level", stats.files_per_level),
            ("table_bytes", vec![stats.table_bytes]),
            ("compaction_pending_bytes", vec![stats.compaction_pending_bytes]),
            ("background_running", vec![stats.background_running]),
            ("write_stopped", vec![u64::from(stats.write_stopped)]),
            ("write_delayed_bytes_per_s", vec![stats.write_delayed_bytes_per_s]),
            ("background_errors", vec![stats.background_errors]),
            ("cache_bytes", vec![stats.cache_bytes]),
            ("cache_bytes_max", vec![stats.cache_bytes_max]),
            ("cache_pinned_bytes", vec![stats.cache_pinned_bytes]),
            ("cache_hits", vec![stats.cache_hits]),
            ("cache_misses", vec![stats.cache_misses]),
            ("filter_useful", vec![stats.filter_useful]),
            ("snapshots", vec![stats.snapshots]),
            ("fsync_bounds_us", Syncs::bounds_us()),
            ("fsyncs", self.syncs.cumulated()),
            ("fsync_sum_us", vec![self.syncs.sum_us()]),
        ]
    }

    fn size(&self, space: Space) -> u64 {
        self.property(space, property::ESTIMATE_LIVE_DATA_SIZE)
            + self.property(space, property::CUR_SIZE_ALL_MEM_TABLES)
    }

    fn size_between(&self, space: Space, from: &[u8], to: &[u8]) -> u64 {
        let family = family_of(self.db(), space);
        let sizes = family.map(|f| self.db().get_approximate_sizes_cf(f, &[rocksdb::Range::new(from, to)]));
        sizes.map_or(0, |sizes| sizes.iter().sum())
    }
}

fn family_of(db: &DB, space: Space) -> Result<&ColumnFamily, EngineError> {
    db.cf_handle(space.name()).ok_or_else(|| EngineError::Failed(format!("no column family {}", space.name())))
}

fn families_of(db: &DB) -> Result<Families<'_>, EngineError> {
    let [a, b, c, d] = Space::ALL;
    Ok([family_of(db, a)?, family_of(db, b)?, family_of(db, c)?, family_of(db, d)?])
}

/// About how long a step is in a batch.
fn step_bytes(step: &Step) -> usize {
    12 + match step {
        Step::Put(_, a, b) | Step::DeleteRange(_, a, b) => a.len() + b.len(),
        Step::Delete(_, key) => key.len(),
    }
}

fn scan<'a>(
    space: Space,
    open: impl FnOnce(ReadOptions) -> DBRawIterator<'a>,
    blocks: Blocks,
    from: &[u8],
    to: &[u8],
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), EngineError> {
    if from >= to {
        return Ok(());
    }
    let mut reads = ReadOptions::default();
    reads.set_iterate_upper_bound(to);
    reads.fill_cache(blocks == Blocks::Keep);
    let mut records = open(reads);
    records.seek(from);
    while let Some((key, value)) = records.item() {
        if !visit(key, value) {
            return Ok(());
        }
        records.next();
    }
    // An iterator that meets damage ends as if there were no more: only its status tells.
    records.status().map_err(|e| unread(space, &e))
}

/// What a scan does with the blocks that it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocks {
    /// They go into the cache.
    Keep,
    /// They do not: snapshots are read from end to end, and would push out all that is used.
    Leave,
}

/// An error of a read. A sector that cannot be read, or a file that is not there, is damage like a wrong checksum: trying
/// again would bring the same.
fn unread(space: Space, error: &rocksdb::Error) -> EngineError {
    let text = error.to_string();
    let gone = ["Input/output error", "No such file"].iter().any(|sign| text.contains(sign));
    match error.kind() {
        ErrorKind::IOError if gone => EngineError::Damaged { place: space.name(), partition: None, detail: text },
        _ => failed(space.name(), error),
    }
}

fn failed(place: &'static str, error: &rocksdb::Error) -> EngineError {
    match error.kind() {
        ErrorKind::Corruption => EngineError::Damaged { place, partition: None, detail: error.to_string() },
        _ => EngineError::Failed(error.to_string()),
    }
}

fn opening(path: &Path, error: &rocksdb::Error) -> EngineError {
    let (text, path) = (error.to_string(), path.display());
    if error.kind() == ErrorKind::IOError && text.contains("lock") {
        return EngineError::Failed(format!(
            "the directory {path} is in use by another process: stop the node that runs on it, or give this one a \
             directory of its own ({text})"
        ));
    }
    if text.contains("No such file") {
        return EngineError::Damaged { place: THE_WHOLE, partition: None, detail: text };
    }
    match failed(THE_WHOLE, error) {
        EngineError::Failed(text) => EngineError::Failed(format!("cannot open the database in {path}: {text}")),
        damaged => damaged,
    }
}

/// Looks at the files that RocksDB itself would take as they are: see [`logfile`].
fn check_files(path: &Path) -> Result<(), EngineError> {
    let damaged = |detail| Err(EngineError::Damaged { place: THE_WHOLE, partition: None, detail });
    let current = match std::fs::read_to_string(path.join("CURRENT")) {
        Ok(current) => current,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            // RocksDB would make a new database here, and remove the tables that belong to none.
            let mut names = std::fs::read_dir(path).into_iter().flatten().flatten().map(|file| file.file_name());
            let is_table = |name: std::ffi::OsString| name.to_string_lossy().ends_with(".sst");
            return match names.any(is_table) {
                true => damaged("there are tables, but no CURRENT that says which of them count".into()),
                false => Ok(()),
            };
        }
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => return damaged(format!("CURRENT: {e}")),
        Err(e) => return Err(EngineError::Failed(format!("CURRENT cannot be read: {e}"))),
    };
    let Some(name) = current.strip_suffix('\n').filter(|name| name.starts_with("MANIFEST-")) else {
        return damaged("CURRENT names no manifest".into());
    };
    match std::fs::read(path.join(name)) {
        Ok(manifest) => match logfile::flaw(&manifest) {
            Some(flaw) => damaged(format!("{name}: {flaw}")),
            None => Ok(()),
        },
        Err(e) => damaged(format!("{name}: {e}")),
    }
}

fn families(options: &Options, cache: &Cache) -> [ColumnFamilyDescriptor; 4] {
    Space::ALL.map(|space| ColumnFamilyDescriptor::new(space.name(), family_options(space, options, cache)))
}

fn database_options(options: &Options) -> rocksdb::Options {
    let mut db = rocksdb::Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_paranoid_checks(true);
    db.set_track_and_verify_wals_in_manifest(true);
    db.set_wal_recovery_mode(match options.log_damage {
        LogDamage::Whole => DBRecoveryMode::AbsoluteConsistency,
        LogDamage::Refuse => DBRecoveryMode::TolerateCorruptedTailRecords,
        LogDamage::RollBack => DBRecoveryMode::PointInTime,
    });
    // Each commit goes to the operating system at once, so that the end of the process takes nothing back.
    db.set_manual_wal_flush(false);
    // One thread writes, in batches: what these save is the waiting of threads for each other.
    db.set_enable_pipelined_write(false);
    db.set_unordered_write(false);
    db.set_db_write_buffer_size(options.memtable_bytes);
    // Spaces that are seldom written would keep old logs for ever.
    db.set_max_total_wal_size(2 * options.memtable_bytes as u64);
    db.set_max_background_jobs(i32::from(options.background_jobs.max(2)));
    db.set_bytes_per_sync(1 << 20);
    db.set_max_open_files(OPEN_FILES_MAX);
    db.set_keep_log_file_num(LOG_FILES_KEPT);
    db.set_max_log_file_size(LOG_FILE_BYTES);
    db.set_log_level(LogLevel::Info);
    db
}

fn family_options(space: Space, options: &Options, cache: &Cache) -> rocksdb::Options {
    let mut family = rocksdb::Options::default();
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(6);
    family.set_level_compaction_dynamic_level_bytes(true);
    match space {
        Space::Objects => {
            family.set_write_buffer_size(options.memtable_bytes / 4);
            // Every write reads first, and new keys are common: say "not here" without reading a block.
            table.set_bloom_filter(10.0, false);
            table.set_whole_key_filtering(true);
            table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
            family.set_memtable_whole_key_filtering(true);
            family.set_memtable_prefix_bloom_ratio(0.02);
        }
        // Only ever read in order.
        Space::Index => family.set_write_buffer_size(options.memtable_bytes / 8),
        Space::Clocks | Space::Meta => family.set_write_buffer_size((options.memtable_bytes / 32).min(4 << 20)),
    }
    family.set_max_write_buffer_number(4);
    // What is rewritten soon is not worth compressing.
    use DBCompressionType::{Lz4, None};
    family.set_compression_per_level(&[None, None, Lz4, Lz4, Lz4, Lz4, Lz4]);
    family.set_block_based_table_factory(&table);
    family
}
