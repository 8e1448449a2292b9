//! A broker's own life, stage by stage, and random lives of it against a controller that comes and goes.

use quipu_metadata::*;
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, PartitionId, Tick, TopicId, TopicPartition};
use std::time::Duration;

const ID: BrokerId = BrokerId::new(1);
const EPOCH: BrokerEpoch = BrokerEpoch::new(7);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn applied(version: u64, fenced: bool) -> LifecycleEvent {
    LifecycleEvent::Applied {
        version: MetadataVersion::new(version),
        registered: Some((EPOCH, fenced)),
    }
}

const ANSWER: HeartbeatAnswer = HeartbeatAnswer {
    fenced: false,
    should_shutdown: false,
    stale: false,
};

struct Life {
    life: Lifecycle,
    now: Tick,
}

impl Life {
    fn new() -> Self {
        let now = Tick::from_nanos(0);
        let life = Lifecycle::new(ID, LifecycleConfig::default(), now);
        Self { life, now }
    }

    fn step(&mut self, event: LifecycleEvent) -> Vec<LifecycleEffect> {
        self.life.step(self.now, event)
    }

    /// The clock goes to the next deadline.
    fn wait(&mut self) -> (Duration, Vec<LifecycleEffect>) {
        let deadline = self.life.deadline().expect("something is due");
        let waited = deadline.since(self.now);
        self.now = self.now.max(deadline);
        (waited, self.step(LifecycleEvent::Tick))
    }

    fn serving() -> Self {
        let mut life = Self::new();
        assert_eq!(life.step(LifecycleEvent::Tick), [LifecycleEffect::Register]);
        assert_eq!(
            life.step(LifecycleEvent::Registered(EPOCH)),
            [LifecycleEffect::OpenStream]
        );
        life.beat(LifecycleEvent::StreamOpened);
        assert_eq!(life.step(LifecycleEvent::Ready), []);
        life.step(LifecycleEvent::Answered(ANSWER));
        let heartbeat = life.beat(applied(7, true));
        assert!(!heartbeat.want_fence);
        assert_eq!(life.step(applied(8, false)), [LifecycleEffect::Serve]);
        assert_eq!(life.life.stage(), LifecycleStage::Serving);
        life.step(LifecycleEvent::Answered(ANSWER));
        life
    }

    /// This leads to a heartbeat and nothing else.
    fn beat(&mut self, event: LifecycleEvent) -> Heartbeat {
        let mut effects = self.step(event);
        assert_eq!(effects.len(), 1, "{effects:?}");
        let LifecycleEffect::Heartbeat(heartbeat) = effects.remove(0) else {
            panic!("{effects:?}");
        };
        heartbeat
    }
}

#[test]
fn a_broker_registers_catches_up_is_unfenced_and_serves() {
    let mut life = Life::new();
    assert_eq!(life.step(LifecycleEvent::Tick), [LifecycleEffect::Register]);
    assert_eq!(life.life.deadline(), None, "an attempt is under way");
    assert_eq!(
        life.step(LifecycleEvent::Registered(EPOCH)),
        [LifecycleEffect::OpenStream]
    );
    let first = life.beat(LifecycleEvent::StreamOpened);
    assert!(
        first.want_fence && first.epoch == EPOCH,
        "it is not ready: {first:?}"
    );
    life.step(LifecycleEvent::Answered(ANSWER));
    assert_eq!(life.step(LifecycleEvent::Ready), []);
    // An image of before its registration: what it says of this broker is about the lifetime before.
    let earlier = LifecycleEvent::Applied {
        version: MetadataVersion::new(6),
        registered: Some((BrokerEpoch::new(3), false)),
    };
    assert_eq!(life.step(earlier), []);
    assert_eq!(life.life.stage(), LifecycleStage::CatchingUp);
    let ready = life.beat(applied(7, true));
    assert!(!ready.want_fence && ready.metadata_version.get() == 7);
    assert_eq!(life.life.stage(), LifecycleStage::Fenced);
    assert_eq!(life.step(applied(9, false)), [LifecycleEffect::Serve]);
}

#[test]
fn registration_is_tried_again_with_longer_pauses_and_ends_when_refused() {
    let mut life = Life::new();
    life.step(LifecycleEvent::Tick);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        assert_eq!(life.step(LifecycleEvent::RegisterFailed), []);
        let (waited, effects) = life.wait();
        assert_eq!(effects, [LifecycleEffect::Register]);
        pauses.push(waited.as_millis());
    }
    assert_eq!(pauses, [25, 50, 100, 100, 100, 100]);
    let ended = life.step(LifecycleEvent::RegisterRefused);
    assert_eq!(ended, [LifecycleEffect::End(Ending::Refused)]);
    assert_eq!(
        (life.step(LifecycleEvent::Drain), life.life.deadline()),
        (vec![], None)
    );
}

