//! One transaction: which spans it has, who is whose parent, and when each runs.
//!
//! Grown from the top: a span that may have so many descendants hands them out to its calls, and
//! its time with them. Keeps a list of what is still to grow instead of recursion.

use crate::{
    random::{Random, whole},
    world::{OperationCall, Service},
};

/// A span without its contents. Numbers of spans are those of the trace.
#[derive(Debug, Clone)]
pub(crate) struct SpanNode {
    pub(crate) parent: Option<u32>,
    pub(crate) service: usize,
    pub(crate) role: CallRole,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Part that a span plays in the call graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallRole {
    /// Works on an operation of its service: server or consumer.
    Work { operation: usize },
    /// The caller's view of call number `call` of operation `operation` of its service.
    Call { operation: usize, call: usize },
}

/// Work that may still have this many descendants.
struct OpenCall {
    span: u32,
    service: usize,
    operation: usize,
    budget: usize,
}

/// A trace of exactly this many spans, at least one.
pub(crate) fn grow(services: &[Service], size: usize, random: &mut Random) -> Vec<SpanNode> {
    let service = random.skewed(services.len() / 3);
    let operation = random.skewed(services[service].operations.len());
    // Milliseconds, and longer with more to do.
    let end = whole(1_000_000.0 * (1.0 + size as f64) * (random.normal() * 0.8).exp());
    let root = SpanNode {
        parent: None,
        service,
        role: CallRole::Work { operation },
        start: 0,
        end: end.max(1000),
    };
    let mut nodes = vec![root];
    let mut open = vec![OpenCall { span: 0, service, operation, budget: size.max(1) - 1 }];
    while let Some(work) = open.pop() {
        work.call(services, &mut nodes, &mut open, random);
    }
    nodes
}

impl OpenCall {
    /// Makes the calls of this work and hands its descendants out to them.
    fn call(
        &self,
        services: &[Service],
        nodes: &mut Vec<SpanNode>,
        open: &mut Vec<OpenCall>,
        random: &mut Random,
    ) {
        let calls = &services[self.service].operations[self.operation].calls;
        let shares = self.shares(random);
        let (start, end) = (nodes[self.span as usize].start, nodes[self.span as usize].end);
        let slot = (end - start) / (shares.len().max(1) as u64 + 1);
        let mut at = start + slot / 4;
        for share in shares {
            // One of a call's own kind would repeat too often: the first calls are frequent.
            let call = random.skewed(calls.len());
            let takes = 1 + slot / 8 + random.next() % (slot.max(2) * 3 / 4);
            let (from, to) = (at, (at + takes).min(end));
            at = to + slot / 16;
            let number = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
            nodes.push(SpanNode {
                parent: Some(self.span),
                service: self.service,
                role: CallRole::Call { operation: self.operation, call },
                start: from.min(end),
                end: to,
            });
            match calls[call] {
                OperationCall::Service { service, operation } if share > 1 => {
                    let network = (to - from.min(end)) / 20;
                    nodes.push(SpanNode {
                        parent: Some(number),
                        service,
                        role: CallRole::Work { operation },
                        start: from.min(end) + network,
                        end: to - network,
                    });
                    open.push(OpenCall { span: number + 1, service, operation, budget: share - 2 });
                }
                // What cannot have descendants gives them back.
                _ if share > 1 => {
                    open.push(OpenCall { budget: share - 1, ..*self });
                }
                _ => {}
            }
        }
    }

    /// Divides the span budget among the calls. Each share includes the call's own span.
    fn shares(&self, random: &mut Random) -> Vec<usize> {
        if self.budget == 0 {
            return Vec::new();
        }
        let most = self.budget.isqrt();
        let calls = random.between(1, 5).max(random.between(1, most.max(1))).min(self.budget);
        let mut shares = vec![1; calls];
        for _ in calls..self.budget {
            shares[random.skewed(calls)] += 1;
        }
        shares
    }
}

/// A trace's size: median 8, one in a hundred above 200, one in ten thousand has 10,000.
pub(crate) fn size(random: &mut Random) -> usize {
    if random.chance(0.0001) {
        return 10_000;
    }
    let size = 8.0 * (random.normal() * 1.384).exp();
    usize::try_from(whole(size.round())).unwrap_or(1).clamp(1, 2_000)
}

#[cfg(test)]
mod tests {
    use super::{CallRole, grow, size};
    use crate::{random::Random, world};

    #[test]
    fn traces_have_the_size_asked_for_and_children_run_within_parents() {
        let mut random = Random::new(3);
        let services = world::services(&mut random);
        for size in [1, 2, 3, 8, 200, 10_000] {
            let nodes = grow(&services, size, &mut random);
            assert_eq!(nodes.len(), size);
            for (number, node) in nodes.iter().enumerate() {
                assert!(node.start <= node.end);
                let Some(parent) = node.parent else {
                    assert_eq!(number, 0);
                    continue;
                };
                assert!((parent as usize) < number);
                let parent = &nodes[parent as usize];
                assert!(parent.start <= node.start && node.end <= parent.end);
                if let CallRole::Work { .. } = node.role {
                    assert_ne!(parent.service, node.service);
                }
            }
        }
    }

    #[test]
    fn sizes_are_as_documented() {
        let mut random = Random::new(5);
        let mut sizes: Vec<_> = (0..200_000).map(|_| size(&mut random)).collect();
        sizes.sort_unstable();
        assert_eq!(sizes[100_000], 8);
        let p99 = sizes[198_000];
        assert!((190..210).contains(&p99), "{p99}");
        assert_eq!(sizes[199_999], 10_000);
    }
}
