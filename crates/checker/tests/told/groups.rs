//! A consumer group of two members, which moves partitions between them.

use super::{PARTITIONS, Teller, key};
use quipu_checker::{
    Commit, CommitId, Committed, Committer, FoundCommit, Group, GroupEpoch, Kind, Member, MemberEpoch, Op,
    Owned, Poll, PolledPartition, Process, Released, Subscribe, Topic,
};
use quipu_record::Offset;

pub(super) struct Groups {
    group: Group,
    members: [Member; 2],
    processes: [Process; 2],
    reader: Process,
    epoch: u32,
    /// Of each partition: who owns it, since which epoch, how far it was read, and what was committed.
    owned: Vec<Place>,
}

#[derive(Clone, Default)]
struct Place {
    owner: usize,
    since: u32,
    position: usize,
    committed: Option<FoundCommit>,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            group: Group::new("g"),
            members: [Member::new("m0"), Member::new("m1")],
            processes: [Process::Client(900), Process::Client(901)],
            reader: Process::Client(902),
            epoch: 2,
            owned: vec![Place::default(); PARTITIONS],
        }
    }
}

impl Teller {
    /// Both members subscribe, and each gets half.
    pub(super) fn share_out(&mut self) {
        for process in self.groups.processes {
            let subscribe = Op::Subscribe(Subscribe {
                group: self.groups.group.clone(),
                topics: vec![Topic::new("orders")],
            });
            self.did(process, subscribe.clone(), subscribe);
        }
        for partition in 0..PARTITIONS {
            self.give(partition, partition % 2);
        }
    }

    fn give(&mut self, partition: usize, owner: usize) {
        let groups = &mut self.groups;
        let place = &mut groups.owned[partition];
        (place.owner, place.since) = (owner, groups.epoch);
        place.position = place.committed.map_or(0, |found| {
            usize::try_from(found.offset.get()).expect("a short story")
        });
        let owned = Op::Owned(Owned {
            group: groups.group.clone(),
            member: groups.members[owner].clone(),
            key: key(partition),
            assignment_epoch: MemberEpoch(groups.epoch),
            member_epoch: MemberEpoch(groups.epoch),
            group_epoch: Some(GroupEpoch(groups.epoch)),
        });
        let process = groups.processes[owner];
        self.tell(process, Kind::Info, owned);
    }

    fn take(&mut self, partition: usize) {
        let groups = &self.groups;
        let owner = groups.owned[partition].owner;
        let released = Op::Released(Released {
            group: groups.group.clone(),
            member: groups.members[owner].clone(),
            key: key(partition),
            lost: false,
        });
        let process = groups.processes[owner];
        self.tell(process, Kind::Info, released);
    }

    /// A partition goes from one member to the other.
    pub(super) fn rebalance(&mut self) {
        let partition = self.choose(PARTITIONS);
        self.take(partition);
        self.groups.epoch += 1;
        self.give(partition, 1 - self.groups.owned[partition].owner);
    }

    pub(super) fn group_poll(&mut self) {
        let partition = self.choose(PARTITIONS);
        let Place { owner, position, .. } = self.groups.owned[partition];
        let process = self.groups.processes[owner];
        let records = self.logs[partition].records(position, 6);
        self.groups.owned[partition].position += records.len();
        let got = PolledPartition {
            records,
            ..PolledPartition::asked(key(partition), Offset::new(position as u64))
        };
        self.did(process, Op::Poll(Poll::default()), Op::Poll(Poll::of(vec![got])));
    }

    pub(super) fn commit(&mut self) {
        let partition = self.choose(PARTITIONS);
        self.commit_one(partition);
    }

    fn commit_one(&mut self, partition: usize) {
        let groups = &mut self.groups;
        let place = &mut groups.owned[partition];
        let id = CommitId(self.next_commit);
        self.next_commit += 1;
        let offset = Offset::new(place.position as u64);
        place.committed = Some(FoundCommit { offset, id: Some(id) });
        let commit = Op::Commit(Commit {
            group: groups.group.clone(),
            key: key(partition),
            offset,
            id,
            by: Some(Committer {
                member: groups.members[place.owner].clone(),
                member_epoch: MemberEpoch(place.since),
            }),
            fenced: false,
        });
        let process = groups.processes[place.owner];
        self.did(process, commit.clone(), commit);
    }

    pub(super) fn read_committed(&mut self) {
        let partition = self.choose(PARTITIONS);
        self.committed(partition);
    }

    fn committed(&mut self, partition: usize) {
        let found = self.groups.owned[partition].committed;
        let committed = |found| {
            Op::Committed(Committed {
                group: self.groups.group.clone(),
                key: key(partition),
                found,
            })
        };
        let (asked, done) = (committed(None), committed(found));
        self.did(self.groups.reader, asked, done);
    }

    /// Each partition is committed twice and read, moves, and is given up.
    pub(super) fn end_of_groups(&mut self) {
        for partition in 0..PARTITIONS {
            self.commit_one(partition);
            self.commit_one(partition);
            self.committed(partition);
            self.take(partition);
            self.groups.epoch += 1;
            self.give(partition, 1 - self.groups.owned[partition].owner);
            self.take(partition);
        }
    }
}
