//! The paths that a scan looks for, and the trie that they compile to.

use std::collections::HashMap;

/// A path's number in its [`Paths`].
pub type PathId = u16;

pub(super) const NONE: u16 = u16::MAX;

/// One step of a path: a key, and through how many arrays it goes on.
type Step = (String, usize);

#[derive(Clone, Debug, Default)]
struct Draft {
    keys: Vec<(Box<[u8]>, usize)>,
    ids: Vec<PathId>,
    elem: Option<usize>,
    /// The node of the same path in which at least one key holds a dot.
    mixed: Option<usize>,
    /// Whether this is such a node.
    dotted: bool,
}

/// The paths that a scan looks for.
///
/// A path is keys joined by dots; a key in double quotes may hold dots (`output_fields."proc.name"`); `[]` behind a key
/// goes through an array's elements (`messages[].details.ruleId`, `tags[]`), each of which is found with its place.
#[derive(Clone, Debug)]
pub struct Paths {
    drafts: Vec<Draft>,
    known: HashMap<(String, u8), PathId>,
    /// Whether the path of each number goes through arrays.
    pub(super) lists: Vec<bool>,
}

impl Default for Paths {
    fn default() -> Self {
        Paths { drafts: vec![Draft::default()], known: HashMap::new(), lists: Vec::new() }
    }
}

fn steps(path: &str) -> Vec<Step> {
    let (mut out, mut rest) = (Vec::new(), path);
    loop {
        let key;
        if let Some((quoted, after)) = rest.strip_prefix('"').and_then(|r| r.split_once('"')) {
            (key, rest) = (quoted, after);
        } else {
            let mut end = rest.find('.').unwrap_or(rest.len());
            // Only an empty pair of brackets is a step; `proc.aname[2]` is a key.
            if let Some(b) = rest[..end].find("[]") {
                end = b;
            }
            (key, rest) = rest.split_at(end);
        }
        let mut arrays = 0;
        while let Some(r) = rest.strip_prefix("[]") {
            arrays += 1;
            rest = r;
        }
        out.push((key.to_owned(), arrays));
        match rest.strip_prefix('.') {
            Some(r) => rest = r,
            None => return out,
        }
    }
}

impl Paths {
    fn id(&mut self, path: &str, kind: u8, list: bool) -> (PathId, bool) {
        let next = self.lists.len().min(NONE as usize - 1) as PathId;
        let id = *self.known.entry((path.to_owned(), kind)).or_insert(next);
        let new = id as usize == self.lists.len();
        if new {
            self.lists.push(list);
        }
        (id, new)
    }

    fn child(&mut self, from: usize, key: &str) -> usize {
        if let Some(&(_, to)) = self.drafts[from].keys.iter().find(|(k, to)| **k == *key.as_bytes() && !self.drafts[*to].dotted) {
            return to;
        }
        self.drafts.push(Draft::default());
        let to = self.drafts.len() - 1;
        self.drafts[from].keys.push((key.as_bytes().into(), to));
        to
    }

    /// Adds a path, or gives the number of an equal one.
    pub fn add(&mut self, path: &str) -> PathId {
        let steps = steps(path);
        let (id, new) = self.id(path, 0, steps.iter().any(|s| s.1 > 0));
        let mut at = 0;
        for (key, arrays) in &steps {
            at = self.child(at, key);
            for _ in 0..*arrays {
                at = match self.drafts[at].elem {
                    Some(e) => e,
                    None => {
                        self.drafts.push(Draft::default());
                        let e = self.drafts.len() - 1;
                        self.drafts[at].elem = Some(e);
                        e
                    }
                };
            }
        }
        if new {
            self.drafts[at].ids.push(id);
        }
        id
    }

    /// Adds a path whose keys may be nested or dotted in any mix (`a.b.c` is also `"a.b".c`, `a."b.c"`, `"a.b.c"`).
    pub fn add_dotted(&mut self, path: &str) -> PathId {
        let id = self.mixed(path, 1);
        let steps: Vec<&str> = path.split('.').collect();
        let mut at = 0;
        for s in steps {
            at = self.child(at, s);
        }
        if !self.drafts[at].ids.contains(&id) {
            self.drafts[at].ids.push(id);
        }
        id
    }

    /// Adds the spellings of a path in which at least one key holds a dot, and not the nested one.
    pub(in crate::parse) fn add_mixed(&mut self, path: &str) -> PathId {
        self.mixed(path, 2)
    }

