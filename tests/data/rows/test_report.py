import logging

import pytest
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from wenlan.data.rows.report import EXAMPLE_BYTES, MAX_CAUSES, BadRowError, BadRowReport, TooManyBadRowsError


class Counting(IterableDataset):
    """Counts 100 rows in each process: 10 bad, 5 of them for a cause that nobody knows, and a repair."""

    def __init__(self):
        self.bad_rows = BadRowReport("pairs", shared=True)

    def __iter__(self):
        worker = get_worker_info()
        for row in range(100):
            if row < 10:
                error = BadRowError("truncated" if row < 5 else "odd", f"found {row}")
                self.bad_rows.add_bad_row(error, f"{worker.id}/{row}")
            else:
                self.bad_rows.keep_rows()
            yield row
        self.bad_rows.add_repair("text cut", 1, "81 characters")


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_counts_of_all_worker_processes_add_up_exactly(context):
    dataset = Counting()
    for _ in DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context=context):
        pass
    report = dataset.bad_rows
    assert (report.rows_read, report.rows_kept) == (200, 180)
    assert report.counts == {"truncated": 10, "odd": 10}
    assert report.repairs == {"text cut": 2}
    assert report.examples["truncated"] == "pairs, row 0/0: truncated: found 0"
    assert "left out 10 x odd. First: row 0/5: odd: found 5" in str(report)


def test_workers_of_a_later_epoch_and_the_process_itself_count_on():
    dataset = Counting()
    for _ in range(2):
        list(DataLoader(dataset, batch_size=None, num_workers=1))
    dataset.bad_rows.keep_rows(20)
    dataset.bad_rows.add_bad_row(BadRowError("truncated", "found here"), 1)
    assert (dataset.bad_rows.rows_kept, dataset.bad_rows.counts["truncated"]) == (200, 11)


class ManyCauses(Counting):
    def __iter__(self):
        for row in range(2 * MAX_CAUSES):
            self.bad_rows.add_bad_row(BadRowError(f"cause {row}", "长" * EXAMPLE_BYTES))
            yield row


def test_worker_with_too_many_causes_or_a_long_example_loses_no_row():
    dataset = ManyCauses()
    list(DataLoader(dataset, batch_size=None, num_workers=1))
    assert dataset.bad_rows.counts.total() == dataset.bad_rows.rows_read == 2 * MAX_CAUSES
    assert "长长" in dataset.bad_rows.examples["cause 0"]


def test_shared_report_logs_the_first_of_each_cause(caplog):
    report = BadRowReport("pairs", shared=True)
    with caplog.at_level(logging.WARNING):
        for row in range(3):
            report.add_bad_row(BadRowError("truncated", "cut off"), row)
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == ["pairs, row 0: truncated: cut off"]


def test_row_may_be_left_out_after_all():
    report = BadRowReport("pairs", 5)
    report.keep_rows(-2)
    report.add_bad_row(BadRowError("no regions", "two images"), number=2)
    assert (report.rows_read, report.rows_kept, report.bad_fraction) == (5, 3, 0.4)
    report.raise_above(0.4)
    with pytest.raises(TooManyBadRowsError, match=r"(?s)More than 39% .*left out 2 x no regions"):
        report.raise_above(0.39)


def test_nothing_counted_is_an_empty_report():
    report = BadRowReport("pairs", shared=True)
    assert (report.rows_read, report.counts, report.examples) == (0, {}, {})


@pytest.mark.parametrize(("kept", "bad", "allowed"), [(7, 1, 0.1), (2, 1, 0.01), (9, 1, 0.1)])
def test_one_bad_row_among_several_good_ones_passes(kept, bad, allowed):
    report = BadRowReport("a.jsonl", kept)
    report.add_bad_row(BadRowError("empty text", "''"), 3, number=bad)
    report.raise_above(allowed)


@pytest.mark.parametrize(("kept", "bad", "allowed"), [(7, 1, 0.0), (1, 1, 0.1), (7, 2, 0.1), (0, 1, 1.0)])
def test_one_bad_row_fails_where_none_is_allowed_or_one_is_good(kept, bad, allowed):
    report = BadRowReport("a.jsonl", kept)
    report.add_bad_row(BadRowError("empty text", "''"), 3, number=bad)
    with pytest.raises(TooManyBadRowsError):
        report.raise_above(allowed)


@pytest.mark.parametrize("source", ["a.jsonl", f"/data/{'folder/' * 30}a.jsonl", "/数据/" + "图片" * 100 + "/a.jsonl"])
@pytest.mark.parametrize("row", [3, "shard.tar/" + "key" * 100])
@pytest.mark.parametrize("found", ["''", "猫" * 5000, f"/{'folder/' * 30}cat.png is truncated", "\x1b[2J" * 100])
@pytest.mark.parametrize("cause", ["bad image", "broken shard", "a cause that nobody lists"])
def test_a_bad_row_is_one_short_line_whatever_was_found_and_where(source, row, found, cause):
    report = BadRowReport(source)
    report.add_bad_row(BadRowError(cause, found), row)
    first, *lines = str(report).splitlines()
    assert len(lines) == 1
    assert all(len(line) <= 400 and line.isprintable() for line in (first, *lines, *report.examples.values()))
    assert found[:20].isprintable() <= (found[:20] in lines[0])
    assert source[:20] not in lines[0]  # it is in the first line
