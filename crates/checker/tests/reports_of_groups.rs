//! What a person is told of each anomaly of a group or of the metadata: which it is, of what, and the events that show it.

mod words;

use words::tells;

#[test]
fn a_committed_offset_that_nobody_can_have_committed() {
    tells(
        r#"
        0 invoke "f":"commit","group":"g","key":"t/0","offset":5,"id":1
        0 fail "f":"commit","group":"g","key":"t/0","offset":5,"id":1
        0 invoke "f":"commit","group":"g","key":"t/0","offset":6,"id":2
        0 ok "f":"commit","group":"g","key":"t/0","offset":6,"id":2
        1 invoke "f":"committed","group":"g","key":"t/0"
        1 ok "f":"committed","group":"g","key":"t/0","found":{"offset":5,"id":1}
        1 invoke "f":"committed","group":"g","key":"t/0"
        1 ok "f":"committed","group":"g","key":"t/0","found":{"offset":9,"id":9}
        1 invoke "f":"committed","group":"g","key":"t/0"
        1 ok "f":"committed","group":"g","key":"t/0","found":{"offset":7}
        1 invoke "f":"committed","group":"g","key":"t/0"
        1 ok "f":"committed","group":"g","key":"t/0","found":{"offset":7,"id":2}
        1 invoke "f":"committed","group":"h","key":"t/1"
        1 ok "f":"committed","group":"h","key":"t/1","found":{"offset":6,"id":2}
        "#,
        "\
unknown-commit: committed offset of t/0 for g read: 5, commit 1, a commit that had certainly failed
    #1      2.000000 s  process 0 fail: commit 1 of offset 5 of t/0 for g
    #5      6.000000 s  process 1 ok: committed offset of t/0 for g read: 5, commit 1
unknown-commit: committed offset of t/0 for g read: 9, commit 9, a commit that nobody made
    #7      8.000000 s  process 1 ok: committed offset of t/0 for g read: 9, commit 9
unknown-commit: committed offset of t/0 for g read: 7, commit without a name, a commit that nobody made
    #9      10.000000 s  process 1 ok: committed offset of t/0 for g read: 7, commit without a name
unknown-commit: committed offset of t/0 for g read: 7, commit 2, a commit that was made of offset 6 of t/0 for g
    #3      4.000000 s  process 0 ok: commit 2 of offset 6 of t/0 for g
    #11     12.000000 s  process 1 ok: committed offset of t/0 for g read: 7, commit 2
unknown-commit: committed offset of t/1 for h read: 6, commit 2, a commit that was made of offset 6 of t/0 for g
    #3      4.000000 s  process 0 ok: commit 2 of offset 6 of t/0 for g
    #13     14.000000 s  process 1 ok: committed offset of t/1 for h read: 6, commit 2",
    );
}

#[test]
fn what_is_read_before_it_is_committed_or_not_read_after_it_was() {
    tells(
        r#"
        1 invoke "f":"committed","group":"g","key":"t/0"
        1 ok "f":"committed","group":"g","key":"t/0","found":{"offset":5,"id":1}
        0 invoke "f":"commit","group":"g","key":"t/0","offset":5,"id":1
        0 ok "f":"commit","group":"g","key":"t/0","offset":5,"id":1
        0 invoke "f":"commit","group":"g","key":"t/1","offset":5,"id":2
        0 ok "f":"commit","group":"g","key":"t/1","offset":5,"id":2
        1 invoke "f":"committed","group":"g","key":"t/1"
        1 ok "f":"committed","group":"g","key":"t/1"
        "#,
        "\
stale-commit: these commits and reads of one committed offset fit into no order
    #1      2.000000 s  process 1 ok: committed offset of t/0 for g read: 5, commit 1
    #3      4.000000 s  process 0 ok: commit 1 of offset 5 of t/0 for g
stale-commit: these commits and reads of one committed offset fit into no order
    #5      6.000000 s  process 0 ok: commit 2 of offset 5 of t/1 for g
    #7      8.000000 s  process 1 ok: committed offset of t/1 for g read: none",
    );
}

