//! One accept loop per listener. It ends when told to and for no other reason: an error in
//! accepting is counted and waited out.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use crate::{connection, phase::Phase, server::Server};

/// How long to wait when the system has no file handle or memory for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// Accepts connections until the phase says to stop; returns when all of them have ended.
pub(crate) async fn run(listener: TcpListener, server: Arc<Server>) {
    // At the cap no more are accepted: they wait in the system's queue until one ends.
    let slots = server.ingest.limits.connections_max.clamp(1, Semaphore::MAX_PERMITS);
    let slots = Arc::new(Semaphore::new(slots));
    let mut connections = JoinSet::new();
    let mut phases = server.phases.clone();
    loop {
        let accept = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (accept(&listener, &server).await, slot)
        };
        let (stream, slot) = tokio::select! {
            biased;
            () = phases.reached(Phase::Draining) => break,
            accepted = accept => accepted,
        };
        while connections.try_join_next().is_some() {}
        let server = Arc::clone(&server);
        connections.spawn(async move {
            connection::run(stream, server).await;
            drop(slot);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(listener: &TcpListener, server: &Server) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                let ingest = &server.ingest;
                server.counters.accept_error(server.receiver.name(), &error, ingest.clock.now());
                // A connection that was gone before it was accepted says nothing of the next.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    ingest.clock.sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}
