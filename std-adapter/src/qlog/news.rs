//! What a connection tells, as events of the schema.

use peregrine_core::connection::{Event, RouteEvent};
use peregrine_core::lifecycle::{Cause, Close, Reason};
use peregrine_core::path::{Role, RouteId};
use serde_json::{Value, json};

use super::log::{Log, Tuple};
use super::words::{error_name, version};
use crate::storage::HeapConnection;

impl Log {
    /// Takes an event of the connection.
    pub(super) fn told(&mut self, connection: &mut HeapConnection, event: &Event) {
        self.write_pending(None);
        match *event {
            Event::Connected => self.enter("handshake_complete"),
            Event::Confirmed => self.enter("handshake_confirmed"),
            Event::Mtu(mtu) => self.on_mtu(connection, mtu),
            Event::Route(id, what) => self.on_route(connection, id, what),
            Event::Moved { to, .. } => self.on_moved(connection, to),
            // The peer has moved, and is not followed.
            Event::NoSpareCid | Event::PolicyRefused => {
                self.tell(None, "migration_state_updated", json!({ "new": "migration_abandoned" }));
            }
            Event::Closed(cause) => self.on_closed(&cause),
            Event::Drained => self.enter("closed"),
            // Keys are told of by the session.
            Event::KeysUpdated(_)
            | Event::Token
            | Event::Stream(_)
            | Event::Datagram
            | Event::DatagramRoom
            | Event::SpareCid
            | Event::Path(..)
            | Event::PathPossible => {}
        }
    }

    fn on_mtu(&mut self, connection: &mut HeapConnection, mtu: u16) {
        let Some(route) = connection.route() else { return };
        let number = self.show(&route);
        let mut data = json!({ "new": mtu });
        let tuple = self.tuples.iter_mut().find(|tuple| tuple.number == number);
        if let Some(old) = tuple.and_then(|tuple| tuple.mtu.replace(mtu)) {
            data["old"] = old.into();
        }
        self.tell(Some(number), "mtu_updated", data);
    }

    fn on_route(&mut self, connection: &mut HeapConnection, id: RouteId, what: RouteEvent) {
        let view = connection.routes().find(|route| route.id == id);
        if let Some(view) = &view {
            self.show(view);
        }
        let in_use = view.as_ref().is_some_and(|view| view.role == Role::Active);
        match what {
            RouteEvent::Added if in_use => self.migrate(id, "migration_started"),
            RouteEvent::Added => self.migrate(id, "probing_started"),
            RouteEvent::Validated if in_use => {
                // One packet may hold the answer and be the move.
                if self.is_at(id, "probing_started") {
                    self.migrate(id, "probing_successful");
                }
                self.migrate(id, "migration_complete");
            }
            RouteEvent::Validated => self.migrate(id, "probing_successful"),
            RouteEvent::Suspect => {}
            RouteEvent::Failed => {
                let is_moving = self.is_at(id, "migration_started");
                self.migrate(id, if is_moving { "migration_abandoned" } else { "probing_abandoned" });
            }
            RouteEvent::Closed => {}
        }
        if view.is_none()
            && let Some(index) = self.tuples.iter().position(|tuple| tuple.route == id)
        {
            // Without ends it stands for nothing any more.
            let tuple = self.tuples.swap_remove(index);
            self.tell(None, "tuple_assigned", json!({ "tuple_id": Tuple::id(tuple.number) }));
        }
    }

    /// Whether this is what was told last of a route.
    fn is_at(&self, route: RouteId, state: &str) -> bool {
        self.tuples.iter().any(|tuple| tuple.route == route && tuple.migration == Some(state))
    }

    fn on_moved(&mut self, connection: &mut HeapConnection, to: RouteId) {
        let Some(view) = connection.routes().find(|route| route.id == to) else { return };
        self.show(&view);
        self.migrate(to, if view.validated { "migration_complete" } else { "migration_started" });
    }

    fn migrate(&mut self, route: RouteId, new: &'static str) {
        let Some(tuple) = self.tuples.iter_mut().find(|tuple| tuple.route == route) else { return };
        let number = tuple.number;
        if tuple.migration == Some(new) {
            return;
        }
        let mut data = json!({ "new": new, "tuple_id": Tuple::id(number) });
        if let Some(old) = tuple.migration.replace(new) {
            data["old"] = old.into();
        }
        self.tell(Some(number), "migration_state_updated", data);
    }

    fn on_closed(&mut self, cause: &Cause) {
        self.end();
        if let Cause::Version(offered) = cause {
            let theirs: Vec<String> = offered.as_slice().iter().copied().map(version).collect();
            if !theirs.is_empty() {
                self.tell(None, "version_information", json!({ "server_versions": theirs }));
            }
        }
        self.tell(None, "connection_closed", closed(cause));
        self.enter(match cause {
            Cause::Local(_) => "closing",
            Cause::Peer(_) => "draining",
            _ => "closed",
        });
    }
}

/// Who ended the connection, and why.
pub(super) fn closed(cause: &Cause) -> Value {
    match cause {
        Cause::Local(close) => said("local", close),
        Cause::Peer(close) => said("remote", close),
        Cause::StatelessReset => json!({ "initiator": "remote", "trigger": "stateless_reset" }),
        Cause::Idle => json!({ "initiator": "local", "trigger": "idle_timeout" }),
        Cause::HandshakeTimeout => {
            json!({ "initiator": "local", "trigger": "aborted", "reason": "the handshake took too long" })
        }
        Cause::NoRoute => {
            json!({ "initiator": "local", "trigger": "aborted", "reason": "no route is left to the peer" })
        }
        Cause::Version(_) => json!({ "initiator": "local", "trigger": "version_mismatch" }),
    }
}

fn said(initiator: &str, close: &Close) -> Value {
    let mut data = json!({ "initiator": initiator });
    match close.reason {
        Reason::Transport { code, .. } => {
            let error = error_name(code);
            if error == "unknown" {
                data["error_code"] = code.0.into();
            }
            data["trigger"] = if code.0 == 0 { "unspecified" } else { "error" }.into();
            data["connection_error"] = error.into();
        }
        Reason::Application { code } => {
            (data["application_error"], data["error_code"]) = ("unknown".into(), code.into());
            data["trigger"] = "application".into();
        }
    }
    let phrase = close.phrase.as_str();
    if !phrase.is_empty() {
        data["reason"] = phrase.into();
    }
    data
}
