//! One history: three brokers, messages that are lost, repeated and late, power cuts, and a metadata that goes on.

use super::broker::{Broker, Settings};
use super::ghost::{Checked, Ghost, read};
use super::metadata::{BROKERS, Metadata, id, index};
use quipu_record::{
    Batch, BatchBuilder, BrokerEpoch, Codec, Offset, ProducerEpoch, ProducerId, ProducerStamp, Sequence,
};
use quipu_replication::{
    Acks, Append, DeleteBefore, DeleteRecords, Durability, Effects, FetchResult, FetchToken, Fetched,
    FollowerFetch, Input, IsrAnswered, IsrProposal, IsrResult, PartitionConfig, Position, Tick, Token,
    Verdict,
};
use quipu_storage::LogConfig;
use quipu_storage::test_util::Rng;
use std::sync::Arc;
use std::time::Duration;

/// What is on the way.
#[derive(Clone)]
enum Message {
    Metadata(usize, Box<Metadata>),
    Fetch(usize, usize, BrokerEpoch, Position),
    Answer(usize, Fetched),
    Propose(usize, BrokerEpoch, IsrProposal, bool),
    Proposed(usize, IsrAnswered),
}

/// By then whoever carries a proposal has given up.
const LATE: Duration = Duration::from_secs(5);

pub(crate) struct History {
    chance: Rng,
    now: Tick,
    settings: Settings,
    metadata: Metadata,
    brokers: Vec<Broker>,
    messages: Vec<(Tick, Message)>,
    ghost: Ghost,
    /// What a batch that waits for its answer has: how many records.
    sent: Vec<u32>,
    tell: bool,
    calm: bool,
    /// How rare trouble is.
    quiet: u64,
    elections: bool,
}

impl History {
    pub(crate) fn run(seed: u64, steps: u64, tell: bool) -> Result<u64, String> {
        let mut chance = Rng::new(seed);
        let durability = if chance.one_in(3) {
            Durability::Replicated
        } else {
            Durability::Fsync
        };
        let min_insync = 1 + u32::try_from(chance.below(2)).unwrap();
        let settings = Settings {
            partition: Arc::new(PartitionConfig {
                durability,
                timestamp_after_max: None,
                ..PartitionConfig::default()
            }),
            log: LogConfig {
                segment_bytes: 512 << chance.below(4),
                retention_ms: None,
                ..LogConfig::default()
            },
        };
        let mut history = Self {
            chance,
            now: Tick::from_nanos(1),
            settings,
            metadata: Metadata::new(min_insync),
            brokers: (0..BROKERS).map(Broker::new).collect(),
            messages: Vec::new(),
            ghost: Ghost::default(),
            sent: Vec::new(),
            tell,
            calm: false,
            quiet: 1 + seed % 4,
            elections: seed.is_multiple_of(3),
        };
        for broker in 0..BROKERS {
            history.brokers[broker].start(&history.settings, BrokerEpoch::new(1), 0)?;
        }
        history.announce();
        for step in 0..steps {
            history
                .some_step()
                .map_err(|fault| format!("step {step}: {fault}"))?;
        }
        history.come_to_rest()?;
        Ok(history.ghost.acks)
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.tell {
            println!("{:?} {}", self.now, what());
        }
    }

    fn some_step(&mut self) -> Checked {
        let wait = match self.chance.below(self.quiet * 200) {
            0 => 11_000,
            1..4 => 3_000,
            _ => self.chance.below(20),
        };
        self.now = self.now.after(Duration::from_millis(wait));
        let broker = self.chance.index(BROKERS);
        if self.chance.one_in(10 * self.quiet) {
            return self.trouble(broker);
        }
        match self.chance.below(26) {
            0..14 => self.deliver(),
            14..19 => self.flush(broker),
            19..21 => self.produce(broker),
            21..25 => {
                self.send(broker);
                Ok(())
            }
            _ => self.step(broker, Input::Tick),
        }
    }

