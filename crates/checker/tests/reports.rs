//! What a person is told of each anomaly of a log: which it is, of what, and the events that show it.

mod words;

use words::tells;

#[test]
fn two_values_at_one_offset() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5]]
        1 invoke "f":"send","key":"t/0","values":[[2,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5]],"offset":0
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,2,5]]}]
        "#,
        "\
P1 inconsistent-offsets: t/0 offset 0 holds value 1 and value 2
    #2      3.000000 s  process 0 ok: value 1 acknowledged at t/0 offset 0
    #4      5.000000 s  process 2 ok: value 2 read at t/0 offset 0",
    );
}

#[test]
fn a_value_at_two_offsets() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5]],"producer":4
        0 ok "f":"send","key":"t/0","values":[[1,5]],"producer":4,"offset":0
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5],[1,1,5]]}]
        "#,
        "\
P2 duplicate: value 1 of an idempotent producer stands at t/0 offset 0 and at t/0 offset 1
    #0      1.000000 s  process 0 invoke: send value 1 to t/0
    #1      2.000000 s  process 0 ok: value 1 acknowledged at t/0 offset 0
    #3      4.000000 s  process 2 ok: value 1 read at t/0 offset 1",
    );
}

#[test]
fn what_nobody_sent_there() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/1","values":[[1,5]]
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5],[1,7,5],[2,null,5]]}]
        "#,
        "\
P3 unsent-read: value 1 at t/0 offset 0 was never sent to t/0
    #0      1.000000 s  process 0 invoke: send value 1 to t/1
    #2      3.000000 s  process 2 ok: value 1 read at t/0 offset 0
P3 unsent-read: value 7 at t/0 offset 1 was never sent to t/0
    #2      3.000000 s  process 2 ok: value 7 read at t/0 offset 1
P3 unsent-read: bytes of no value at t/0 offset 2 was never sent to t/0
    #2      3.000000 s  process 2 ok: bytes of no value read at t/0 offset 2",
    );
}

#[test]
fn of_two_acknowledgements_of_one_offset_the_first_is_what_came_before() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5]]
        1 invoke "f":"send","key":"t/0","values":[[2,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5]],"offset":4
        1 ok "f":"send","key":"t/0","values":[[2,5]],"offset":4
        2 invoke "f":"send","key":"t/0","values":[[3,5]]
        2 ok "f":"send","key":"t/0","values":[[3,5]],"offset":3
        "#,
        "\
P1 inconsistent-offsets: t/0 offset 4 holds value 1 and value 2
    #2      3.000000 s  process 0 ok: value 1 acknowledged at t/0 offset 4
    #3      4.000000 s  process 1 ok: value 2 acknowledged at t/0 offset 4
P4 real-time-order: value 3 was sent after value 1 had been acknowledged at t/0 offset 4, and stands at offset 3
    #0      1.000000 s  process 0 invoke: send value 1 to t/0
    #2      3.000000 s  process 0 ok: value 1 acknowledged at t/0 offset 4
    #4      5.000000 s  process 2 invoke: send value 3 to t/0
    #5      6.000000 s  process 2 ok: value 3 acknowledged at t/0 offset 3",
    );
}

#[test]
fn what_was_sent_later_stands_before() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5],[2,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5],[2,5]],"offset":4
        1 invoke "f":"send","key":"t/0","values":[[3,5]]
        1 ok "f":"send","key":"t/0","values":[[3,5]],"offset":3
        "#,
        "\
P4 real-time-order: value 3 was sent after value 2 had been acknowledged at t/0 offset 5, and stands at offset 3
    #0      1.000000 s  process 0 invoke: send value 2 to t/0
    #1      2.000000 s  process 0 ok: value 2 acknowledged at t/0 offset 5
    #2      3.000000 s  process 1 invoke: send value 3 to t/0
    #3      4.000000 s  process 1 ok: value 3 acknowledged at t/0 offset 3",
    );
}

#[test]
fn what_lies_below_what_was_read_is_lost() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5]],"offset":0
        0 invoke "f":"send","key":"t/0","values":[[2,5]]
        0 ok "f":"send","key":"t/0","values":[[2,5]],"offset":1
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[1,2,5]]}]
        "#,
        "\
P5 lost-write: value 1 is at t/0 offset 0, and nobody read it, though offset 1 was read
    #0      1.000000 s  process 0 invoke: send value 1 to t/0
    #1      2.000000 s  process 0 ok: value 1 acknowledged at t/0 offset 0
    #5      6.000000 s  process 2 ok: value 2 read at t/0 offset 1
P7 gap: a read of t/0 from offset 0 goes on at 1, and not at 0
    #5      6.000000 s  process 2 ok: t/0 read from offset 0: nothing at 0, then offset 1",
    );
}