#[test]
fn a_commit_taken_from_another_than_the_owner_or_refused_to_the_owner() {
    tells(
        r#"
        0 info "f":"owned","group":"g","member":"m","key":"t/0","assignment_epoch":3,"member_epoch":5
        1 invoke "f":"commit","group":"g","key":"t/0","offset":5,"id":1,"by":{"member":"n","member_epoch":5}
        1 ok "f":"commit","group":"g","key":"t/0","offset":5,"id":1,"by":{"member":"n","member_epoch":5}
        0 invoke "f":"commit","group":"g","key":"t/0","offset":6,"id":2,"by":{"member":"m","member_epoch":2}
        0 ok "f":"commit","group":"g","key":"t/0","offset":6,"id":2,"by":{"member":"m","member_epoch":2}
        0 invoke "f":"commit","group":"g","key":"t/0","offset":7,"id":3,"by":{"member":"m","member_epoch":4}
        0 fail "f":"commit","group":"g","key":"t/0","offset":7,"id":3,"by":{"member":"m","member_epoch":4},"fenced":true
        0 info "f":"released","group":"g","member":"m","key":"t/0"
        "#,
        "\
unfenced-commit: commit 1 of t/0 for g by n in epoch 5: taken, though m owns t/0 since epoch 3
    #0      1.000000 s  process 0: m owns t/0 since epoch 3
    #2      3.000000 s  process 1 ok: commit 1 of t/0 for g by n in epoch 5: taken
    #7      8.000000 s  process 0: m has t/0 no more
unfenced-commit: commit 2 of t/0 for g by m in epoch 2: taken, though m owns t/0 since epoch 3
    #0      1.000000 s  process 0: m owns t/0 since epoch 3
    #4      5.000000 s  process 0 ok: commit 2 of t/0 for g by m in epoch 2: taken
    #7      8.000000 s  process 0: m has t/0 no more
wrongly-fenced-commit: commit 3 of t/0 for g by m in epoch 4: refused, though m owns t/0 since epoch 3
    #0      1.000000 s  process 0: m owns t/0 since epoch 3
    #6      7.000000 s  process 0 fail: commit 3 of t/0 for g by m in epoch 4: refused
    #7      8.000000 s  process 0: m has t/0 no more",
    );
}

#[test]
fn two_who_own_a_partition_at_once() {
    tells(
        r#"
        0 info "f":"owned","group":"g","member":"m","key":"t/0","assignment_epoch":3,"member_epoch":5
        1 info "f":"owned","group":"g","member":"n","key":"t/0","assignment_epoch":6,"member_epoch":6
        0 info "f":"released","group":"g","member":"m","key":"t/0"
        "#,
        "\
two-owners: t/0 is owned in g by m and by n at once
    #0      1.000000 s  process 0: m owns t/0 since epoch 3
    #1      2.000000 s  process 1: n owns t/0 since epoch 6
    #2      3.000000 s  process 0: m has t/0 no more",
    );
}

#[test]
fn epochs_of_members_and_groups_that_go_back() {
    tells(
        r#"
        0 info "f":"owned","group":"g","member":"m","key":"t/0","assignment_epoch":3,"member_epoch":5,"group_epoch":7
        0 info "f":"advanced","group":"g","member":"m","member_epoch":5,"group_epoch":6
        0 info "f":"advanced","group":"g","member":"m","member_epoch":4
        0 info "f":"advanced","group":"g","member":"m","member_epoch":4,"group_epoch":6
        1 info "f":"advanced","group":"g","member":"n","member_epoch":1,"group_epoch":1
        1 info "f":"advanced","group":"h","member":"m","member_epoch":1,"group_epoch":1
        "#,
        "\
group-epoch-went-back: m of g is in epoch 5, its group in 7, and then in epoch 5, its group in 6
    #0      1.000000 s  process 0: m of g is in epoch 5, its group in 7
    #1      2.000000 s  process 0: m of g is in epoch 5, its group in 6
group-epoch-went-back: m of g is in epoch 5, its group in 6, and then in epoch 4
    #1      2.000000 s  process 0: m of g is in epoch 5, its group in 6
    #2      3.000000 s  process 0: m of g is in epoch 4",
    );
}

