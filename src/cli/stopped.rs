//! The directory of a stopped daemon, searched as the daemon would.

use super::ask::Target;
use super::{Failure, journal};
use crate::clock;
use crate::config;
use crate::diag;
use crate::disk::Real;
use crate::index::Index;
use crate::journal::{Journal, What};
use crate::pipeline::bundle::{Bundle, Loaded};
use crate::pipeline::past::Past;
use crate::pipeline::snapshot::Snapshots;
use crate::search::{self, Bounds, Ground, Refused, Request};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What is in it, open: no daemon starts there meanwhile.
pub struct Stopped {
    journal: Journal,
    index: Index,
    past: Past,
    today: Arc<Loaded>,
}

impl Stopped {
    /// `None` where a daemon has it open, or where there is no journal and the daemon may be elsewhere.
    pub fn open(target: &Target) -> Result<Option<Stopped>, Failure> {
        let data = target.folder()?;
        if !data.join("journal").is_dir() && target.data.is_none() {
            return Ok(None);
        }
        let Some(journal) = journal::open(&data)? else { return Ok(None) };
        let file = |path: &Path, e: std::io::Error| Failure::file(path, &e);
        let snapshots = Snapshots::open(Arc::new(Real), &data, journal.seed()).map_err(|e| file(&data, e))?;
        let at = data.join("index");
        let index = Index::look(&at, journal.seed()).map_err(|e| file(&at, e))?;
        let config = config::Config::default();
        let (_, current, _) = Bundle::of(&config, Vec::new(), &|_| Err("there is none".into()));
        let past = Past::of(snapshots, Arc::new(current), &index.manifests());
        // The rules, formats and tables that were in force when it stopped are those of today.
        let reader = journal.reader();
        let indexed = index.manifests().last().map_or(0, |m| m.last);
        for e in reader.entries(indexed + 1).filter_map(Result::ok) {
            if let What::Load { hash, .. } = e.what {
                past.note(e.lsn, hash);
            }
        }
        let today = past.at(reader.last());
        past.now(today.clone());
        Ok(Some(Stopped { journal, index, past, today }))
    }

    /// Calls `f` with what is searched, and the last entry of it.
    pub fn on<T>(&self, f: impl FnOnce(&Ground<'_>, u64) -> T) -> T {
        let (reader, stop) = (self.journal.reader(), AtomicBool::new(false));
        f(&Ground { reader: &reader, index: &self.index, past: &self.past, stop: &stop }, reader.last())
    }

    /// The rules, formats and settings that were in force when it stopped.
    pub fn bundle(&self) -> Option<Bundle> {
        self.past.bundle()
    }

    /// The answer that the daemon would give, as JSON.
    pub fn answer(&self, pairs: &[(String, String)]) -> Result<String, Failure> {
        let request = Request::of(pairs, clock::now()).map_err(Failure::Usage)?;
        let (reader, stop) = (self.journal.reader(), AtomicBool::new(false));
        let ground = Ground { reader: &reader, index: &self.index, past: &self.past, stop: &stop };
        let bounds = Bounds::from(&config::Config::default().search);
        let answer = search::answer(&ground, &self.today, &request, reader.last(), &bounds);
        // Slices are compared with their checksums when they are needed first.
        for s in self.index.said() {
            eprintln!("vigild: slice {s}; what it covers is read in the journal");
        }
        match answer {
            Ok(a) => Ok(String::from_utf8_lossy(&a.body).into_owned()),
            Err(Refused::Parameter(why)) => Err(Failure::Usage(why)),
            Err(Refused::Query(said)) => {
                eprint!("{}", diag::draw(&said, &[(search::query::FILE.into(), request.query)], super::color(&std::io::stderr())));
                Err(Failure::Usage("the query is wrong".into()))
            }
        }
    }
}
