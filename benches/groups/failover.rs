//! Many commits, and then the broker that took most of them dies.

use crate::Options;
use crate::support::cluster::Cluster;
use crate::support::{PATIENCE, Result, anonymous_memory, quipu};
use quipu_proto::v1;
use quipu_proto::v1::cluster_service_client::ClusterServiceClient;
use quipu_proto::v1::group_service_client::GroupServiceClient;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};

const GROUPS: u64 = 1_000;
const PARTITIONS: u32 = 100;
/// Requests that are out at a time.
const DEPTH: u64 = 64;
const LIMIT: f64 = 2.0;

pub(crate) async fn measure(options: &Options) -> Result<()> {
    let mut cluster = Cluster::start(3, &options.directory, &[])?;
    let addresses = cluster.addresses();
    quipu(
        &addresses,
        &["topic", "create", "t", "--partitions", &PARTITIONS.to_string()],
    )?;
    let begun = Instant::now();
    let requests = (options.commits / u64::from(PARTITIONS)).max(GROUPS);
    commit(&addresses, requests).await?;
    let took = begun.elapsed().as_secs_f64();
    let commits = requests * u64::from(PARTITIONS);
    say!(
        "{commits} offsets committed in {took:.0} s, {:.0} a second",
        commits as f64 / took
    );

    let (victim, group) = busiest(&addresses).await?;
    let address = cluster
        .brokers()
        .find(|(id, _)| *id != victim as usize)
        .map(|(_, broker)| broker.address().to_owned())
        .ok_or("no other broker")?;
    let channel = connect(&address).await?;
    let before = leaders(&channel).await?;
    let killed = Instant::now();
    cluster.kill(victim as usize)?;
    let elected = until_elected(&channel, &before, victim).await?;
    let offset = until_answered(&channel, &group).await?;
    let (after_kill, after_election) = (killed.elapsed(), elected.elapsed());
    let last = (requests - 1 - (requests - 1 - number(&group)?) % GROUPS) / GROUPS;
    if offset != last {
        return Err(format!("{group}: {offset} is committed, and {last} was acknowledged").into());
    }
    tell!(
        "| {commits} commits over {GROUPS} groups of {PARTITIONS} partitions, SIGKILL of a coordinator: from the kill to an answer | {:.2} s | |",
        after_kill.as_secs_f64()
    );
    let served = after_election.as_secs_f64();
    let mark = if served <= LIMIT { "" } else { " (missed)" };
    tell!("| the same, from the election to an answer | {served:.2} s | {LIMIT} s{mark} |");
    for (id, broker) in cluster.brokers() {
        let told = scrape(broker.http())?;
        let figure = |name: &str| told.get(name).copied().unwrap_or(0.0);
        tell!(
            "| broker {id}: replayed {:.1} MiB, {:.0} records, longest load {:.0} ms; anonymous memory {} MiB | | |",
            figure("quipu_group_load_bytes") / 1_048_576.0,
            figure("quipu_group_load_records"),
            figure("quipu_group_load_milliseconds"),
            anonymous_memory(broker.pid())? >> 20
        );
    }
    Ok(())
}

async fn connect(address: &str) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect()
        .await?)
}

fn number(group: &str) -> Result<u64> {
    Ok(group.trim_start_matches('g').parse()?)
}

/// Commits round after round, a group a request; each offset is the number of its round.
async fn commit(addresses: &str, requests: u64) -> Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut channels = Vec::new();
    for address in addresses.split(',') {
        channels.push(connect(address).await?);
    }
    let mut senders = tokio::task::JoinSet::new();
    for (sender, channel) in (0..DEPTH).zip(channels.iter().cycle()) {
        let next = Arc::clone(&next);
        let mut client = GroupServiceClient::new(channel.clone());
        senders.spawn(async move {
            // A sender has groups of its own, so that the commits of a group keep their order.
            let own: Vec<u64> = (0..GROUPS).filter(|group| group % DEPTH == sender).collect();
            for round in 0.. {
                for group in &own {
                    if round * GROUPS + group >= requests {
                        return Ok(());
                    }
                    next.fetch_add(1, Ordering::Relaxed);
                    one(&mut client, *group, round).await?;
                }
            }
            Ok::<_, String>(())
        });
    }
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(10));
    loop {
        tokio::select! {
            done = senders.join_next() => match done {
                Some(done) => done??,
                None => return Ok(()),
            },
            _ = ticks.tick() => {
                let done = next.load(Ordering::Relaxed) * u64::from(PARTITIONS);
                say!("{done} offsets committed after {:.0} s", begun.elapsed().as_secs_f64());
            }
        }
    }
}

