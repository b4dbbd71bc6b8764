"""A pretraining from opening its images to the saved student; can be interrupted and resumed."""

import contextlib
import itertools
import os
import time

import numpy as np
import tensorflow as tf

from jitnet_tf.base import checkpoint, shell
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.interrupt import StopRequest
from jitnet_tf.base.progress import progress_bar, say
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining import splits, training, validation
from jitnet_tf.pretraining.augmentation import Augmentation
from jitnet_tf.pretraining.pictures import Pictures
from jitnet_tf.pretraining.pipeline import Samples
from jitnet_tf.runs import directory
from jitnet_tf.runs.claims import claim
from jitnet_tf.runs.summary import percent
from jitnet_tf.runs.versions import versions
from jitnet_tf.student import initial_weights
from jitnet_tf.student.devices import make_repeatable, use_xla

LOGGED_EVERY = 20  # steps: reading a loss waits for its step
PATHS_READ = ("init", "images", "labels", "unlabeled_images")


class Pretraining:
    """A pretraining, opened.

    All user errors are raised by the constructor, before the first step; later ones are of the
    disk, of damaged images or of a diverging loss. Ctrl-C ends `execute` after a step, with a
    checkpoint; a resumed pretraining gives the same weights as an uninterrupted one.

    Args:
      config: a PretrainConfig.
      resume: continue the pretraining in config.logdir.
      overwrite: replace the pretraining in config.logdir.

    Attributes:
      config: the argument.
      step: the number of steps done.
      seconds: the time they took.
      splits: a `splits.Splits`.

    Raises:
      UserError: anything that the user can correct.
    """

    def __init__(self, config, *, resume=False, overwrite=False):
        self.config = config
        directory.check_paths_distinct(
            {name: getattr(config, name) for name in PATHS_READ}, {"logdir": config.logdir}
        )
        saved = directory.find_checkpoint(config, resume, overwrite)
        arrays, progress = saved or ({}, {"step": 0, "seconds": 0.0})
        self.step, self.seconds = progress["step"], progress["seconds"]
        self._earlier_problems = progress.get("problems", [])
        _check_steps(config, progress)
        self._groups = class_groups(config.class_groups)
        self._described = initial_weights.describe(self._groups, config.student)
        self._trainer = _make_trainer(config, len(self._groups.names))
        if not saved:
            self._trainer.start_from(config.init, self._groups)
        label_maker = LabelMaker(
            self._groups, config.score_threshold, config.box_weight, config.box_dilation
        )
        self.splits = splits.open_splits(config, label_maker)
        if saved:
            self._resume(arrays, progress)
        else:
            directory.start(config, versions())
        self._samples = Samples(
            self.splits.training, config.unlabeled_rate, Augmentation.of(config), config.seed
        )
        self._writer = tf.summary.create_file_writer(os.fsencode(config.logdir))
        self._segment = validation.segmenter(self._trainer.averaged)
        self._pictures = Pictures(self._groups.names, self.splits.validation)

    def _resume(self, arrays, progress):
        """Restores a checkpoint, and cuts the logs back to it."""
        self._check_same(progress)
        self._trainer.set_state(arrays)
        directory.restart(self.config, progress)

    def _check_same(self, progress):
        """Raises UserError if the pretraining to resume had other inputs or another Keras."""
        if "images" not in progress:
            raise UserError(
                f"--resume: an older version started the training in {self.config.logdir!r}: start "
                f"another with {shell.flag('init', self.config.logdir)}"
            )
        now = self._inputs()
        for name, what in (
            ("groups", "the class groups"),
            ("images", "the images or labels"),
            ("keras", "the version of Keras"),
        ):
            if progress[name] != now[name]:
                raise UserError(
                    f"--resume: {what} differed when the training in {self.config.logdir!r} "
                    f"started: restore that, or start another with "
                    f"{shell.flag('init', self.config.logdir)}"
                )

    def _inputs(self):
        """Returns what has to be the same when the pretraining is resumed, as plain values."""
        return {
            **self._described,
            "images": self.splits.digest,
            "keras": versions()["keras"],
        }

    def batches(self):
        """Returns the batches from this step on, divided among the devices."""
        return self._trainer.distributed(self._samples.batches(self.config.batch_size, self.step))

    def train_step(self, batch):
        """Takes one training step on a batch; returns the loss before it, a scalar tensor."""
        loss = self._trainer.train(batch, self.step)
        self.step += 1
        return loss

    def execute(self):
        """Trains to the last step, showing progress; returns the summary."""
        print("\n".join(self.splits.tables()))
        for problem in self.splits.problems():
            print(f"note: {problem}")
        total = self.config.steps
        progress = progress_bar(total=total, initial=self.step, unit="step")
        with StopRequest() as stop, progress:
            try:
                self._train(stop, progress)
            except tf.errors.OpError:
                if not self._samples.failure:
                    raise
                self._save()
                raise self._samples.failure from None
            self._save()
            summary = self._finish()
            self._writer.close()
            directory.write_summary(self.config.logdir, summary)
        return summary

    def _train(self, stop, progress):
        """Trains until the last step or until a stop is requested."""
        config = self.config
        losses, start = [], time.perf_counter()
        for batch in itertools.islice(self.batches(), config.steps - self.step):
            losses.append(self.train_step(batch))
            progress.update()
            is_last, saves = self.step == config.steps, self.step % config.checkpoint_every == 0
            # Logged before each checkpoint, too, so that no diverged weights are saved.
            if saves or stop.made or is_last or self.step % LOGGED_EVERY == 0:
                start, losses = self._log(losses, start, progress), []
            if stop.made:
                return
            if saves:
                self._save()
            if self.step % config.validate_every == 0 and not is_last:
                if self.splits.validation:
                    self._validate()
                start = time.perf_counter()

    def _log(self, losses, start, progress):
        """Logs the mean loss since the last call, at time `start`; returns the time.

        Raises:
          UserError: the loss is not finite.
        """
        loss = float(np.mean([loss.numpy() for loss in losses]))  # waits for the steps
        now = time.perf_counter()
        self.seconds += now - start
        if not np.isfinite(loss):
            raise UserError(
                f"training diverged: the loss was not finite at step {self.step}; start another "
                "with a lower --learning_rate or from other --init"
            )
        rate = len(losses) * self.config.batch_size / (now - start)
        with self._writer.as_default(step=self.step):
            tf.summary.scalar("loss", loss)
            tf.summary.scalar("learning rate", training.learning_rate(self.step - 1, self.config))
            tf.summary.scalar("images per second", rate)
        progress.set_postfix_str(f"loss {loss:.3f}, {rate:.0f} images/s", refresh=False)
        return now

    def _validate(self):
        """Scores the averaged student on the held-out images, also for TensorBoard."""
        names, datasets = self._groups.names, self.splits.validation
        total = sum(map(len, datasets))
        with progress_bar(total=total, desc="validating", leave=False) as progress:
            counts = [
                validation.evaluate(self._segment, dataset, len(names), progress)
                for dataset in datasets
            ]
        result = validation.scores(sum(counts), names)
        result["datasets"] = {
            dataset.file: validation.scores(of_dataset, names)
            for dataset, of_dataset in zip(datasets, counts, strict=True)
        }
        with self._writer.as_default(step=self.step):
            if result["mean_iou"] is not None:  # some class is labeled
                tf.summary.scalar("validation/mean IoU", result["mean_iou"])
            for name, iou in result["class_iou"].items():
                tf.summary.scalar(f"validation IoU/{name}", iou)
            self._pictures.write(self._segment)
        say(f"step {self.step}: validation mean IoU {percent(result['mean_iou'])}")
        return result

    def _finish(self):
        """Saves and scores the student if all steps are done; returns the summary."""
        complete = self.step == self.config.steps
        summary = {"complete": complete, "steps": self.step, "seconds": self.seconds}
        if complete:
            weights = self._trainer.weights()
            checkpoint.save(self.config.logdir, weights, self._described, checkpoint.WEIGHTS)
            if self.splits.validation:
                summary["validation"] = self._validate()
        summary |= {"pixels": self.splits.pixels, "problems": self._problems()}
        return summary

    def _problems(self):
        """Returns the problems of images and labels, a text each, also of before resuming."""
        return list(dict.fromkeys([*self._earlier_problems, *self.splits.problems()]))

    def _save(self):
        """Writes a checkpoint."""
        self._writer.flush()
        progress = {
            "step": self.step,
            "steps": self.config.steps,
            "seconds": self.seconds,
            **self._inputs(),
            "problems": self._problems(),
            "file_sizes": checkpoint.growing_files(self.config.logdir),
        }
        checkpoint.save(self.config.logdir, self._trainer.get_state(), progress)


