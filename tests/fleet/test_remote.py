"""Errors of Ray, in a line for people."""

import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.fleet.remote import as_own_error, reason_of_ray

CREATION = """\
The actor died because of an error raised in its creation task, ray::StreamProcess.__init__()
  File "actor_manager.py", line 600, in temporary_actor_method
    raise RuntimeError(
RuntimeError: The actor with name StreamProcess failed to import on the worker. Traceback:

Traceback (most recent call last):
ModuleNotFoundError: No module named 'jitnet_tf'
"""
KILLED = """\
The actor died unexpectedly before finishing this task.
\tclass_name: StreamProcess
\tactor_id: c4fa5a928a65bba6019c3e9601000000
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit \
detail: Worker unexpectedly exits with a connection error code 2. End of file.
"""
RESTARTING = """\
The actor 6be6267e01 is unavailable: The actor is temporarily unavailable: IOError: The actor is \
restarting.. The task may or may not have been executed on the actor.
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CREATION, "ModuleNotFoundError: No module named 'jitnet_tf'"),
        (KILLED, "killed, or crashed"),
        (RESTARTING, "its process is being started again"),
        ("lost", "lost"),
        ("", "Exception"),
    ],
)
def test_the_line_that_tells_is_taken(text, reason):
    assert reason_of_ray(Exception(text)).startswith(reason)


def test_a_mistake_of_the_users_is_told_as_such():
    error = Exception("ray::TeacherActor.ready() (pid=7, ip=127.0.0.1)\nTraceback …")
    error.cause = UserError("teacher 'x' is not a SavedModel: it holds no saved_model.pb")
    assert reason_of_ray(error) == str(error.cause)
    own = as_own_error(error)
    assert (type(own), str(own)) == (UserError, str(error.cause))


def test_a_death_is_no_mistake_of_the_users():
    assert type(as_own_error(Exception(KILLED))) is RuntimeError
