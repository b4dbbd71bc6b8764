"""Ray as the fleet uses it: starting or joining a cluster, and the processes of streams there."""

import contextlib
import os
import socket
import uuid

from jitnet_tf.base.errors import UserError, reason_of
from jitnet_tf.fleet.members import DiedError
from jitnet_tf.fleet.streams import teacher_of

AUTO = "auto"
SECONDS = 5  # for an address to answer


def connect(address):
    """Starts Ray on this machine, reachable from it alone, or joins the cluster at an address.

    address: None; AUTO, for the cluster that this machine is a part of; or HOST:PORT of its head.

    Raises:
      UserError: Ray is not installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # sends nothing to Ray's makers
    if address is None:
        # Binds to 127.0.0.1, as Ray does by itself where it knows no clusters.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError:
        raise UserError(
            "a fleet needs Ray: install it with pip install 'jitnet_tf[fleet]', or pip install ray"
        ) from None
    if address not in (None, AUTO):
        _check_answers(address)
    options = {"log_to_driver": False, "logging_level": "ERROR", "namespace": str(uuid.uuid4())}
    try:
        if address is None:
            ray.init(include_dashboard=False, **options)
        else:
            ray.init(address=address, **options)
    except Exception as error:  # Ray raises many kinds
        where = "on this machine" if address is None else f"at --address={address}"
        raise UserError(f"Ray cannot be used {where} ({reason_of(error)})") from None


def _check_answers(address):
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise UserError(
            f"--address={address} is invalid: give HOST:PORT of the cluster's head, or {AUTO}"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"--address={address} does not answer ({error}): give that of a head that runs, as ray "
            "start --head prints it"
        ) from None


def disconnect():
    """Leaves the cluster, or ends the one that `connect` has started."""
    import ray

    ray.shutdown()


def start_pool(config, spec, options):
    """Starts the teachers of a FleetConfig; returns a `teachers.Pool`."""
    from jitnet_tf.fleet.teachers import Pool

    return Pool(spec, options, config.teachers, config.teacher_gpus, config.teacher_batch)


def start_stream(config, stream, of_run, spec, pool, marker, resume):
    """Starts the process of a stream; returns a RemoteStream.

    Args:
      config: the FleetConfig.
      stream: the Stream.
      of_run: its RunConfig.
      spec: the fleet's teacher.
      pool: the Pool.
      marker: see `StreamProcess`.
      resume: see `StreamProcess.run`.
    """
    own = teacher_of(spec, stream.name)
    threads = max(1, round(config.stream_cpus))
    arguments = stream.name, of_run, own, pool.dispatcher, str(marker), threads
    return RemoteStream(arguments, resume, config.stream_cpus, config.stream_gpus)


class Latest:
    """The latest answer of an actor that is asked again and again, without waiting for it.

    Args:
      method: of the actor's handle.
    """

    def __init__(self, method):
        self._method = method
        self._asked = self._value = None

    def value(self):
        """Returns the latest answer but None; None before the first."""
        import ray

        if self._asked and _is_ready(self._asked):
            asked, self._asked = self._asked, None
            with contextlib.suppress(ray.exceptions.RayError):  # it has died
                self._value = ray.get(asked) or self._value
        if not self._asked:
            self._asked = self._method.remote()
        return self._value


class RemoteStream:
    """A StreamProcess as a `members.Process`.

    Args:
      arguments: of the StreamProcess.
      resume: see `StreamProcess.run`.
      cpus, gpus: that are reserved for it.
    """

    def __init__(self, arguments, resume, cpus, gpus):
        import ray

        from jitnet_tf.fleet.stream_process import StreamProcess

        actor = ray.remote(num_cpus=cpus, num_gpus=gpus, max_concurrency=3)(StreamProcess)
        self._actor = actor.options(scheduling_strategy="SPREAD").remote(*arguments)
        self._outcome = self._actor.run.remote(resume)
        self._latest = Latest(self._actor.figures)

    def poll(self):
        """Returns the Outcome once there is one."""
        import ray

        if not _is_ready(self._outcome):
            return None
        try:
            return ray.get(self._outcome)
        except ray.exceptions.RayError as error:
            raise DiedError(f"its process has died ({_reason(error)})") from None

    def figures(self):
        """Returns the latest figures that have come."""
        return self._latest.value()

    def stop(self):
        """Asks the run to end after its frame."""
        self._actor.stop.remote()

    def kill(self):
        """Ends the process."""
        import ray

        ray.kill(self._actor)


def _is_ready(reference):
    import ray

    return bool(ray.wait([reference], timeout=0, fetch_local=False)[0])


def _reason(error):
    """Returns why an actor has died, in a few words."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if "death" in line.lower() or "exit" in line.lower()]
    return (told or lines or [repr(error)])[0]
