//! The course of the demo.

use super::flights::{Flight, Flights};
use super::group::Group;
use super::outage::{self, Outage, Sent, Watched};
use super::proof::{Place, Proof, consumed_by_group, prove, same_replicas};
use super::report::{
    self, ConsumedReport, OutageReport, ProducedReport, RebalanceReport, Report, SourceReport,
};
use super::screen::Screen;
use super::{read_back, replicas};
use crate::brokers::Brokers;
use crate::measure::Pace;
use crate::output::{Ending, Failure, Outcome, Output, json_line, progress_of};
use indicatif::ProgressBar;
use quipu_client::{Client, Delivered, NewTopic, Producer, ProducerConfig, ProducerTopic, Record};
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

const TOPIC: &str = "flights";
const PARTITIONS: NonZeroU32 = NonZeroU32::new(6).unwrap();
/// A third member joins when so much of the data is sent.
const JOIN_AT: f64 = 0.2;
/// A leader is killed when so much of it is; a member after that.
const KILL_AT: f64 = 0.5;
/// How often records are sent at the steady rate.
const TICK: Duration = Duration::from_millis(5);
/// Replicas of each partition, if there are as many brokers.
const COPIES: usize = 3;

/// Everything, from an empty directory to the verdict; whatever happens, the directory is removed and the brokers gone.
pub(crate) async fn run(brokers: u32, seconds: u64, out: Output) -> Outcome {
    // Listened to before anything is made: whatever is left behind would be left for good.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::new)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::new)?;
    let directory = tempfile::Builder::new().prefix("quipu-demo-").tempdir();
    let directory =
        directory.map_err(|e| Failure::new(format_args!("cannot make a temporary directory: {e}")))?;
    let ending = tokio::select! {
        ending = play(brokers, seconds, directory.path(), out) => ending,
        _ = interrupt.recv() => Err(Failure::new("interrupted")),
        _ = terminate.recv() => Err(Failure::new("terminated")),
    };
    let removed = directory.close();
    let ending = ending?;
    removed.map_err(|error| Failure::new(format_args!("cannot remove the temporary directory: {error}")))?;
    Ok(ending)
}

async fn play(brokers: u32, seconds: u64, directory: &Path, out: Output) -> Outcome {
    let screen = Screen::new(out);
    let flights = Flights::january()?;
    screen.title(brokers)?;

    let mut brokers = Brokers::start(directory, brokers).await?;
    let client = crate::cli::connect(&brokers.addresses()).await?;
    let topic = NewTopic::new(TOPIC)
        .with_partitions(PARTITIONS.get())
        .with_config("retention.ms", "-1");
    let topic = client.admin().create_topic(topic).await?.topic;
    screen.brokers(&brokers, TOPIC, PARTITIONS.get())?;
    screen.source(&flights)?;

    let mut group = Group::start(&client, TOPIC, PARTITIONS.get(), &brokers.addresses()).await?;
    screen.group(2, TOPIC, PARTITIONS.get())?;

    let produced = produce(&client, &flights, &mut brokers, &mut group, seconds, screen).await?;
    screen.produced(&produced.report)?;
    if brokers.count() > 1 {
        screen.in_sync(brokers.until_in_sync(&client, TOPIC).await?)?;
    }

    let began = Instant::now();
    let read = read_back::all(&client, TOPIC, PARTITIONS.get()).await?;
    let consumed = ConsumedReport::new(read.records.len(), began.elapsed());
    screen.consumed(&consumed)?;

    let processed = group.finish(&client, &read.ends).await?;
    let mut proof = prove(&flights, &produced.places, &read.records, PARTITIONS);
    proof
        .checks
        .extend(consumed_by_group(&produced.places, &read.ends, &processed));
    let copies = brokers.count().min(COPIES);
    let specs = brokers.stop().await?;
    let replicas = replicas::read(&specs, topic.id, PARTITIONS.get())?;
    proof.checks.push(same_replicas(&replicas, &read.ends, copies));
    tell(&flights, specs.len(), &produced, consumed, &proof, out)
}

fn tell(
    flights: &Flights,
    brokers: usize,
    produced: &Produced,
    consumed: ConsumedReport,
    proof: &Proof,
    out: Output,
) -> Outcome {
    let report = Report {
        proven: proof.holds() && produced.outage.unacknowledged_batches > 0,
        brokers,
        source: SourceReport {
            flights: flights.rows.len(),
            aircraft: flights.aircraft(),
            bytes: flights.source.len(),
        },
        produced: produced.report.clone(),
        outage: OutageReport::from(&produced.outage),
        rebalances: produced.rebalances.clone(),
        consumed,
        checks: report::checks(proof),
        totals: proof.totals.clone(),
    };
    if out.is_json() {
        json_line(&report)?;
    }
    let screen = Screen::new(out);
    screen.proof(&report.checks, &report.totals)?;
    screen.verdict(report.proven)?;
    Ok(if report.proven {
        Ending::Done
    } else {
        Ending::Unproven
    })
}

