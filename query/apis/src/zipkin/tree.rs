//! Zipkin's own tree of a trace, from which its dependency links are computed: `SpanNode.Builder`.
//!
//! This is not assembly's tree, which the rest of the product shows: links must equal those that
//! Zipkin counts. A shared span is identified by id and endpoint; its parent is the span with its
//! id. The parent of any other span is the shared span of its parent id on its own endpoint,
//! otherwise the span with that id. The first span without a parent is the root. Spans without a
//! position become its children, or have no parent when there is no root.

use std::collections::HashMap;

use tidings_proto::zipkin::{Endpoint, Span};

/// Key by which spans are matched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum NodeKey {
    Id(Vec<u8>),
    Shared(Vec<u8>, Option<Endpoint>),
}

impl NodeKey {
    fn new(id: &[u8], shared: bool, endpoint: Option<&Endpoint>) -> Self {
        if shared { Self::Shared(id.to_vec(), endpoint.cloned()) } else { Self::Id(id.to_vec()) }
    }
}

/// A map that preserves the order of insertion.
#[derive(Debug, Default)]
struct Parents {
    places: HashMap<NodeKey, usize>,
    entries: Vec<(NodeKey, Option<NodeKey>)>,
}

impl Parents {
    fn put(&mut self, key: NodeKey, parent: Option<NodeKey>) {
        if let Some(place) = self.places.get(&key) {
            self.entries[*place].1 = parent;
        } else {
            self.places.insert(key.clone(), self.entries.len());
            self.entries.push((key, parent));
        }
    }
}

/// The tree: children of each span by number, and its roots.
#[derive(Debug, Default)]
pub(super) struct LinkTree {
    /// The root's number.
    pub root: Option<usize>,
    /// Spans without a parent, when there is no root.
    pub headless: Vec<usize>,
    /// The children of each span.
    pub children: Vec<Vec<usize>>,
}

impl LinkTree {
    /// Builds the tree of merged spans.
    pub(super) fn new(spans: &[Span]) -> Self {
        let mut parents = Parents::default();
        for span in spans {
            let endpoint = span.local_endpoint.as_ref();
            let parent = match (span.shared, span.parent_id.is_empty()) {
                (true, _) => Some(NodeKey::Id(span.id.clone())),
                (false, false) => Some(NodeKey::Id(span.parent_id.clone())),
                (false, true) => None,
            };
            parents.put(NodeKey::new(&span.id, span.shared, endpoint), parent);
        }
        let mut root = None;
        let mut nodes: HashMap<NodeKey, usize> = HashMap::new();
        for (number, span) in spans.iter().enumerate() {
            let endpoint = span.local_endpoint.as_ref();
            let anywhere = NodeKey::new(&span.id, span.shared, None);
            let is_child = span.shared || !span.parent_id.is_empty();
            if !span.shared && is_child {
                // The most specific key comes first: a local child of a shared span.
                let shared = NodeKey::new(&span.parent_id, true, endpoint);
                if parents.places.contains_key(&shared) {
                    parents.put(anywhere.clone(), Some(shared));
                }
            }
            if !is_child && root.is_none() {
                root = Some((number, anywhere));
                continue;
            }
            if span.shared {
                nodes.insert(NodeKey::new(&span.id, true, endpoint), number);
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
