//! The one segment that Tantivy sees in a slice, written from what was gathered while it was built.

use super::build::Record;
use super::folder::Folder;
use super::postings::Postings;
use super::schema::{Part, schema};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tantivy::columnar::{ColumnType, ColumnarWriter};
use tantivy::directory::TerminatingWrite;
use tantivy::fieldnorm::FieldNormsSerializer;
use tantivy::index::SegmentComponent::{FastFields, FieldNorms, Store};
use tantivy::postings::InvertedIndexSerializer;
use tantivy::store::{Compressor, StoreWriter};
use tantivy::{Directory, Index, IndexMeta, IndexSettings, TantivyDocument, TantivyError};

/// Where Tantivy looks for what it knows of its segments.
const META: &str = "meta.json";

/// Tantivy's settings: documents are not stored in it.
pub(super) fn settings() -> IndexSettings {
    IndexSettings {
        docstore_compression: Compressor::Zstd(Default::default()),
        docstore_compress_dedicated_thread: false,
        ..IndexSettings::default()
    }
}

/// Tantivy's error as one of a file.
pub(super) fn wrong(e: TantivyError) -> io::Error {
    match e {
        TantivyError::IoError(e) => Arc::try_unwrap(e).unwrap_or_else(|e| io::Error::new(e.kind(), e)),
        e => io::Error::other(e),
    }
}

/// See the module.
pub(super) struct Segment {
    columns: ColumnarWriter,
    /// Values of fields.
    pub terms: Postings,
    /// Words.
    pub words: Postings,
}

impl Default for Segment {
    fn default() -> Segment {
        let mut columns = ColumnarWriter::default();
        for (part, kind) in [
            (Part::Time, ColumnType::I64),
            (Part::Seq, ColumnType::U64),
            (Part::Segment, ColumnType::U64),
            (Part::Offset, ColumnType::U64),
            (Part::Record, ColumnType::U64),
            (Part::Stream, ColumnType::Bytes),
        ] {
            // The values alone would not tell: small ones fit all kinds of numbers.
            columns.record_column_type(part.name(), kind, false);
        }
        Segment { columns, terms: Postings::default(), words: Postings::default() }
    }
}

impl Segment {
    /// Adds what is known of the next document.
    pub fn add(&mut self, doc: u32, r: &Record<'_>, stream: &[u8]) {
        let c = &mut self.columns;
        c.record_numerical(doc, Part::Time.name(), r.time.0);
        c.record_numerical(doc, Part::Seq.name(), r.seq);
        c.record_numerical(doc, Part::Segment.name(), r.at.segment);
        c.record_numerical(doc, Part::Offset.name(), r.at.offset);
        c.record_numerical(doc, Part::Record.name(), u64::from(r.at.record));
        c.record_bytes(doc, Part::Stream.name(), stream);
    }

    /// What it takes.
    pub fn memory(&self) -> usize {
        self.columns.mem_usage() + self.terms.memory() + self.words.memory()
    }

    /// Writes its files, of so many documents.
    pub fn write(mut self, to: &Folder, docs: u32) -> io::Result<()> {
        let (schema, settings) = (schema(), settings());
        let index = Index::create(to.clone(), schema.clone(), settings.clone()).map_err(wrong)?;
        let segment = index.new_segment();
        let open = |c| segment.open_write(c).map_err(io::Error::other);
        let mut inverted = InvertedIndexSerializer::open(&segment).map_err(wrong)?;
        self.terms.write(&mut inverted, Part::Terms)?;
        self.words.write(&mut inverted, Part::Words)?;
        inverted.close()?;
        let mut columns = open(FastFields)?;
        self.columns.serialize(docs, None, &mut columns)?;
        columns.terminate()?;
        FieldNormsSerializer::from_write(open(FieldNorms)?)?.close()?;
        let (blocks, thread) = (settings.docstore_blocksize, settings.docstore_compress_dedicated_thread);
        let mut store = StoreWriter::new(open(Store)?, settings.docstore_compression, blocks, thread)?;
        // Nothing of a document is stored, but that it is there.
        let nothing = TantivyDocument::default();
        (0..docs).try_for_each(|_| store.store(&nothing, &schema))?;
        store.close()?;
        let segments = vec![segment.with_max_doc(docs).meta().clone()];
        let meta = IndexMeta { index_settings: settings, persisted_custom_extensions: Vec::new(), segments, schema, opstamp: 0, payload: None };
        to.atomic_write(Path::new(META), &serde_json::to_vec(&meta)?)
    }
}
