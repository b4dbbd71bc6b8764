"""A pretraining: photographs in, student out, everything on disk, resumable."""

import itertools
import time

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from jitnet_tf.base import checkpoint
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.interrupt import StopRequest
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining import splits, training, validation
from jitnet_tf.pretraining.augmentation import Augmentation
from jitnet_tf.pretraining.pictures import Pictures
from jitnet_tf.pretraining.pipeline import Samples
from jitnet_tf.runs import directory
from jitnet_tf.runs.run import versions
from jitnet_tf.runs.summary import percent
from jitnet_tf.student import initial_weights
from jitnet_tf.student.devices import make_repeatable, use_xla

LOGGED_EVERY = 20  # steps; a curve a person can read, and no waiting for each step


class Pretraining:
    """A pretraining, opened.

    What a user can have got wrong is found on construction, before the first step. Ctrl-C ends it
    between steps with a checkpoint, from which `resume` goes on as if it had not been interrupted.

    Args:
      config: a PretrainConfig.
      resume: go on with what is in config.logdir.
      overwrite: replace what is in config.logdir.

    Raises:
      UserError: whatever the user can mend.
    """

    def __init__(self, config, *, resume=False, overwrite=False):
        self.config = config
        directory.check_paths_distinct(
            {
                name: getattr(config, name)
                for name in ("init", "images", "labels", "unlabeled_images")
            },
            {"logdir": config.logdir},
        )
        saved = directory.find_checkpoint(config, resume, overwrite)
        arrays, progress = saved or ({}, {"step": 0, "seconds": 0.0})
        self.step, self.seconds = progress["step"], progress["seconds"]
        self._earlier_problems = progress.get("problems", [])
        if config.steps < self.step:
            raise UserError(f"--steps={config.steps}: {self.step} are done already")
        before = progress.get("steps", config.steps)
        if config.steps != before and self.step > (1 - config.cooldown) * before:
            raise UserError(
                f"--steps={config.steps}: of {before} steps, the learning rate is falling already "
                f"at step {self.step}: let it end, then start another with --init"
            )
        self._groups = class_groups(config.class_groups)
        self._described = initial_weights.describe(self._groups, config.student)
        label_maker = LabelMaker(
            self._groups, config.score_threshold, config.box_weight, config.box_dilation
        )
        strategy = training.devices_strategy()
        if config.batch_size % strategy.num_replicas_in_sync:
            raise UserError(
                f"--batch_size={config.batch_size} cannot be divided among "
                f"{strategy.num_replicas_in_sync} devices: give a multiple of that, or hide some "
                "by CUDA_VISIBLE_DEVICES"
            )
        make_repeatable(config.seed)
        names = self._groups.names
        self._trainer = training.Trainer(config, len(names), strategy, use_xla(config.xla))
        if not saved:
            self._trainer.start_from(config.init, self._groups)
        self.photographs = splits.open_sets(config, label_maker)
        if saved:
            self._check_same(progress)
            self._trainer.set_state(arrays)
            checkpoint.cut_back(config.logdir, progress["file_sizes"])
            directory.write_config(config)  # the number of steps may be another
        else:
            directory.start(config, versions())
        self._samples = Samples(
            self.photographs.training,
            config.unlabeled_rate,
            Augmentation.of(config),
            config.seed,
        )
        self._writer = tf.summary.create_file_writer(config.logdir)
        self._segment = validation.segmenter(self._trainer.averaged)
        self._pictures = Pictures(names, self.photographs.validation)

    def _check_same(self, progress):
        """UserError where a pretraining to go on with would not be what it was."""
        now = {
            "groups": (self._described["groups"], "the class groups are"),
            "photographs": (self.photographs.digest, "the photographs are"),
            "keras": (versions()["keras"], "Keras is"),
        }
        for name, (value, what) in now.items():
            if progress[name] != value:
                those = "those" if what.endswith("are") else "the one"
                raise UserError(
                    f"--resume: {what} not {those} that the training in {self.config.logdir!r} was "
                    f"begun with: restore that, or start another with --init={self.config.logdir}"
                )

    def batches(self):
        """The batches from this step on, divided among the devices."""
        return self._trainer.distributed(self._samples.batches(self.config.batch_size, self.step))

    def step_on(self, batch):
        """Trains a step on a batch; returns the loss before it, a scalar tensor."""
        loss = self._trainer.train(batch, self.step)
        self.step += 1
        return loss

    def execute(self):
        """Trains to the last step, showing progress; returns the summary."""
        config = self.config
        for note in self.photographs.notes():
            print(note)
        progress = tqdm(total=config.steps, initial=self.step, unit="step", dynamic_ncols=True)
        with StopRequest() as stop, progress:
            try:
                self._loop(stop, progress)
            except tf.errors.OpError:
                if not self._samples.failure:
                    raise
                self._save()
                raise self._samples.failure from None
            self._save()
            complete = self.step == config.steps
            summary = {"complete": complete, "steps": self.step, "seconds": self.seconds}
            if complete:
                weights = self._trainer.weights()
                checkpoint.save(config.logdir, weights, self._described, checkpoint.WEIGHTS)
                if self.photographs.validation:
                    summary["validation"] = self._validate()
            summary["problems"] = self._problems()
            self._writer.close()
            directory.write_summary(config.logdir, summary)
        return summary

    def _loop(self, stop, progress):
        config = self.config
        losses, start = [], time.perf_counter()
        for batch in itertools.islice(self.batches(), config.steps - self.step):
            losses.append(self.step_on(batch))
            progress.update()
            saves = self.step % config.checkpoint_every == 0
            # Before each checkpoint, too, which is not to hold what has diverged.
            if saves or stop.made or self.step % LOGGED_EVERY == 0 or self.step == config.steps:
                start, losses = self._log(losses, start, progress), []
            if stop.made:
                return
            if saves:
                self._save()
            if self.step % config.validate_every == 0 and self.step < config.steps:
                if self.photographs.validation:
                    self._validate()
                start = time.perf_counter()

    def _log(self, losses, start, progress):
        """Notes the mean loss since the last call; returns the time."""
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
            tf.summary.scalar("photographs per second", rate)
        progress.set_postfix_str(f"loss {loss:.3f}, {rate:.0f} photographs/s", refresh=False)
        return now

    def _validate(self):
        """Scores the averaged student on the held-out photographs, into TensorBoard."""
        names, held_out = self._groups.names, self.photographs.validation
        total = sum(map(len, held_out))
        with tqdm(total=total, desc="validating", leave=False, dynamic_ncols=True) as progress:
            counts = [
                validation.evaluate(self._segment, annotated, len(names), progress)
                for annotated in held_out
            ]
        result = validation.scores(sum(counts), names)
        result["sets"] = {
            annotated.file: validation.scores(of_set, names)
            for annotated, of_set in zip(held_out, counts, strict=True)
        }
        with self._writer.as_default(step=self.step):
            if result["mean_iou"] is not None:  # something is labelled
                tf.summary.scalar("validation/mean IoU", result["mean_iou"])
            for name, iou in result["class_iou"].items():
                tf.summary.scalar(f"validation IoU/{name}", iou)
            self._pictures.write(self._segment)
        tqdm.write(f"step {self.step}: validation mean IoU {percent(result['mean_iou'])}")
        return result

    def _problems(self):
        """What was skipped, a text each, before and after resuming."""
        return list(dict.fromkeys([*self._earlier_problems, *self.photographs.problems()]))

    def _save(self):
        self._writer.flush()
        progress = {
            "step": self.step,
            "steps": self.config.steps,
            "seconds": self.seconds,
            **self._described,
            "photographs": self.photographs.digest,
            "keras": versions()["keras"],
            "problems": self._problems(),
            "file_sizes": checkpoint.growing_files(self.config.logdir),
        }
        checkpoint.save(self.config.logdir, self._trainer.get_state(), progress)


def run(config, *, resume=False, overwrite=False):
    """Pretrains a student; see `Pretraining`. Returns the summary as in summary.json."""
    opened = Pretraining(config, resume=resume, overwrite=overwrite)
    try:
        return opened.execute()
    except (OSError, tf.errors.OpError) as error:  # a full disk, say
        raise UserError(
            f"the training stopped ({error}): mend that, then --resume goes on from the last "
            "checkpoint"
        ) from error
