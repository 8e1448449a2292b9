//! Topics that come and go.

use super::Teller;
use quipu_checker::{MetadataRead, MetadataWrite, Op, Process, Topic};
use quipu_record::MetadataVersion;
use std::collections::BTreeMap;

pub(super) struct Topics {
    admin: Process,
    reader: Process,
    version: u64,
    next: u32,
    topics: BTreeMap<Topic, u32>,
}

impl Topics {
    pub(super) const fn new() -> Self {
        Self {
            admin: Process::Client(903),
            reader: Process::Client(904),
            version: 100,
            next: 0,
            topics: BTreeMap::new(),
        }
    }
}

impl Teller {
    pub(super) fn create_topic(&mut self) {
        self.topics.next += 1;
        let topic = Topic::new(&format!("t{}", self.topics.next));
        self.topics.topics.insert(topic.clone(), 3);
        self.write_metadata(topic, Some(3));
    }

    pub(super) fn delete_topic(&mut self) {
        // A few at a time: a read tells all of them.
        while self.topics.topics.len() > 2 {
            let (topic, _) = self.topics.topics.pop_first().expect("more than two");
            self.write_metadata(topic, None);
        }
    }

    fn write_metadata(&mut self, topic: Topic, partitions: Option<u32>) {
        self.topics.version += 2;
        let version = MetadataVersion::new(self.topics.version);
        let write = |version| {
            Op::MetadataWrite(MetadataWrite {
                topic: topic.clone(),
                partitions,
                version,
            })
        };
        self.did(self.topics.admin, write(None), write(Some(version)));
    }

    pub(super) fn read_metadata(&mut self) {
        let linearizable = self.choose(2) == 0;
        self.read_topics(linearizable);
    }

    fn read_topics(&mut self, linearizable: bool) {
        let asked = MetadataRead {
            linearizable,
            ..MetadataRead::default()
        };
        let got = MetadataRead {
            version: Some(MetadataVersion::new(self.topics.version)),
            topics: self.topics.topics.clone(),
            ..asked
        };
        self.did(self.topics.reader, Op::MetadataRead(asked), Op::MetadataRead(got));
    }

    /// Two reads that may lag; two topics are created; a read that may not lag.
    pub(super) fn end_of_topics(&mut self) {
        self.read_topics(false);
        self.read_topics(false);
        self.create_topic();
        self.create_topic();
        self.read_topics(true);
    }
}