def _check_steps(config, progress):
    """Raises UserError if --steps contradicts the checkpoint to resume."""
    if config.steps < progress["step"]:
        raise UserError(f"--steps={config.steps}: {progress['step']} are done already")
    before = progress.get("steps", config.steps)
    if config.steps != before and progress["step"] > (1 - config.cooldown) * before:
        ended = progress["step"] == before
        falling = "has fallen to 0" if ended else f"is falling already at step {progress['step']}"
        raise UserError(
            f"--steps={config.steps}: of {before} steps, the learning rate {falling}: "
            f"{'' if ended else 'let it end, then '}start another with --init={config.logdir}"
        )


def _make_trainer(config, num_classes):
    """Returns a Trainer on all devices; raises UserError if they cannot share a batch."""
    strategy = training.devices_strategy()
    if config.batch_size % strategy.num_replicas_in_sync:
        raise UserError(
            f"--batch_size={config.batch_size} cannot be divided among "
            f"{strategy.num_replicas_in_sync} devices: give a multiple of that, or hide some "
            "by CUDA_VISIBLE_DEVICES"
        )
    make_repeatable(config.seed)
    return training.Trainer(config, num_classes, strategy, use_xla(config.xla))


def run(config, *, resume=False, overwrite=False):
    """Pretrains a student; see `Pretraining`. Returns the summary, as in summary.json."""
    with contextlib.ExitStack() as stack:
        config, notes = claim(config, stack, overwrite)
        for note in notes:
            print(note)
        opened = Pretraining(config, resume=resume, overwrite=overwrite)
        try:
            return opened.execute()
        except (OSError, tf.errors.OpError) as error:  # a full disk, for example
            raise UserError(
                f"the training stopped ({error}): fix that, then --resume continues from the last "
                "checkpoint"
            ) from error