    fn trouble(&mut self, broker: usize) -> Checked {
        // Some histories are of elections, and nothing else happens in them.
        let kind = if self.elections {
            5 + self.chance.below(5)
        } else {
            self.chance.below(10)
        };
        match kind {
            0..2 => self.crash(broker),
            2..5 => self.begin(broker),
            5..7 => self.change_metadata(broker),
            7 => self.delete(broker),
            8 => {
                self.announce();
                Ok(())
            }
            _ => {
                self.unfence(broker);
                Ok(())
            }
        }
    }

    fn post(&mut self, message: Message) {
        if self.calm || !self.chance.one_in(8) {
            self.messages.push((self.now, message.clone()));
        }
        if !self.calm && self.chance.one_in(8) {
            self.messages.push((self.now, message));
        }
    }

    /// Everybody is told of the metadata, sooner or later.
    fn announce(&mut self) {
        for broker in 0..BROKERS {
            let metadata = Box::new(self.metadata.clone());
            self.post(Message::Metadata(broker, metadata));
        }
    }

    fn deliver(&mut self) -> Checked {
        if self.messages.is_empty() {
            return Ok(());
        }
        let at = if self.chance.one_in(3) {
            self.chance.index(self.messages.len())
        } else {
            0
        };
        let (sent, message) = self.messages.remove(at);
        match message {
            Message::Metadata(broker, metadata) => self.learn(broker, &metadata),
            Message::Fetch(from, to, life, position) => self.fetch(from, to, life, position),
            Message::Answer(to, fetched) => self.step(to, Input::Fetched(fetched)),
            Message::Propose(..) if self.now.since(sent) > LATE => Ok(()),
            Message::Propose(from, life, proposal, repeated) => {
                let result = self.metadata.alter(from, life, &proposal);
                self.say(|| format!("broker {} proposes {proposal:?}: {result:?}", from + 1));
                if let IsrResult::Done(_) = result {
                    self.announce();
                }
                let answer = IsrAnswered {
                    proposal,
                    repeated,
                    result,
                };
                self.post(Message::Proposed(from, answer));
                Ok(())
            }
            Message::Proposed(to, answer) => {
                if let Some(process) = &mut self.brokers[to].process {
                    process.proposal = process
                        .proposal
                        .take()
                        .filter(|(sent, _)| *sent != answer.proposal);
                }
                self.step(to, Input::IsrAnswered(answer))
            }
        }
    }

    fn learn(&mut self, broker: usize, metadata: &Metadata) -> Checked {
        let process = self.brokers[broker].process.as_mut();
        match process.and_then(|process| process.learn(broker, metadata)) {
            Some(input) => self.step(broker, input),
            None => Ok(()),
        }
    }

    fn step(&mut self, broker: usize, input: Input) -> Checked {
        self.step_with(broker, input).map(|_| ())
    }

    fn step_with(&mut self, broker: usize, input: Input) -> Result<Effects, String> {
        let Some(process) = &mut self.brokers[broker].process else {
            return Ok(Effects::default());
        };
        let before = process.driver.view();
        let told = self.tell.then(|| format!("{input:?}"));
        let effects = process.step(self.now, input);
        if let Some(what) = &effects.fatal {
            return Err(format!("broker {}: {what}", broker + 1));
        }
        if let Some(told) = told {
            let told: String = told.chars().take(160).collect();
            let view = process.driver.view();
            println!("{:?} broker {}: {told} ⇒ {view:?}", self.now, broker + 1);
        }
        self.ghost.look(&self.brokers[broker], &before, &self.metadata)?;
        for answer in &effects.answers {
            if let Ok(appended) = &answer.result {
                let records = self.sent[usize::try_from(answer.token.0).unwrap()];
                let end = appended.base_offset.plus(records.into());
                self.ghost.acknowledged(appended.base_offset, end)?;
            }
        }
        Ok(effects)
    }