#[test]
fn what_a_log_starts_above_or_holds_something_else_for() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5],[2,5],[3,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5],[2,5],[3,5]],"offset":0
        1 invoke "f":"trim","key":"t/0","before":1
        1 ok "f":"trim","key":"t/0","before":1
        n info "f":"final","replica":3,"key":"t/0","log_start":2,"records":[[2,null,9]]
        "#,
        "\
P1 inconsistent-offsets: t/0 offset 2 holds value 3 and bytes of no value
    #1      2.000000 s  process 0 ok: value 3 acknowledged at t/0 offset 2
    #4      5.000000 s  bytes of no value in the final log of replica 3 at t/0 offset 2
P3 unsent-read: bytes of no value at t/0 offset 2 was never sent to t/0
    #4      5.000000 s  bytes of no value in the final log of replica 3 at t/0 offset 2
P5 below-log-start: value 2 was acknowledged at t/0 offset 1, and replica 3's log starts at 2, though nothing was deleted beyond 1
    #0      1.000000 s  process 0 invoke: send value 2 to t/0
    #1      2.000000 s  process 0 ok: value 2 acknowledged at t/0 offset 1
    #2      3.000000 s  process 1 invoke: the greatest deletion there: below offset 1
    #4      5.000000 s  the final log of replica 3 starts at offset 2
P5 lost-write: value 3 was acknowledged at t/0 offset 2, and replica 3 holds bytes of no value there
    #0      1.000000 s  process 0 invoke: send value 3 to t/0
    #1      2.000000 s  process 0 ok: value 3 acknowledged at t/0 offset 2
    #4      5.000000 s  the final log of replica 3 holds bytes of no value there",
    );
}

#[test]
fn a_high_watermark_below_what_was_acknowledged() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5]],"offset":0
        1 invoke "f":"latest","key":"t/0"
        1 ok "f":"latest","key":"t/0","high_watermark":0
        0 invoke "f":"latest","key":"t/0"
        0 ok "f":"latest","key":"t/0","high_watermark":0
        "#,
        "\
P6 stale-high-watermark: t/0 has the high watermark 0, though it was at least 1 before that was asked
    #1      2.000000 s  process 0 ok: t/0 acknowledged below offset 1
    #2      3.000000 s  process 1 invoke: asks for the high watermark of t/0
    #3      4.000000 s  process 1 ok: high watermark of t/0: 0
P8 read-your-writes: t/0 has the high watermark 0, though it was at least 1 before that was asked
    #1      2.000000 s  process 0 ok: t/0 acknowledged below offset 1
    #4      5.000000 s  process 0 invoke: asks for the high watermark of t/0
    #5      6.000000 s  process 0 ok: high watermark of t/0: 0",
    );
}

#[test]
fn a_high_watermark_that_goes_back_or_is_too_high() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5]],"producer":4
        1 invoke "f":"latest","key":"t/0"
        1 ok "f":"latest","key":"t/0","high_watermark":1
        1 invoke "f":"latest","key":"t/0"
        1 ok "f":"latest","key":"t/0","high_watermark":0
        1 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        1 ok "f":"poll","partitions":[{"key":"t/0","from":0,"high_watermark":2}]
        "#,
        "\
P6 high-watermark-went-back: t/0 has the high watermark 0, though it was at least 1 before that was asked
    #2      3.000000 s  process 1 ok: high watermark of t/0: 1
    #3      4.000000 s  process 1 invoke: asks for the high watermark of t/0
    #4      5.000000 s  process 1 ok: high watermark of t/0: 0
P6 high-watermark-too-high: t/0 has the high watermark 2, though only 1 values had been sent to it
    #6      7.000000 s  process 1 ok: high watermark of t/0: 2",
    );
}

#[test]
fn a_gap_and_a_record_past_the_high_watermark() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5]]
        1 invoke "f":"send","key":"t/0","values":[[2,5]]
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":1}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":1,"records":[[1,1,5],[4,2,5]],"high_watermark":4}]
        "#,
        "\
P7 read-past-high-watermark: t/0 offset 4 was read, and the high watermark that came with it is 4
    #3      4.000000 s  process 2 ok: t/0 read up to offset 4, high watermark 4
P7 gap: a read of t/0 from offset 1 goes on at 4, and not at 2
    #3      4.000000 s  process 2 ok: t/0 read from offset 1: nothing at 2, then offset 4",
    );
}

