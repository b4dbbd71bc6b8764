"""What the fleet knows of its pool of teachers, with an actor made by hand."""

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install .[fleet]")

from ray.exceptions import ActorDiedError, ActorUnavailableError

from jitnet_tf.base.errors import UserError
from jitnet_tf.fleet import remote
from jitnet_tf.fleet.remote import Latest
from jitnet_tf.fleet.teachers import Pool

FIGURES = [], 0, 0.0, 0.0


class Method:
    """A method of an actor's handle, whose calls are answered at once, in order."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def remote(self):
        return self.answers.pop(0)


@pytest.fixture
def asked(monkeypatch):
    """Returns a Pool whose figures are these answers, or errors, one after the other."""

    def get(answer):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(remote, "is_ready", lambda answer: True)
    monkeypatch.setattr("ray.get", get)

    def make(*answers):
        pool = object.__new__(Pool)
        pool._latest = Latest(Method(*answers))
        return pool

    return make


def unavailable():
    return ActorUnavailableError("it restarts", b"0" * 16)


def test_a_dispatcher_that_restarts_leaves_the_latest_figures(asked):
    pool = asked(unavailable(), FIGURES, unavailable(), None)
    assert [pool.figures() for _ in range(4)] == [None, None, FIGURES, FIGURES]


def test_a_pool_that_can_never_be_started_is_refused(asked):
    died = ActorDiedError()
    died.error_msg = "ModuleNotFoundError: No module named 'jitnet_tf'"
    pool = asked(died, None)
    assert pool.figures() is None
    with pytest.raises(UserError, match=r"cannot be started \(ModuleNotFoundError: No module"):
        pool.figures()
