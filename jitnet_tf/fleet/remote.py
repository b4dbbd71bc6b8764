"""Answers and errors of Ray's actors, without waiting and for people."""

import re

from jitnet_tf.base.errors import UserError

# What Ray's pages say of a process.
REASONS = {
    "worker process has died": "killed, or crashed; the machine may have too little memory",
    "actor is restarting": "its process is being started again",
}


class Latest:
    """The latest answer of an actor that is asked again and again, without waiting for it.

    Args:
      method: of the actor's handle.

    Attributes:
      problem: why the actor has died for good, in a line; "" if it has not.
    """

    def __init__(self, method):
        self.problem = ""
        self._method = method
        self._asked = self._value = None

    def value(self):
        """Returns the latest answer but None; None before the first."""
        import ray

        if self._asked and is_ready(self._asked):
            asked, self._asked = self._asked, None
            try:
                self._value = ray.get(asked) or self._value
            except ray.exceptions.ActorDiedError as error:
                self.problem = reason_of_ray(error)
            except ray.exceptions.RayError:
                pass  # it is about to be started again
        if not self._asked:
            self._asked = self._method.remote()
        return self._value


def is_ready(reference):
    """Returns whether an object, or an error in its place, is there."""
    import ray

    return bool(ray.wait([reference], timeout=0, fetch_local=False)[0])


def as_own_error(error):
    """Returns an error of Ray's as one with a line for people.

    It is a UserError if the actor has raised one; else a RuntimeError.
    """
    is_users = isinstance(getattr(error, "cause", None), UserError)
    return (UserError if is_users else RuntimeError)(reason_of_ray(error))


def reason_of_ray(error):
    """Returns why an actor has died or failed, from an error of Ray's, in a line for people."""
    if isinstance(cause := getattr(error, "cause", None), UserError):
        return str(cause)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The last line of a traceback; or else what is known of a process, or how it ended.
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
    known = [REASONS[sign] for sign in REASONS if any(sign in line for line in lines)]
    ended = [line for line in lines if "death" in line.lower() or "exit" in line.lower()]
    return (raised[-1:] or known or ended or lines or [type(error).__name__])[0]