#[test]
fn what_one_producer_had_under_way_at_once_in_the_wrong_order() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5],[2,5]],"producer":4,"sequence":0
        1 invoke "f":"send","key":"t/0","values":[[3,5],[4,5]],"producer":4,"sequence":1
        0 ok "f":"send","key":"t/0","values":[[1,5],[2,5]],"producer":4,"sequence":0,"offset":2
        1 ok "f":"send","key":"t/0","values":[[3,5],[4,5]],"producer":4,"sequence":1,"offset":0
        "#,
        "\
P8 producer-order: producer 4 sent to t/0 what stands at offset 3, and then what stands at offset 0
    #0      1.000000 s  process 0 invoke: send value 2 to t/0
    #1      2.000000 s  process 1 invoke: send value 3 to t/0
    #2      3.000000 s  process 0 ok: value 2 acknowledged at t/0 offset 3
    #3      4.000000 s  process 1 ok: value 3 acknowledged at t/0 offset 0",
    );
}

#[test]
fn a_transaction_that_reads_itself_and_a_torn_one() {
    tells(
        r#"
        0 invoke "f":"txn","steps":[{"send":{"key":"t/0","values":[[1,5]]}},{"send":{"key":"t/1","values":[[2,5]]}},{"poll":{"partitions":[]}}]
        0 info "f":"txn","steps":[{"send":{"key":"t/0","values":[[1,5]]}},{"send":{"key":"t/1","values":[[2,5]]}},{"poll":{"partitions":[{"key":"t/0","from":0,"records":[[0,1,5]]}]}}]
        n info "f":"final","replica":3,"key":"t/0","log_start":0,"records":[[0,1,5]]
        n info "f":"final","replica":3,"key":"t/1","log_start":0,"records":[]
        "#,
        "\
precommitted-read: a transaction read value 1, which it had sent itself
    #0      1.000000 s  process 0 invoke: send value 1 to t/0
    #1      2.000000 s  process 0 info: value 1 read at t/0
P9 torn-transaction: value 1 of a transaction is in the log, and value 2 of it is not
    #0      1.000000 s  process 0 invoke: send value 1 to t/0
    #0      1.000000 s  process 0 invoke: send value 2 to t/1",
    );
}

#[test]
fn a_read_past_the_last_stable_offset() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5]]
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5]],"last_stable":0}]
        "#,
        "\
P9 past-last-stable: t/0 offset 0 was read, and the last stable offset is 0
    #2      3.000000 s  process 2 ok: t/0 read up to offset 0, last stable offset 0",
    );
}

#[test]
fn what_an_old_leader_acknowledged_after_a_later_one() {
    tells(
        r#"
        0 invoke "f":"txn","steps":[{"send":{"key":"t/1","values":[[1,5]]}},{"send":{"key":"t/0","values":[[2,5]]}}]
        0 ok "f":"txn","steps":[{"send":{"key":"t/1","values":[[1,5]],"offset":8,"leader_epoch":2}},{"send":{"key":"t/0","values":[[2,5]],"offset":0,"leader_epoch":7}}]
        1 invoke "f":"send","key":"t/0","values":[[3,5]]
        1 ok "f":"send","key":"t/0","values":[[3,5]],"offset":1,"leader_epoch":6
        "#,
        "\
P10 stale-epoch-ack: t/0 acknowledged at offset 1 in leader epoch 6, though epoch 7 had acknowledged before it was sent
    #1      2.000000 s  process 0 ok: t/0 acknowledged at offset 0 in leader epoch 7
    #2      3.000000 s  process 1 invoke: send to t/0
    #3      4.000000 s  process 1 ok: t/0 acknowledged at offset 1 in leader epoch 6",
    );
}

#[test]
fn an_epoch_below_the_one_before() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5]]
        1 invoke "f":"send","key":"t/0","values":[[2,5]]
        1 ok "f":"send","key":"t/0","values":[[2,5]],"offset":1,"leader_epoch":6
        0 ok "f":"send","key":"t/0","values":[[1,5]],"offset":0,"leader_epoch":7
        "#,
        "\
P10 epoch-went-back: t/0 offset 0 is of leader epoch 7, and offset 1 of leader epoch 6
    #2      3.000000 s  process 1 ok: t/0 acknowledged at offset 1 in leader epoch 6
    #3      4.000000 s  process 0 ok: t/0 acknowledged at offset 0 in leader epoch 7",
    );
}

#[test]
fn compacted_logs_that_differ_and_a_log_that_ends_too_soon() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/1","values":[[1,5]]
        2 invoke "f":"latest","key":"t/1"
        2 ok "f":"latest","key":"t/1","high_watermark":6
        n info "f":"final","replica":1,"key":"t/0","log_start":0,"records":[],"latest":{"a":5,"b":6}
        n info "f":"final","replica":2,"key":"t/0","log_start":0,"records":[],"latest":{"a":5}
        n info "f":"final","replica":1,"key":"t/1","log_start":0,"high_watermark":6,"records":[],"batches":[{"base":0,"last":5,"leader_epoch":7,"crc":10}]
        n info "f":"final","replica":2,"key":"t/1","log_start":0,"high_watermark":6,"records":[],"batches":[{"base":0,"last":4,"leader_epoch":7,"crc":10}]
        n info "f":"final","replica":3,"key":"t/1","log_start":0,"high_watermark":6,"records":[],"batches":[{"base":0,"last":4,"leader_epoch":7,"crc":10},{"base":5,"last":5,"leader_epoch":7,"crc":11}]
        "#,
        "\
P11 diverged-replicas: t/1: replica 1 holds offsets 0 to 5 of leader epoch 7 with checksum 0000000a, replica 2 offsets 0 to 4 of leader epoch 7 with checksum 0000000a
    #5      6.000000 s  the final log of replica 1 of t/1 holds offsets 0 to 5 of leader epoch 7 with checksum 0000000a
    #6      7.000000 s  the final log of replica 2 of t/1 holds offsets 0 to 4 of leader epoch 7 with checksum 0000000a
