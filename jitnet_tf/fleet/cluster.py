"""Ray as the fleet uses it: starting or joining a cluster, and the processes of streams there."""

import os
import pathlib
import socket
import subprocess
import sys
import uuid

from jitnet_tf.base.errors import UserError, reason_of
from jitnet_tf.base.interrupt import StopRequest
from jitnet_tf.fleet.members import DiedError
from jitnet_tf.fleet.remote import Latest, is_ready, reason_of_ray
from jitnet_tf.fleet.streams import teacher_of

AUTO = "auto"
ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 5  # for an address to answer
RAY_SECONDS = 60  # for Ray to answer there, with the start of the process that asks it


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
        # Its processes find this package from any folder, also if it is not installed.
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    elif address != AUTO:
        _use_token()
    try:
        import ray
    except ImportError:
        raise UserError(
            "a fleet needs Ray: install it with pip install 'jitnet_tf[fleet]', or pip install ray"
        ) from None
    if address not in (None, AUTO):
        _check_answers(address)
    _silence(ray)
    options = {"log_to_driver": False, "logging_level": "ERROR", "namespace": str(uuid.uuid4())}
    try:
        with StopRequest() as stop:  # by a Ctrl-C while it starts, Ray may crash
            if address is None:
                # Else it would join one that runs on this machine already.
                ray.init(address="local", include_dashboard=False, **options)
            else:
                ray.init(address=address, **options)
    except Exception as error:  # Ray raises many kinds
        where = "on this machine" if address is None else f"at --address={address}"
        is_none = address == AUTO and isinstance(error, ConnectionError)
        then = ": start it with ray start" if is_none else ""
        raise UserError(f"Ray cannot be used {where} ({reason_of(error)}){then}") from None
    if stop.made:
        disconnect()
        raise KeyboardInterrupt


def _silence(ray):
    """Has Ray not print tracebacks and pages on dead processes: a fleet has a line for each.

    They are also in Ray's logs. Ray has no option for it; without this switch it prints them.
    """
    ray._private.worker._worker_logs_enabled = False


def _use_token():
    """Has Ray show the token of a cluster, if this machine has one; others do not mind.

    It has to be known before Ray is imported.
    """
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", os.path.expanduser("~/.ray/auth_token"))
    if "RAY_AUTH_TOKEN" in os.environ or os.path.isfile(path):
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _check_answers(address):
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise UserError(
            f"--address={address} is invalid: give HOST:PORT of the cluster's head, or {AUTO}"
        )
    # Of another kind of server Ray would wait for an answer for minutes, without a way to stop it.
    asked = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS).close()
        subprocess.run(asked, capture_output=True, timeout=RAY_SECONDS, check=True)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace")
        if "AuthToken" in said:
            raise UserError(
                f"--address={address} asks for another token than this machine's: copy "
                "~/.ray/auth_token from the cluster's head"
            ) from None
        raise UserError(f"--address={address} cannot be joined ({reason_of_ray(said)})") from None
    except (OSError, ValueError, OverflowError, subprocess.TimeoutExpired) as error:
        is_late = isinstance(error, subprocess.TimeoutExpired)
        reason = f"not as Ray does, within {RAY_SECONDS} s" if is_late else error
        raise UserError(
            f"--address={address} does not answer ({reason}): give that of a head that runs, as "
            "ray start --head prints it"
        ) from None


def disconnect():
    """Leaves the cluster, or ends the one that `connect` has started."""
    import ray

    ray.shutdown()


def start_pool(config, spec, options):
    """Starts the teachers of a FleetConfig; returns a `teachers.Pool`."""
    from jitnet_tf.fleet.teachers import Pool

    return Pool(spec, options, config.teachers, config.teacher_gpus, config.teacher_batch)


def start_stream(config, stream, of_run, spec, pool, marker, how):
    """Starts the process of a stream; returns a RemoteStream.

    Args:
      config: the FleetConfig.
      stream: the Stream.
      of_run: its RunConfig.
      spec: the fleet's teacher.
      pool: the Pool.
      marker: see `StreamProcess`.
      how: arguments of `StreamProcess.run`.
    """
    own = teacher_of(spec, stream.name)
    threads = max(1, round(config.stream_cpus))
    on_gpu = config.stream_gpus > 0
    arguments = stream.name, of_run, own, pool.dispatcher, str(marker), threads, on_gpu
    return RemoteStream(arguments, how, config.stream_cpus, config.stream_gpus)


class RemoteStream:
    """A StreamProcess as a `members.Process`.

    Args:
      arguments: of the StreamProcess.
      how: arguments of its `run`.
      cpus, gpus: that are reserved for it.
    """

    def __init__(self, arguments, how, cpus, gpus):
        import ray

        from jitnet_tf.fleet.stream_process import StreamProcess

        actor = ray.remote(num_cpus=cpus, num_gpus=gpus, max_concurrency=3)(StreamProcess)
        self._actor = actor.options(scheduling_strategy="SPREAD").remote(*arguments)
        self._outcome = self._actor.run.remote(**how)
        self._latest = Latest(self._actor.figures)
        self._name, self._dispatcher = arguments[0], arguments[3]

    def poll(self):
        """Returns the Outcome once there is one."""
        import ray

        if not is_ready(self._outcome):
            return None
        self._dispatcher.forget.remote(self._name)
        try:
            return ray.get(self._outcome)
        except ray.exceptions.RayError as error:
            raise DiedError(f"its process has died ({reason_of_ray(error)})") from None

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


def check_resources(config):
    """Returns a problem if the cluster has too few GPUs or cores for a FleetConfig; else None.

    Raises:
      UserError: it is this machine alone, which will not get more.
    """
    import ray

    have, most = ray.cluster_resources(), {}
    for node in ray.nodes():
        for name, number in node["Resources"].items() if node["Alive"] else ():
            most[name] = max(most.get(name, 0), number)
    lacking = None
    if config.teachers * config.teacher_gpus > have.get("GPU", 0):
        lacking = (
            f"--teachers={config.teachers} with --teacher_gpus={config.teacher_gpus:g} need more "
            f"than the {have.get('GPU', 0):g} GPUs there are"
        )
    for name, flag, value in (
        ("CPU", "stream_cpus", config.stream_cpus),
        ("GPU", "stream_gpus", config.stream_gpus),
    ):
        if value > most.get(name, 0):
            lacking = f"--{flag}={value:g} is more than any machine has: {most.get(name, 0):g}"
    if lacking and config.address is None:
        raise UserError(f"{lacking}: give less")
    return lacking and f"{lacking}: what finds no room waits for more machines"
