import pytest

from seqrec.stream.order_share import Share, micro_batches_per_step, share, stripe

SIZES = [(p, w) for p in range(1, 10) for w in range(1, 13)]


def test_worked_by_hand():
    assert share(1, 1, 0) == [Share(0, 0, 1, 1)]
    assert share(4, 2, 1) == [Share(2, 0, 1, 1), Share(3, 0, 1, 1)]
    # two slots for three ranks: six stripes, three a slot, two a rank
    assert [share(2, 3, rank) for rank in range(3)] == [
        [Share(0, 0, 2, 3)],
        [Share(0, 2, 3, 3), Share(1, 0, 1, 3)],
        [Share(1, 1, 3, 3)],
    ]
    assert [stripe(7, Share(0, a, a + 1, 3)) for a in range(3)] == [slice(0, 2), slice(2, 4), slice(4, 7)]


@pytest.mark.parametrize(("n_partitions", "world_size"), SIZES)
def test_ranks_cover_each_slot_once_and_take_equal_parts(n_partitions, world_size):
    shares = [share(n_partitions, world_size, rank) for rank in range(world_size)]
    for n_rows in (0, 1, 2, 37):
        rows = [[] for _ in range(n_partitions)]
        for part in (part for rank in shares for part in rank):
            rows[part.partition] += range(n_rows)[stripe(n_rows, part)]
        assert rows == [list(range(n_rows))] * n_partitions
    parts = [sum((part.last - part.first) / part.of for part in rank) for rank in shares]
    assert parts == pytest.approx([n_partitions / world_size] * world_size)
    assert all(len({part.partition for part in rank}) == len(rank) for rank in shares)  # stripes of a slot are merged
    assert (
        micro_batches_per_step(n_partitions, world_size) == max(map(len, shares)) <= -(-n_partitions // world_size) + 1
    )


@pytest.mark.parametrize("case", [(0, 1, 0), (1, 0, 0), (1, 2, 2), (1, 2, -1)])
def test_refuses_what_makes_no_sense(case):
    with pytest.raises(ValueError, match="rank"):
        share(*case)