P11 diverged-replicas: t/1: replica 2 holds nothing there, replica 3 offsets 5 to 5 of leader epoch 7 with checksum 0000000b
    #6      7.000000 s  the final log of replica 2 of t/1 holds nothing there
    #7      8.000000 s  the final log of replica 3 of t/1 holds offsets 5 to 5 of leader epoch 7 with checksum 0000000b
P11 cut-below-high-watermark: t/1 had the high watermark 6, and replica 2 ends at offset 5
    #2      3.000000 s  process 2 ok: high watermark of t/1: 6
    #6      7.000000 s  the final log of replica 2 ends at 5
P11 diverged-replicas: t/0: replica 1 holds a value with hash 00000006 for key b, replica 2 nothing for key b
    #3      4.000000 s  the final log of replica 1 of t/0 holds a value with hash 00000006 for key b
    #4      5.000000 s  the final log of replica 2 of t/0 holds nothing for key b",
    );
}

#[test]
fn what_nobody_polled() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5],[2,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5],[2,5]],"offset":0
        n info "f":"final-polls"
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5]]}]
        "#,
        "\
unseen: value 2 was acknowledged at t/0 offset 1, and no poll saw it
    #1      2.000000 s  process 0 ok: value 2 acknowledged at t/0 offset 1
    #2      3.000000 s  the final polls begin",
    );
}

#[test]
fn a_consumer_that_skips_and_goes_back() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5],[2,5],[3,5],[4,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5],[2,5],[3,5],[4,5]],"offset":0
        2 invoke "f":"assign","keys":["t/0"]
        2 ok "f":"assign","keys":["t/0"]
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5],[1,2,5]]}]
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":3}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":3,"records":[[3,4,5]]}]
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5],[2,3,5],[1,2,5]]}]
        "#,
        "\
poll-skip: process 2 had read t/0 up to offset 1, and went on at 3, though something stands at offset 2
    #5      6.000000 s  process 2 ok: t/0 read up to offset 1
    #7      8.000000 s  process 2 ok: t/0 read from offset 3
int-poll-skip: one poll of t/0 read offset 0 and then 2, though something stands at offset 1
    #9      10.000000 s  process 2 ok: t/0 read at offset 0, then at 2
int-nonmonotonic-poll: one poll of t/0 read offset 2 and then 1
    #9      10.000000 s  process 2 ok: t/0 read at offset 2, then at 1
nonmonotonic-poll: process 2 had read t/0 up to offset 3, and went on at 0
    #7      8.000000 s  process 2 ok: t/0 read up to offset 3
    #9      10.000000 s  process 2 ok: t/0 read from offset 0",
    );
}

#[test]
fn sends_that_stand_in_the_wrong_order() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5],[2,5]],"producer":4
        0 ok "f":"send","key":"t/0","values":[[1,5],[2,5]],"producer":4,"offset":4
        0 invoke "f":"send","key":"t/0","values":[[3,5],[4,5]],"producer":4
        0 info "f":"send","key":"t/0","values":[[3,5],[4,5]],"producer":4
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,4,5],[1,3,5]]}]
        "#,
        "\
nonmonotonic-send: process 0 sent to t/0 what stands at offset 5, and then what stands at offset 1
    #1      2.000000 s  process 0 ok: value 2 acknowledged at t/0 offset 5
    #5      6.000000 s  process 2 ok: value 3 read at t/0 offset 1
int-nonmonotonic-send: values of one send to t/0 stand at offset 1 and then at 0
    #5      6.000000 s  process 2 ok: value 3 read at t/0 offset 1
    #5      6.000000 s  process 2 ok: value 4 read at t/0 offset 0",
    );
}

#[test]
fn final_polls_that_never_come_to_the_end() {
    tells(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5],[2,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5],[2,5]],"offset":0
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5],[1,2,5]]}]
        n info "f":"final-polls"
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5]]}]
        "#,
        "\
tail-not-reached: t/0 ends at offset 1, which the final polls did not reach within 30s
    #4      5.000000 s  the final polls begin",
    );
}
