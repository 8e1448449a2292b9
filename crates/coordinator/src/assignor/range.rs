//! Of each topic a contiguous range to each of its subscribers, static members first.

use super::Problem;
use quipu_record::{PartitionId, TopicPartition};

pub(super) fn solve(problem: &Problem<'_>) -> Vec<Vec<TopicPartition>> {
    let mut order: Vec<usize> = (0..problem.takers.len()).collect();
    order.sort_by_key(|index| {
        let taker = &problem.takers[*index];
        (taker.instance.is_none(), taker.instance, taker.member)
    });
    let mut subscribers: Vec<Vec<usize>> = vec![Vec::new(); problem.topics.len()];
    for index in order {
        for topic in &problem.takers[index].topics {
            subscribers[*topic].push(index);
        }
    }
    let mut given = vec![Vec::new(); problem.takers.len()];
    for (shape, takers) in problem.topics.iter().zip(subscribers) {
        let count = u32::try_from(takers.len()).unwrap_or(u32::MAX);
        let (Some(quota), Some(more)) = (
            shape.partitions.checked_div(count),
            shape.partitions.checked_rem(count),
        ) else {
            continue;
        };
        let mut next = 0;
        for (rank, taker) in (0u32..).zip(takers) {
            let end = next + quota + u32::from(rank < more);
            given[taker].extend((next..end).map(|partition| TopicPartition {
                topic: shape.topic,
                partition: PartitionId::new(partition),
            }));
            next = end;
        }
    }
    given
}
