//! Denied requests of the receivers, for the audit log.
//!
//! A request is denied when its sender may not make it, or when a page of another site asked a browser
//! to make it. Other refusals are counted beside the receivers only.

use http::request::Parts;
use tidings_access::{Caller, Credentials};
use tidings_audit::{AuditActor, AuditEvent, AuditOutcome};

use crate::{
    refusal::{Reason, Refusal},
    server::Server,
    shares::PeerAddress,
};

/// The action of a denied request.
const ACTION: &str = "access";

impl Server {
    /// Adds a refusal to the audit log when it is of a request that is denied.
    pub(crate) fn audit_denial(&self, head: &Parts, peer: PeerAddress, refusal: &Refusal) {
        let Some(audit) = self.audit.as_ref().filter(|_| is_denial(refusal.reason)) else { return };
        let caller = self.access.identify(&head.headers, Credentials::Keys).ok().flatten();
        audit.count(AuditEvent {
            time_unix_nano: self.ingest.clock.now(),
            action: ACTION.to_owned(),
            outcome: AuditOutcome::Denied,
            tenant: caller.as_ref().and_then(Caller::named_tenant),
            actor: caller.map_or(AuditActor::ANONYMOUS, |caller| caller.actor()),
            source_address: Some(peer.to_string()),
            object: Some(format!("{} {} {}", self.receiver.name(), head.method, head.uri.path())),
            status: Some(refusal.reason.http().as_u16()),
            detail: Some(refusal.message.clone()),
            count: 1,
        });
    }
}

fn is_denial(reason: Reason) -> bool {
    matches!(reason, Reason::Unauthenticated | Reason::Forbidden | Reason::Host | Reason::Origin)
}

#[cfg(test)]
mod tests {
    use super::{Reason, is_denial};

    #[test]
    fn denials_are_refusals_for_who_asks_and_not_for_what_is_sent() {
        let denied: Vec<Reason> = Reason::ALL.into_iter().filter(|of| is_denial(*of)).collect();
        let expected = [Reason::Host, Reason::Origin, Reason::Unauthenticated, Reason::Forbidden];
        assert_eq!(denied, expected);
    }
}
