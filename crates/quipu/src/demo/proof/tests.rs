//! The proof can fail: each kind of damage is told by the check that is there for it.

use super::*;

const PARTITIONS: NonZeroU32 = NonZeroU32::new(6).unwrap();

struct Run {
    flights: Flights,
    acked: Vec<Option<Place>>,
    read: Vec<Read>,
}

/// A faultless run over the real data.
fn good() -> Run {
    let flights = Flights::january().unwrap();
    let mut ends = [0u64; 6];
    let mut acked = Vec::new();
    let mut read = Vec::new();
    for (row, flight) in flights.rows.iter().enumerate() {
        let partition = match &flight.key {
            Some(key) => partition_for_key(key, PARTITIONS),
            None => PartitionId::new(u32::try_from(row).unwrap() / 1000 % PARTITIONS.get()),
        };
        let end = &mut ends[partition.get() as usize];
        let place = Place {
            partition,
            offset: Offset::new(*end),
        };
        *end += 1;
        acked.push(Some(place));
        let (key, value) = (flight.key.clone(), Some(flight.line.clone()));
        read.push(Read {
            place,
            time: flight.time,
            key,
            value,
        });
    }
    // As a consumer delivers: partition by partition, in some interleaving.
    read.sort_by_key(|record| (record.place.offset.get() / 500, record.place.partition));
    Run { flights, acked, read }
}

/// The claims that do not hold.
fn broken(run: &Run) -> Vec<&'static str> {
    let proof = prove(&run.flights, &run.acked, &run.read, PARTITIONS);
    let broken: Vec<_> = proof
        .checks
        .iter()
        .filter(|c| !c.holds())
        .map(|c| c.claim)
        .collect();
    assert_eq!(proof.holds(), broken.is_empty());
    broken
}

fn breaks(damage: impl FnOnce(&mut Run), claim: &str) {
    let mut run = good();
    damage(&mut run);
    let broken = broken(&run);
    assert!(
        broken.iter().any(|c| c.starts_with(claim)),
        "{claim:?} is not among {broken:?}"
    );
}

#[test]
fn a_faultless_run_is_proven() {
    let run = good();
    assert_eq!(broken(&run), Vec::<&str>::new());
    let proof = prove(&run.flights, &run.acked, &run.read, PARTITIONS);
    assert_eq!(proof.totals["UA"], 4_637);
    assert_eq!(proof.checks[0].looked_at, "27,004 of 27,004");
}

#[test]
fn nothing_read_proves_nothing() {
    let mut run = good();
    run.read.clear();
    let broken = broken(&run);
    assert!(broken.len() >= 3, "{broken:?}");
}

#[test]
fn a_record_not_acknowledged() {
    breaks(|run| run.acked[7] = None, "every flight");
    breaks(|run| run.acked[7] = run.acked[8], "every flight");
}

#[test]
fn a_record_lost_doubled_or_foreign() {
    breaks(|run| drop(run.read.pop()), "complete");
    breaks(|run| run.read.push(run.read[5].clone()), "complete");
    breaks(
        |run| {
            let mut foreign = run.read[5].clone();
            foreign.value = Some(Bytes::from_static(b"nobody sent this"));
            run.read.push(foreign);
        },
        "complete",
    );
    breaks(
        |run| run.read[100].place.offset = Offset::new(9_999_999),
        "complete",
    );
}

#[test]
fn two_records_of_one_aircraft_changed_places() {
    let swap = |run: &mut Run| {
        let key = run.flights.rows[0].key.clone();
        let of_key: Vec<usize> = run
            .read
            .iter()
            .enumerate()
            .filter(|(_, r)| r.key == key)
            .map(|(at, _)| at)
            .collect();
        let (a, b) = (of_key[0], of_key[1]);
        let (at_a, at_b) = (run.read[a].place, run.read[b].place);
        run.read.swap(a, b);
        (run.read[a].place, run.read[b].place) = (at_a, at_b);
    };
    breaks(swap, "in order");
}

#[test]
fn a_key_in_two_partitions() {
    let moved = |run: &mut Run| {
        let record = run.read.iter_mut().find(|r| r.key.is_some()).unwrap();
        record.place.partition = PartitionId::new((record.place.partition.get() + 1) % PARTITIONS.get());
    };
    breaks(moved, "in order");
}

#[test]
fn a_byte_a_key_or_a_time_changed() {
    let flip = |run: &mut Run| {
        let mut value = run.read[42].value.take().unwrap().to_vec();
        value[10] ^= 1;
        run.read[42].value = Some(value.into());
    };
    breaks(flip, "equal");
    breaks(|run| run.read[42].key = Some(Bytes::from_static(b"N0")), "equal");
    breaks(
        |run| run.read[42].time = run.read[42].time.plus_millis(1),
        "equal",
    );
    breaks(|run| run.read[42].value = None, "equal");
}

#[test]
fn a_carrier_renamed() {
    let rename = |run: &mut Run| {
        let value = run.read[42].value.take().unwrap();
        let line = String::from_utf8(value.to_vec()).unwrap();
        let mut cells: Vec<&str> = line.split(',').collect();
        cells[9] = "ZZ";
        run.read[42].value = Some(cells.join(",").into());
    };
    breaks(rename, "totals");
}

#[test]
fn digits_are_grouped() {
    let grouped = [0, 12, 999, 1_000, 27_004, 1_234_567].map(group_digits);
    assert_eq!(grouped, ["0", "12", "999", "1,000", "27,004", "1,234,567"]);
}