    fn mixed(&mut self, path: &str, kind: u8) -> PathId {
        let (id, new) = self.id(path, kind, false);
        if !new {
            return id;
        }
        let keys: Vec<&str> = path.split('.').collect();
        // The nested node behind each number of segments, and the one reached with a dotted key on the way.
        let (mut nested, mut mixed) = (vec![0], vec![None]);
        for (i, k) in keys.iter().enumerate() {
            nested.push(self.child(nested[i], k));
            if i == 0 {
                mixed.push(None);
                continue;
            }
            let n = nested[i + 1];
            let m = match self.drafts[n].mixed {
                Some(m) => m,
                None => {
                    self.drafts.push(Draft { dotted: true, ..Draft::default() });
                    let m = self.drafts.len() - 1;
                    self.drafts[n].mixed = Some(m);
                    m
                }
            };
            mixed.push(Some(m));
            for from in 0..=i {
                let key = keys[from..=i].join(".");
                let starts = [mixed[from], (from < i).then_some(nested[from])];
                for start in starts.into_iter().flatten() {
                    if !self.drafts[start].keys.iter().any(|(k, to)| *to == m && **k == *key.as_bytes()) {
                        self.drafts[start].keys.push((key.as_bytes().into(), m));
                    }
                }
            }
        }
        if let Some(m) = mixed.pop().flatten() {
            self.drafts[m].ids.push(id);
        }
        id
    }
}

/// A place in the trie: what is found there and where it goes on.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// The one path that ends here, where nothing else is asked of the value.
    pub slot: u16,
    /// The keys of an object here.
    pub table: Option<u16>,
    /// The node of an array's elements.
    pub elem: Option<u16>,
    /// The paths that end here, whatever the value is.
    pub hits: Vec<PathId>,
    /// The paths that end here where the value is no array, as its only element.
    pub single: Vec<PathId>,
    /// Every path that ends here or below.
    pub below: Vec<PathId>,
}

/// The nodes, the first of them the root, and the keys of each node that has some.
#[derive(Clone, Debug, Default)]
pub(super) struct Trie {
    pub nodes: Vec<Node>,
    pub keys: Vec<Vec<(Box<[u8]>, u16)>>,
}

struct Compiler<'p> {
    paths: &'p Paths,
    done: HashMap<Vec<usize>, u16>,
    trie: Trie,
}

impl Compiler<'_> {
    /// The node that stands for a set of drafts.
    fn node(&mut self, mut set: Vec<usize>) -> u16 {
        set.sort_unstable();
        set.dedup();
        if let Some(&n) = self.done.get(&set) {
            return n;
        }
        let at = self.trie.nodes.len();
        // A number that does not fit is not found: 65,534 nodes are more than any set of paths asks for.
        let n = u16::try_from(at).unwrap_or(NONE).min(NONE - 1);
        self.trie.nodes.push(Node::default());
        self.done.insert(set.clone(), n);
        let d = &self.paths.drafts;
        // A value that is no array is its own only element.
        let (mut inner, mut i) = (set.clone(), 0);
        while i < inner.len() {
            inner.extend(d[inner[i]].elem);
            i += 1;
        }
        let hits: Vec<PathId> = set.iter().flat_map(|&s| d[s].ids.iter().copied()).collect();
        let single: Vec<PathId> = inner[set.len()..].iter().flat_map(|&s| d[s].ids.iter().copied()).collect();
        let elems: Vec<usize> = set.iter().filter_map(|&s| d[s].elem).collect();
        let mut keys: Vec<(Box<[u8]>, Vec<usize>)> = Vec::new();
        for &s in &inner {
            for (k, to) in &d[s].keys {
                match keys.iter_mut().find(|(x, _)| x == k) {
                    Some((_, v)) => v.push(*to),
                    None => keys.push((k.clone(), vec![*to])),
                }
            }
        }
        let mut below: Vec<PathId> = hits.iter().chain(&single).copied().collect();
        let elem = (!elems.is_empty()).then(|| self.node(elems));
        let keys: Vec<(Box<[u8]>, u16)> = keys.into_iter().map(|(k, v)| (k, self.node(v))).collect();
        for n in elem.iter().chain(keys.iter().map(|(_, n)| n)) {
            below.extend(self.trie.nodes[*n as usize].below.iter().copied());
        }
        below.sort_unstable();
        below.dedup();
        let lone = elem.is_none() && keys.is_empty() && single.is_empty();
        let slot = match hits[..] {
            [id] if lone && !self.paths.lists[id as usize] => id,
            _ => NONE,
        };
        let table = (!keys.is_empty()).then(|| {
            self.trie.keys.push(keys);
            self.trie.keys.len() as u16 - 1
        });
        self.trie.nodes[at] = Node { slot, table, elem, hits, single, below };
        n
    }
}

pub(super) fn compile(paths: &Paths) -> Trie {
    let mut c = Compiler { paths, done: HashMap::new(), trie: Trie::default() };
    c.node(vec![0]);
    c.trie
}