    /// At the leader: judges, and sends what there is.
    fn fetch(&mut self, from: usize, to: usize, life: BrokerEpoch, position: Position) -> Checked {
        let fetch = FollowerFetch {
            token: FetchToken(1),
            broker: id(from),
            broker_epoch: life,
            position,
        };
        let mut effects = self.step_with(to, Input::FollowerFetch(fetch))?;
        let (Some((_, verdict)), Some(process)) = (effects.fetches.pop(), &self.brokers[to].process) else {
            return Ok(());
        };
        let leading = process.driver.view().leading.map(|leading| leading.epoch);
        if matches!(verdict, Verdict::Accepted { .. }) && leading != Some(position.leader_epoch) {
            return Err(format!(
                "the leader of {leading:?} counts what was said in another epoch: {position:?}"
            ));
        }
        let result = match verdict {
            Verdict::Accepted {
                from,
                high_watermark,
                log_start,
                log_end,
            } => {
                let mut batches = read(&process.driver, from, log_end)?;
                batches.truncate(1 + self.chance.index(4));
                FetchResult::Accepted {
                    high_watermark,
                    log_start,
                    tombstone_floor: process.driver.reader().tombstone_floor(),
                    cleaned_to: process.driver.reader().cleaned_to(),
                    batches,
                }
            }
            Verdict::Diverging { epoch, end_offset } => FetchResult::Diverging { epoch, end_offset },
            Verdict::OutOfRange { log_start } => FetchResult::OutOfRange { log_start },
            Verdict::Refused(code) => FetchResult::Refused(code),
        };
        self.post(Message::Answer(
            from,
            Fetched {
                leader_epoch: position.leader_epoch,
                fetch_offset: position.fetch_offset,
                last_fetched_epoch: position.last_fetched_epoch,
                result,
            },
        ));
        Ok(())
    }

    /// A broker says once more what it has to say.
    fn send(&mut self, broker: usize) {
        let Some(process) = &mut self.brokers[broker].process else {
            return;
        };
        let life = process.life;
        let position = process.position.zip(process.driver.view().following);
        let proposal = process.proposal.as_mut().map(|(proposal, sent)| {
            *sent += 1;
            (proposal.clone(), *sent > 1)
        });
        if let Some((position, following)) = position {
            self.post(Message::Fetch(broker, index(following.leader), life, position));
        }
        if let Some((proposal, repeated)) = proposal {
            self.post(Message::Propose(broker, life, proposal, repeated));
        }
    }

    fn flush(&mut self, broker: usize) -> Checked {
        let Some(process) = &mut self.brokers[broker].process else {
            return Ok(());
        };
        if process.wants_flush || self.calm {
            process.flush();
        }
        let done = if self.calm || self.chance.one_in(2) {
            process.flushed.pop_front()
        } else {
            None
        };
        match done {
            Some(done) => self.step(broker, Input::Flushed(done)),
            None => Ok(()),
        }
    }

    fn produce(&mut self, broker: usize) -> Checked {
        let leads = |broker: &Broker| {
            broker
                .process
                .as_ref()
                .is_some_and(|it| it.driver.view().leading.is_some())
        };
        let leaders: Vec<_> = (0..BROKERS)
            .filter(|broker| leads(&self.brokers[*broker]))
            .collect();
        let broker = leaders
            .get(self.chance.index(leaders.len()))
            .copied()
            .unwrap_or(broker);
        let records = 1 + u32::try_from(self.chance.below(3)).unwrap();
        let token = self.sent.len() as u64;
        self.sent.push(records);
        let mut builder = BatchBuilder::new(Codec::None, 256);
        for record in 0..records {
            let value = format!("{token} {record}");
            builder
                .push(super::broker::WALL, None, Some(value.as_bytes()), &[])
                .unwrap();
        }
        let stamp = self.chance.one_in(2).then(|| ProducerStamp {
            id: ProducerId::new(token),
            epoch: ProducerEpoch::new(0),
            base_sequence: Sequence::FIRST,
        });
        let batch = Batch::check(builder.finish(stamp).unwrap(), 1 << 20).unwrap();
        let append = Append {
            token: Token(token),
            summary: batch.validate_records(1 << 20).unwrap(),
            batch,
            acks: Acks::All,
            deadline: self.now.after(Duration::from_secs(30)),
        };
        self.step(broker, Input::Produce(vec![append]))
    }

