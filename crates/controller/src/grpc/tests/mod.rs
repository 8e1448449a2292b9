//! What is said of controllers on the wire, and a group over it.

mod group;
mod node;

use super::message::{header, header_message};
use super::{peer_status, status_message};
use crate::{ControllerId, Header, Member, PeerStatus};
use quipu_metadata::ClusterId;
use quipu_record::MetadataVersion;

#[test]
fn headers_and_statuses_survive_the_wire() {
    for cluster in [None, Some(ClusterId::from_u128(7))] {
        let sent = Header {
            cluster,
            from: ControllerId::new(1),
            to: ControllerId::new(u64::MAX >> 1),
        };
        assert_eq!(header(Some(header_message(&sent))), Ok(sent));
        let member = |n| Member {
            id: ControllerId::new(n),
            address: format!("c{n}:4601"),
        };
        let status = PeerStatus {
            id: ControllerId::new(3),
            cluster,
            leader: Some(member(1)),
            term: 4,
            last_log: Some(9),
            version: MetadataVersion::new(8),
            voters: vec![member(1), member(3)],
            learners: vec![member(4)],
            configured: vec!["c1:4601".to_owned(), "c3:4601".to_owned()],
        };
        assert_eq!(peer_status(status_message(&status)), Ok(status));
    }
    let mut message = header_message(&Header {
        cluster: None,
        from: ControllerId::new(1),
        to: ControllerId::new(2),
    });
    message.cluster_id = "no uuid".to_owned();
    assert!(header(Some(message)).is_err() && header(None).is_err());
}
