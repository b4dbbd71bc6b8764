"""Runtimes for a student's exported steps: TensorFlow, or JAX without TensorFlow.

Both have the same methods. `place` copies an array to the device; `infer` and `update` take arrays
on the device and return such arrays without waiting; `wait` waits for them. `update` changes the
runtime's variables, as a Student's does.
"""

import pathlib

from experiments.speed.gpu import hlo
from jitnet_tf.base.errors import UserError


def tensorflow_sees_gpu():
    """Returns True if TensorFlow is installed and has a GPU."""
    try:
        from jitnet_tf.student.devices import has_gpu
    except ImportError:
        return False
    return has_gpu()


class TensorFlow:
    """A Student compiled by XLA, with the exported variables."""

    name = "TensorFlow"

    def __init__(self, exported, precision):
        import tensorflow as tf

        self._tf = tf
        student = hlo.make_student(exported.frame_size, precision, seed=0, xla=True)
        for name, variable in hlo.variable_names(student):
            variable.assign(exported.inputs[name])
        self._student = student
        steps = hlo.step_functions(student)
        self.infer, self.update = steps["infer"], steps["update"]
        self.version = tf.__version__

    @property
    def device(self):
        """The device's name, by its maker; "cpu" without a GPU."""
        gpus = self._tf.config.list_physical_devices("GPU")
        if not gpus:
            return "cpu"
        details = self._tf.config.experimental.get_device_details(gpus[0])
        return details.get("device_name", gpus[0].name)

    def place(self, array):
        """Returns a copy of an array on the device."""
        return self._tf.identity(self._tf.constant(array))

    def wait(self, result):
        """Waits for all steps called so far."""
        del result
        self._tf.test.experimental.sync_devices()


class Jax:
    """The exported modules, compiled by JAX's XLA."""

    name = "JAX"

    def __init__(self, exported, precision):
        try:
            import jax
        except ImportError as error:
            raise UserError(
                f"there is no TensorFlow with a GPU and no JAX ({error}): pip install jax, or "
                "'jax[cuda13]' for a GPU"
            ) from None
        jax.config.update("jax_enable_x64", True)  # for the optimizer's count of steps
        self._jax = jax
        self._device = jax.devices()[0]
        self._modules = {m.step: m for m in exported.modules if m.precision == precision}
        self._executables = {
            step: self._compile(pathlib.Path(exported.folder, module.file))
            for step, module in self._modules.items()
        }
        self._variables = {
            name: self.place(array)
            for name, array in exported.inputs.items()
            if name.startswith("variables/")
        }
        self.version = jax.__version__

    @property
    def device(self):
        """The device's name, by its maker; "cpu" without a GPU."""
        return self._device.device_kind

    def place(self, array):
        """Returns a copy of an array on the device."""
        return self._jax.device_put(array, self._device)

    def wait(self, result):
        """Waits for all steps called so far."""
        self._jax.block_until_ready([result, *self._variables.values()])

    def infer(self, frame):
        """Returns class ids, uint8 [H, W]."""
        return self._run("infer", frame)

    def update(self, frame, labels, weights):
        """Returns the loss before the step."""
        return self._run("update", frame, labels, weights)

    def _run(self, step, *arguments):
        module = self._modules[step]
        variables = [self._variables[name] for name in module.arguments[len(arguments) :]]
        # The results reuse the memory of updated variables, which must not be read any more.
        results = self._executables[step].execute([*arguments, *variables])
        for output, name in module.updated.items():
            self._variables[name] = results[output]
        return results[0]

    def _compile(self, path):
        from jax.extend import backend, mlir

        try:
            module = mlir.hlo_to_stablehlo(path.read_bytes())
        except RuntimeError as error:
            raise UserError(f"{path} is not an HLO module ({error})") from None
        options = backend.get_compile_options(num_replicas=1, num_partitions=1)
        return self._device.client.compile_and_load(module, [self._device], options)


RUNTIMES = {"tensorflow": TensorFlow, "jax": Jax}