    fn delete(&mut self, broker: usize) -> Checked {
        let Some(process) = &self.brokers[broker].process else {
            return Ok(());
        };
        let view = process.driver.view();
        let before = view
            .log_start
            .plus(self.chance.below(view.high_watermark.since(view.log_start) + 1));
        self.step(
            broker,
            Input::DeleteRecords(DeleteRecords {
                token: Token(0),
                before: DeleteBefore::Offset(before),
            }),
        )
    }

    fn crash(&mut self, broker: usize) -> Checked {
        if self.brokers[broker].process.is_none() {
            return Ok(());
        }
        // Without fsync a power cut may lose what was acknowledged: that is what it says.
        let cut = self.settings.partition.durability == Durability::Fsync && self.chance.one_in(2);
        self.say(|| format!("broker {} goes, by a power cut: {cut}", broker + 1));
        if cut {
            let seed = self.chance.next_u64();
            self.brokers[broker].power_cut(seed);
        } else {
            self.brokers[broker].kill();
        }
        if self.chance.one_in(2) {
            self.metadata.fence(broker);
            self.announce();
        }
        Ok(())
    }

    fn begin(&mut self, broker: usize) -> Checked {
        if self.brokers[broker].process.is_some() {
            return Ok(());
        }
        let life = self.metadata.register(broker);
        self.say(|| format!("broker {} begins: {life:?}", broker + 1));
        self.brokers[broker].start(&self.settings, life, life.get())?;
        Ghost::producers(&self.brokers[broker])?;
        self.announce();
        Ok(())
    }

    fn unfence(&mut self, broker: usize) {
        let (life, fenced) = self.metadata.brokers[broker];
        let process = self.brokers[broker].process.as_ref();
        if fenced && process.is_some_and(|process| process.life == life && process.known >= life.get()) {
            self.metadata.unfence(broker);
            self.say(|| format!("broker {} is unfenced: {:?}", broker + 1, self.metadata));
            self.announce();
        }
    }

    fn change_metadata(&mut self, broker: usize) -> Checked {
        match self.chance.below(8) {
            0 => self.metadata.fence(broker),
            1 => {
                let min = 1 + u32::try_from(self.chance.below(2)).unwrap();
                self.metadata.set_min_insync(min);
            }
            _ => self.metadata.elect(broker),
        }
        self.say(|| format!("the metadata: {:?}", self.metadata));
        self.announce();
        Ok(())
    }

    /// Everything works again: all replicas come to be the same, with everything committed.
    fn come_to_rest(&mut self) -> Checked {
        self.calm = true;
        self.messages.clear();
        self.metadata.set_min_insync(1);
        for broker in 0..BROKERS {
            self.begin(broker)?;
        }
        for round in 0..120 {
            self.now = self.now.after(Duration::from_millis(500));
            self.announce();
            for broker in 0..BROKERS {
                self.unfence(broker);
                self.step(broker, Input::Tick)?;
                self.flush(broker)?;
                self.send(broker);
            }
            while !self.messages.is_empty() {
                self.deliver()?;
            }
            if self.is_at_rest() {
                self.say(|| format!("at rest after {round} rounds"));
                for broker in 0..BROKERS {
                    self.ghost.is_complete(&self.brokers[broker])?;
                    Ghost::producers(&self.brokers[broker])?;
                }
                return Ok(());
            }
        }
        let views = self
            .brokers
            .iter()
            .map(|broker| broker.process.as_ref().unwrap().driver.view());
        let views: Vec<_> = views.collect();
        Err(format!("never at rest: {views:?} {:?}", self.metadata))
    }

    fn is_at_rest(&self) -> bool {
        let views = self
            .brokers
            .iter()
            .map(|broker| broker.process.as_ref().unwrap().driver.view());
        let ends: Vec<(Offset, Offset)> = views.map(|view| (view.high_watermark, view.log_end)).collect();
        let same = ends
            .iter()
            .all(|(high_watermark, end)| high_watermark == end && *end == ends[0].1);
        same && self.metadata.isr.len() == BROKERS && self.metadata.leader.is_some()
    }
}