#[test]
fn metadata_that_is_stale_or_goes_back() {
    tells(
        r#"
        0 invoke "f":"metadata-write","topic":"t","partitions":3
        0 ok "f":"metadata-write","topic":"t","partitions":3,"version":7
        0 invoke "f":"metadata-write","topic":"t"
        0 ok "f":"metadata-write","topic":"t","version":9
        1 invoke "f":"metadata-read","linearizable":true
        1 ok "f":"metadata-read","linearizable":true,"version":7,"topics":{"t":3}
        2 invoke "f":"metadata-read"
        2 ok "f":"metadata-read","version":7,"topics":{"t":3}
        2 invoke "f":"metadata-read"
        2 ok "f":"metadata-read","version":6
        2 invoke "f":"metadata-write","topic":"u","partitions":1
        2 ok "f":"metadata-write","topic":"u","partitions":1,"version":8
        "#,
        "\
stale-metadata: metadata of version 7, after version 9
    #3      4.000000 s  process 0 ok: topic t deleted in version 9
    #5      6.000000 s  process 1 ok: metadata of version 7 read
metadata-went-back: metadata of version 6, after version 7
    #7      8.000000 s  process 2 ok: metadata of version 7 read
    #9      10.000000 s  process 2 ok: metadata of version 6 read
metadata-write-order: metadata of version 8, after version 9
    #3      4.000000 s  process 0 ok: topic t deleted in version 9
    #11     12.000000 s  process 2 ok: topic u has 1 partitions in version 8",
    );
}

#[test]
fn metadata_that_is_not_what_was_written() {
    tells(
        r#"
        0 invoke "f":"metadata-write","topic":"t","partitions":3
        0 ok "f":"metadata-write","topic":"t","partitions":3,"version":7
        1 invoke "f":"metadata-read"
        1 ok "f":"metadata-read","version":6,"topics":{"t":3}
        1 invoke "f":"metadata-read"
        1 ok "f":"metadata-read","version":7,"topics":{"t":2,"of somebody else":1}
        1 invoke "f":"metadata-read"
        1 ok "f":"metadata-read","version":8,"topics":{"of somebody else":1}
        0 invoke "f":"metadata-write","topic":"t"
        0 ok "f":"metadata-write","topic":"t","version":9
        1 invoke "f":"metadata-read"
        1 ok "f":"metadata-read","version":9,"topics":{"t":3}
        "#,
        "\
metadata-mismatch: topic t has 3 partitions in version 6 as it was read, and is not there as it was written
    #3      4.000000 s  process 1 ok: metadata of version 6 read: topic t has 3 partitions
metadata-mismatch: topic t has 2 partitions in version 7 as it was read, and has 3 partitions as it was written
    #1      2.000000 s  process 0 ok: topic t has 3 partitions
    #5      6.000000 s  process 1 ok: metadata of version 7 read: topic t has 2 partitions
metadata-mismatch: topic t is not there in version 8 as it was read, and has 3 partitions as it was written
    #1      2.000000 s  process 0 ok: topic t has 3 partitions
    #7      8.000000 s  process 1 ok: metadata of version 8 read: topic t is not there
metadata-mismatch: topic t has 3 partitions in version 9 as it was read, and is not there as it was written
    #9      10.000000 s  process 0 ok: topic t is not there
    #11     12.000000 s  process 1 ok: metadata of version 9 read: topic t has 3 partitions",
    );
}
