//! Partitions of one fetch that others lead: one request to each leader, all at once.

use super::{ANSWER_BYTES_MAX, Target, failed, timed};
use crate::data_plane::DataPlane;
use quipu_proto::v1;
use quipu_proto::v1::consume_service_client::ConsumeServiceClient;
use quipu_record::BrokerId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Once somebody has something, the others get so long.
pub(crate) const GRACE: Duration = Duration::from_millis(50);

/// The partitions of a fetch that others lead, by leader: with their places in the request.
pub(crate) type Elsewhere = BTreeMap<BrokerId, Vec<(usize, Target, v1::FetchPartition)>>;

/// Partitions' parts of an answer, with their places in the request.
pub(crate) type Placed = Vec<(usize, v1::PartitionData)>;

/// Fetches from every leader. Each comes back with its partitions' places when it has answered.
pub(crate) fn fetch(
    plane: &Arc<DataPlane>,
    listener: &Arc<str>,
    elsewhere: Elsewhere,
    like: &v1::FetchRequest,
) -> JoinSet<Placed> {
    let mut asked = JoinSet::new();
    for parts in elsewhere.into_values() {
        let (plane, listener) = (Arc::clone(plane), Arc::clone(listener));
        let like = like.clone();
        asked.spawn(async move { fetch_from(&plane, &listener, parts, like).await });
    }
    asked
}

/// Fetches partitions from the one broker that leads them.
pub(crate) async fn fetch_from(
    plane: &DataPlane,
    listener: &str,
    parts: Vec<(usize, Target, v1::FetchPartition)>,
    like: v1::FetchRequest,
) -> Placed {
    let Some((_, Target { peer, .. }, _)) = parts.first() else {
        return Vec::new();
    };
    let patience = Duration::from_millis(like.max_wait_ms.into());
    let request = v1::FetchRequest {
        partitions: parts.iter().map(|(_, _, part)| part.clone()).collect(),
        routing: v1::Routing::LeaderOnly.into(),
        ..like
    };
    let mut client =
        ConsumeServiceClient::new(peer.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let answer = client.fetch(timed(request, patience)).await;
    match answer {
        Ok(answer) => {
            let data = answer.into_inner().partitions.into_iter().zip(parts);
            data.map(|(mut data, (place, target, _))| {
                data.error = plane.relayed_item(data.error, &target, listener);
                (place, data)
            })
            .collect()
        }
        Err(status) => {
            let failure = failed(&status, peer, false);
            let failed = parts.into_iter().map(|(place, target, part)| {
                let error = plane.relayed(failure.clone(), &target, listener);
                let data = v1::PartitionData {
                    error: Some(error.into()),
                    ..nothing(&target, &part)
                };
                (place, data)
            });
            failed.collect()
        }
    }
}

/// Nothing is known of a partition yet.
pub(crate) fn nothing(target: &Target, part: &v1::FetchPartition) -> v1::PartitionData {
    v1::PartitionData {
        topic: target.topic.name.to_string(),
        topic_id: target.topic.id_text.clone(),
        partition: part.partition,
        next_offset: part.offset,
        ..v1::PartitionData::default()
    }
}