#[test]
fn a_heartbeat_a_second_and_more_while_something_is_waited_for() {
    let mut life = Life::serving();
    // The last one was sent in a hurry; from there on once a second.
    life.wait();
    life.step(LifecycleEvent::Answered(ANSWER));
    assert_eq!(life.wait().0, ms(1000));
    life.step(LifecycleEvent::Answered(ANSWER));
    assert!(life.beat(LifecycleEvent::Drain).want_shutdown);
    life.step(LifecycleEvent::Answered(ANSWER));
    assert_eq!(life.wait().0, ms(100));
}

#[test]
fn a_lost_stream_is_opened_again_well_within_the_second_and_the_broker_goes_on() {
    let mut life = Life::serving();
    assert_eq!(life.step(LifecycleEvent::StreamLost), []);
    let mut pauses = Vec::new();
    for _ in 0..5 {
        let (waited, effects) = life.wait();
        assert_eq!(effects, [LifecycleEffect::OpenStream]);
        pauses.push(waited.as_millis());
        life.step(LifecycleEvent::StreamLost);
    }
    assert_eq!(pauses, [25, 50, 100, 100, 100]);
    assert_eq!(life.life.stage(), LifecycleStage::Serving, "nobody fences itself");
    life.wait();
    assert!(!life.beat(LifecycleEvent::StreamOpened).want_fence);
}

#[test]
fn a_stream_that_answers_nothing_is_given_up() {
    let mut life = Life::serving();
    life.wait();
    let mut waited = Duration::ZERO;
    loop {
        let (time, effects) = life.wait();
        waited += time;
        if effects == [LifecycleEffect::OpenStream] {
            break;
        }
        assert!(matches!(effects[..], [LifecycleEffect::Heartbeat(_)]));
    }
    assert_eq!(waited, ms(3000));
}

#[test]
fn a_fenced_broker_goes_on_trying() {
    let mut life = Life::serving();
    let effects = life.step(applied(12, true));
    assert_eq!(effects[0], LifecycleEffect::Fenced);
    assert!(matches!(&effects[1..], [LifecycleEffect::Heartbeat(h)] if !h.want_fence));
    assert_eq!(life.step(applied(13, false)), [LifecycleEffect::Serve]);
}

#[test]
fn what_is_offline_is_told_at_once_and_each_time() {
    let mut life = Life::serving();
    let offline = vec![TopicPartition {
        topic: TopicId::from_u128(1),
        partition: PartitionId::new(0),
    }];
    assert_eq!(
        life.beat(LifecycleEvent::Offline(offline.clone())).offline,
        offline
    );
    life.step(LifecycleEvent::Answered(ANSWER));
    assert_eq!(
        life.step(LifecycleEvent::Offline(offline.clone())),
        [],
        "nothing new"
    );
    let (_, effects) = life.wait();
    assert!(matches!(&effects[..], [LifecycleEffect::Heartbeat(h)] if h.offline == offline));
}

#[test]
fn another_lifetime_of_it_ends_it() {
    let stale = HeartbeatAnswer {
        stale: true,
        ..ANSWER
    };
    let mut life = Life::serving();
    assert_eq!(
        life.step(LifecycleEvent::Answered(stale)),
        [LifecycleEffect::End(Ending::Stale)]
    );
    let mut life = Life::serving();
    let other = LifecycleEvent::Applied {
        version: MetadataVersion::new(20),
        registered: Some((BrokerEpoch::new(20), true)),
    };
    assert_eq!(life.step(other), [LifecycleEffect::End(Ending::Stale)]);
}

#[test]
fn it_goes_when_it_may_or_has_waited_for_long_enough() {
    let may_go = HeartbeatAnswer {
        should_shutdown: true,
        ..ANSWER
    };
    let mut life = Life::serving();
    assert_eq!(life.step(LifecycleEvent::Answered(may_go)), [], "it did not ask");
    life.step(LifecycleEvent::Drain);
    assert_eq!(life.life.stage(), LifecycleStage::Draining);
    assert_eq!(life.step(LifecycleEvent::Answered(may_go)), [LifecycleEffect::Go]);
    assert_eq!(life.life.stage(), LifecycleStage::Over);

    // Nobody says that it may.
    let mut life = Life::serving();
    life.step(LifecycleEvent::Drain);
    let begun = life.now;
    loop {
        let (_, effects) = life.wait();
        if effects == [LifecycleEffect::Go] {
            break;
        }
        life.step(LifecycleEvent::Answered(ANSWER));
    }
    assert_eq!(life.now.since(begun), Duration::from_secs(35));

    // Nobody is there to say it.
    let mut life = Life::serving();
    life.step(LifecycleEvent::Drain);
    let begun = life.now;
    life.step(LifecycleEvent::StreamLost);
    loop {
        let (_, effects) = life.wait();
        if effects == [LifecycleEffect::Go] {
            break;
        }
        assert_eq!(effects, [LifecycleEffect::OpenStream]);
        life.step(LifecycleEvent::StreamLost);
    }
    assert_eq!(life.now.since(begun), Duration::from_secs(5));

    // It was never there.
    let mut life = Life::new();
    assert_eq!(life.step(LifecycleEvent::Drain), [LifecycleEffect::Go]);
}
