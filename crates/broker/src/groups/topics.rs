//! Topics as coordinators see them: the metadata in effect here. Its version is that of the metadata, since a coordinator
//! stores it and the next one, on another broker, compares. A coordinator is told of a change only if it is one that an
//! assignment depends on: a change of in-sync replicas is not.

use crate::data_plane::DataPlane;
use quipu_coordinator::Topics;
use quipu_metadata::{Image, Topic};
use quipu_record::{BrokerId, PartitionId, TopicId};
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The metadata as of now.
#[derive(Debug)]
pub(super) struct TopicsNow {
    image: Arc<Image>,
    fingerprint: u64,
    racks: OnceLock<Racks>,
}

/// The racks of each partition's replicas, one list for all that have the same replicas. Empty where no broker has one.
type Racks = HashMap<TopicId, Vec<Arc<[Arc<str>]>>>;

/// The last look, which the coordinators of a broker share.
#[derive(Debug, Default)]
pub(super) struct TopicsCache {
    last: Mutex<Option<Arc<TopicsNow>>>,
}

impl TopicsCache {
    /// What the metadata in effect says.
    pub(super) fn now(&self, plane: &DataPlane) -> Arc<TopicsNow> {
        let image = plane.image.load_full();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && Arc::ptr_eq(&last.image, &image)
        {
            return Arc::clone(last);
        }
        let now = Arc::new(TopicsNow::of(image));
        *last = Some(Arc::clone(&now));
        now
    }
}

impl TopicsNow {
    fn of(image: Arc<Image>) -> Self {
        Self {
            fingerprint: fingerprint(&image),
            image,
            racks: OnceLock::new(),
        }
    }

    /// Whether it is the very same look.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.image, &other.image)
    }

    /// Whether something that matters differs.
    pub(super) fn differs(&self, other: &Self) -> bool {
        self.fingerprint != other.fingerprint
    }

    fn public(&self, id: TopicId) -> Option<&Topic> {
        self.image
            .topic(id)
            .map(AsRef::as_ref)
            .filter(|topic: &&Topic| !topic.internal)
    }

    fn racks_of(&self) -> &Racks {
        self.racks.get_or_init(|| racks(&self.image))
    }
}

/// Of the topics, how many partitions each has, and where brokers are.
fn fingerprint(image: &Image) -> u64 {
    let mut sum = 0u64;
    let hash = |what: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        what(&mut hasher);
        hasher.finish()
    };
    let racked = image.brokers().any(|broker| broker.rack.is_some());
    for topic in image.topics() {
        sum = sum.wrapping_add(hash(&|to| {
            (topic.id, topic.partitions.len(), topic.internal).hash(to);
            if racked {
                for (_, state) in topic.partitions.iter() {
                    state.replicas.iter().for_each(|replica| replica.hash(to));
                }
            }
        }));
    }
    for broker in image.brokers().filter(|broker| broker.rack.is_some()) {
        sum = sum.wrapping_add(hash(&|to| (broker.id, &broker.rack).hash(to)));
    }
    sum
}

fn racks(image: &Image) -> Racks {
    let mut racks = Racks::new();
    if image.brokers().all(|broker| broker.rack.is_none()) {
        return racks;
    }
    let mut lists: HashMap<Vec<BrokerId>, Arc<[Arc<str>]>> = HashMap::new();
    for topic in image.topics() {
        let of = topic.partitions.iter().map(|(_, state)| {
            let replicas: Vec<_> = state.replicas.iter().collect();
            let list = lists.entry(replicas).or_insert_with_key(|replicas| {
                let racks = replicas
                    .iter()
                    .filter_map(|replica| image.broker(*replica)?.rack.as_deref());
                // Each once.
                racks
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .map(Arc::from)
                    .collect()
            });
            Arc::clone(list)
        });
        racks.insert(topic.id, of.collect());
    }
    racks
}

impl Topics for TopicsNow {
    fn named(&self, name: &str) -> Option<TopicId> {
        let topic = self.image.topic_named(name).filter(|topic| !topic.internal)?;
        Some(topic.id)
    }

    fn name(&self, id: TopicId) -> Option<Arc<str>> {
        Some(Arc::clone(&self.public(id)?.name))
    }

    fn partitions(&self, id: TopicId) -> Option<u32> {
        u32::try_from(self.public(id)?.partitions.len()).ok()
    }

    fn racks(&self, id: TopicId, partition: PartitionId) -> &[Arc<str>] {
        let of = self.racks_of().get(&id);
        let list = of.and_then(|of| of.get(partition.get() as usize));
        list.map_or(&[], |list| list)
    }

    fn each(&self, f: &mut dyn FnMut(&str, TopicId)) {
        let topics = self.image.topics_by_name().filter(|topic| !topic.internal);
        topics.for_each(|topic| f(&topic.name, topic.id));
    }

    fn version(&self) -> u64 {
        self.image.version().get()
    }
}
