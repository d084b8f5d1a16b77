import pytest
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from wenlan.data.rows.report import EXAMPLE_BYTES, BadRowError, SharedBadRows


class Counting(IterableDataset):
    """Counts 100 rows in each process: 10 bad, 5 of them for a cause that nobody knows, and a repair."""

    def __init__(self):
        self.counts = SharedBadRows("pairs")

    def __iter__(self):
        worker = get_worker_info()
        for row in range(100):
            self.counts.add_row(kept=row >= 10)
            if row < 10:
                self.counts.add_bad_row(
                    BadRowError("truncated" if row < 5 else "odd", f"found {row}"), f"{worker.id}/{row}"
                )
            yield row
        self.counts.add_repair("text cut", 1, "81 characters")


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_counts_of_all_worker_processes_add_up_exactly(context):
    dataset = Counting()
    for _ in DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context=context):
        pass
    report = dataset.counts.report()
    assert (report.rows_read, report.rows_kept) == (200, 180)
    assert report.counts == {"truncated": 10, "bad image": 10}
    assert report.repairs == {"text cut": 2}
    assert report.examples["truncated"] == "pairs, row 0/0: truncated: found 0"
    assert "bad image" in str(report)


def test_unknown_cause_is_named_in_the_example():
    counts = SharedBadRows("pairs")
    counts.add_bad_row(BadRowError("odd", "too blue"), 3)
    assert counts.report().examples == {"bad image": "pairs, row 3: odd: too blue"}


def test_long_example_is_cut_and_half_characters_do_no_harm():
    counts = SharedBadRows("pairs")
    counts.add_bad_row(BadRowError("truncated", "长" * EXAMPLE_BYTES), 3)
    assert "长长" in counts.report().examples["truncated"]


def test_nothing_counted_is_an_empty_report():
    report = SharedBadRows("pairs").report()
    assert (report.rows_read, report.counts, report.examples) == (0, {}, {})