/// What came of producing.
struct Produced {
    /// For each flight, where it was acknowledged.
    places: Vec<Option<Place>>,
    report: ProducedReport,
    outage: Outage,
    rebalances: Vec<RebalanceReport>,
}

async fn produce(
    client: &Client,
    flights: &Flights,
    brokers: &mut Brokers,
    group: &mut Group,
    seconds: u64,
    screen: Screen,
) -> Result<Produced, Failure> {
    let producer = client.producer(ProducerConfig::default()).await?;
    let topic = producer.topic(TOPIC).await?;
    let started = Instant::now();
    let bar = progress_of(flights.rows.len() as u64, "flights acknowledged");
    let (join, to_join) = oneshot::channel();
    let (half_way, at_half) = oneshot::channel();
    let signals = vec![(JOIN_AT, join), (KILL_AT, half_way)];

    let sent = Sent::default();
    let sending = send(&flights.rows, seconds, &producer, &topic, &sent, signals, &bar);
    let killing = async {
        // An error of the sender's is told by the sender.
        to_join.await.map_err(|_| Failure::new("producing ended early"))?;
        let joined = RebalanceReport::from(&group.third(client).await?);
        bar.suspend(|| screen.rebalance(&joined))?;
        at_half.await.map_err(|_| Failure::new("producing ended early"))?;
        bar.set_message("killed with SIGKILL");
        let watched = Watched {
            client,
            topic: TOPIC,
            producer: &producer,
            sent: &sent,
            started,
        };
        let outage = outage::cause(brokers, &watched).await?;
        bar.set_message("");
        bar.suspend(|| screen.outage(&OutageReport::from(&outage)))?;
        let killed = RebalanceReport::from(&group.kill_one(client).await?);
        bar.suspend(|| screen.rebalance(&killed))?;
        Ok::<_, Failure>((outage, vec![joined, killed]))
    };
    let (all_sent, outage) = tokio::join!(sending, killing);
    all_sent?;
    let (outage, rebalances) = outage?;
    producer.flush().await?;
    let seconds = started.elapsed().as_secs_f64();
    bar.finish_and_clear();

    let deliveries = sent.take();
    let mut places = Vec::with_capacity(deliveries.len());
    let mut deduplicated = 0;
    for delivery in deliveries {
        let Delivered {
            partition,
            offset,
            duplicate,
            ..
        } = delivery.await?;
        places.push(offset.map(|offset| Place { partition, offset }));
        deduplicated += u64::from(duplicate);
    }
    let stats = producer.stats();
    let report = ProducedReport {
        records: stats.records,
        acknowledged: stats.acknowledged,
        seconds,
        batches: stats.batches,
        retries: stats.retries,
        deduplicated,
    };
    Ok(Produced {
        places,
        report,
        outage,
        rebalances,
    })
}

/// Sends all flights in their order at a steady rate.
async fn send(
    rows: &[Flight],
    seconds: u64,
    producer: &Producer,
    topic: &ProducerTopic,
    sent: &Sent,
    signals: Vec<(f64, oneshot::Sender<()>)>,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let pace = Pace::new(Some((rows.len() as u64).div_ceil(seconds)));
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let row_of = |share: f64| (rows.len() as f64 * share) as usize;
    let mut signals: VecDeque<_> = signals
        .into_iter()
        .map(|(share, signal)| (row_of(share), signal))
        .collect();
    let mut ticks = tokio::time::interval(TICK);
    let started = Instant::now();
    for (row, flight) in rows.iter().enumerate() {
        while pace.due(row as u64).is_some_and(|due| due > started.elapsed()) {
            ticks.tick().await;
            bar.set_position(producer.stats().acknowledged);
        }
        let record = Record {
            key: flight.key.as_deref(),
            ..Record::new(&flight.line)
        }
        .at(flight.time);
        sent.push(topic.send(record).await?);
        while signals.front().is_some_and(|(at, _)| row >= *at)
            && let Some((_, signal)) = signals.pop_front()
        {
            // Nobody listens only if something has failed, which is told there.
            let _ = signal.send(());
        }
    }
    Ok(())
}
