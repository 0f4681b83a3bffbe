//! Zipkin's own tree of a trace, which its dependency links are read from: `SpanNode.Builder`.
//!
//! It is not the tree that the rest of the product shows (that is assembly's): links must be the
//! ones Zipkin would count. A shared span is known by its id and endpoint and hangs under the span
//! with its id; any other hangs under the shared span of its parent's id on its own endpoint, or
//! else under its parent. The first span without a parent is the root; what has no place hangs
//! under it, or under nothing when there is none.

use std::collections::HashMap;

use tidings_proto::zipkin::{Endpoint, Span};

/// By what spans find each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Id(Vec<u8>),
    Shared(Vec<u8>, Option<Endpoint>),
}

impl Key {
    fn of(id: &[u8], shared: bool, endpoint: Option<&Endpoint>) -> Self {
        if shared { Self::Shared(id.to_vec(), endpoint.cloned()) } else { Self::Id(id.to_vec()) }
    }
}

/// A map that remembers in which order its keys came.
#[derive(Debug, Default)]
struct Parents {
    places: HashMap<Key, usize>,
    entries: Vec<(Key, Option<Key>)>,
}

impl Parents {
    fn put(&mut self, key: Key, parent: Option<Key>) {
        if let Some(place) = self.places.get(&key) {
            self.entries[*place].1 = parent;
        } else {
            self.places.insert(key.clone(), self.entries.len());
            self.entries.push((key, parent));
        }
    }
}

/// The tree: children of each span by number, and where it begins.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The root's number.
    pub root: Option<usize>,
    /// What hangs under nothing, when there is no root.
    pub headless: Vec<usize>,
    /// The children of each span.
    pub children: Vec<Vec<usize>>,
}

impl Tree {
    /// The tree of merged spans.
    pub(super) fn new(spans: &[Span]) -> Self {
        let mut parents = Parents::default();
        for span in spans {
            let endpoint = span.local_endpoint.as_ref();
            let parent = match (span.shared, span.parent_id.is_empty()) {
                (true, _) => Some(Key::Id(span.id.clone())),
                (false, false) => Some(Key::Id(span.parent_id.clone())),
                (false, true) => None,
            };
            parents.put(Key::of(&span.id, span.shared, endpoint), parent);
        }
        let mut root = None;
        let mut nodes: HashMap<Key, usize> = HashMap::new();
        for (number, span) in spans.iter().enumerate() {
            let endpoint = span.local_endpoint.as_ref();
            let anywhere = Key::of(&span.id, span.shared, None);
            let is_child = span.shared || !span.parent_id.is_empty();
            if !span.shared && is_child {
                // Most specific first: a local child of a shared span.
                let shared = Key::of(&span.parent_id, true, endpoint);
                if parents.places.contains_key(&shared) {
                    parents.put(anywhere.clone(), Some(shared));
                }
            }
            if !is_child && root.is_none() {
                root = Some((number, anywhere));
                continue;
            }
            if span.shared {
                nodes.insert(Key::of(&span.id, true, endpoint), number);
            }
            nodes.insert(anywhere, number);
        }
        let (root, root_key) = root.unzip();
        let mut tree = Self { root, children: vec![Vec::new(); spans.len()], ..Self::default() };
        for (key, parent) in &parents.entries {
            if Some(key) == root_key.as_ref() {
                continue;
            }
            let Some(child) = nodes.get(key).copied() else { continue };
            match (parent.as_ref().and_then(|parent| nodes.get(parent)), root) {
                (Some(parent), _) => tree.children[*parent].push(child),
                (None, Some(root)) => tree.children[root].push(child),
                (None, None) => tree.headless.push(child),
            }
        }
        tree
    }
}