async fn one(
    client: &mut GroupServiceClient<Channel>,
    group: u64,
    round: u64,
) -> std::result::Result<(), String> {
    let offsets = (0..PARTITIONS).map(|partition| v1::OffsetCommit {
        topic: "t".to_owned(),
        partition,
        offset: round,
        ..v1::OffsetCommit::default()
    });
    let request = v1::CommitOffsetsRequest {
        group: format!("g{group}"),
        offsets: offsets.collect(),
        ..v1::CommitOffsetsRequest::default()
    };
    let mut last = String::new();
    for _ in 0..50 {
        match client.commit_offsets(request.clone()).await {
            Ok(answer) => {
                let failed = answer
                    .into_inner()
                    .results
                    .into_iter()
                    .find_map(|result| result.error);
                match failed {
                    None => return Ok(()),
                    Some(error) if error.retryable => last = error.message,
                    Some(error) => return Err(error.message),
                }
            }
            Err(status) if status.code() == tonic::Code::Unavailable => last = status.to_string(),
            Err(status) => return Err(status.to_string()),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(last)
}

/// The broker that coordinates most groups, and one of them.
async fn busiest(addresses: &str) -> Result<(u32, String)> {
    let address = addresses.split(',').next().ok_or("no address")?;
    let mut client = GroupServiceClient::new(connect(address).await?);
    let groups = client.list_groups(v1::ListGroupsRequest::default()).await?;
    let mut of: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for group in groups.into_inner().groups {
        of.entry(group.coordinator_id).or_default().push(group.group);
    }
    let busiest = of.into_iter().max_by_key(|(_, groups)| groups.len());
    let (broker, mut groups) = busiest.ok_or("no groups")?;
    Ok((broker, groups.pop().ok_or("no group")?))
}

/// Who leads each partition of the offsets topic.
async fn leaders(channel: &Channel) -> Result<BTreeMap<u32, Option<u32>>> {
    let request = v1::GetRoutingRequest {
        topics: vec!["__consumer_offsets".to_owned()],
        ..v1::GetRoutingRequest::default()
    };
    let routing = ClusterServiceClient::new(channel.clone())
        .get_routing(request)
        .await?;
    let topics = routing.into_inner().topics;
    let partitions = topics.into_iter().flat_map(|topic| topic.partitions);
    Ok(partitions.map(|route| (route.partition, route.leader)).collect())
}

/// When nothing is led by `victim` any more.
async fn until_elected(
    channel: &Channel,
    before: &BTreeMap<u32, Option<u32>>,
    victim: u32,
) -> Result<Instant> {
    let begun = Instant::now();
    loop {
        let now = leaders(channel).await?;
        let moved =
            now.len() == before.len() && now.values().all(|leader| leader.is_some_and(|id| id != victim));
        if moved {
            return Ok(Instant::now());
        }
        if begun.elapsed() > PATIENCE {
            return Err("nobody is elected".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The offset that a group has committed, as soon as somebody says so.
async fn until_answered(channel: &Channel, group: &str) -> Result<u64> {
    let begun = Instant::now();
    loop {
        let request = v1::GetOffsetsRequest {
            group: group.to_owned(),
            ..v1::GetOffsetsRequest::default()
        };
        let answer = GroupServiceClient::new(channel.clone())
            .get_offsets(request)
            .await;
        if let Ok(answer) = &answer
            && let Some(found) = answer.get_ref().offsets.first().and_then(|found| found.offset)
        {
            return Ok(found);
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("nobody answers: {answer:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The metrics of a broker that have no labels.
fn scrape(http: &str) -> Result<BTreeMap<String, f64>> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(http.trim_start_matches("http://"))?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: quipu\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    Ok(lines
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect())
}
