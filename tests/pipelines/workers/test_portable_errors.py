import pickle

import pytest
from helpers.worker_tasks import NoWayBackError
from wenlan.data.rows.report import BadRowError
from wenlan.pipelines.workers.portable_errors import portable_errors


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a"),
        BadRowError("cause", "found"),
        OSError(2, "no file", "name"),
        UnicodeDecodeError("utf-8", b"", 0, 1, "x"),
    ],
)
def test_errors_that_can_be_pickled_stay_as_they_are(error):
    with pytest.raises(type(error)) as caught, portable_errors():
        raise error
    assert caught.value is error
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_other_errors_become_one_of_the_nearest_class_with_the_same_text():
    class LocalError(ValueError):
        pass

    for error, kind in ((NoWayBackError("a", "b"), LookupError), (LocalError("a and b"), ValueError)):
        with pytest.raises(kind, match=r"^a and b$") as caught, portable_errors():
            raise error
        assert type(caught.value) is kind
        assert caught.value.__cause__ is error
