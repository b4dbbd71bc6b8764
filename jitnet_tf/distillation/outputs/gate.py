"""The gate between two segmentations of a pixel, learned online from which one was right."""

import numpy as np

FEATURES = (
    "one",
    "age",  # of the warped labels, in 16 frames
    "residual",  # of the flow: gray levels by which the warped key frame differs, in 20
    "margin",  # of the student's class over the warped one: difference of logits, in 4
    "warped is foreground",
    "student's is foreground",
    "agreement",  # share of the surroundings on which both agree
    "inside",  # whether the flow comes from inside the key frame
)
# The mode of the weights before any experience: fitted to the disagreements on the three streams of
# experiments/streams/ablations.csv, and rounded.
PRIOR = np.array([-0.4, -0.6, -0.7, -1.8, 1.3, 1.4, 0.0, 0.9])
PRECISION = 4.0  # of the prior
FORGET = 0.9  # what experience keeps of its weight from one teacher frame to the next
# Pixels of a frame are anything but independent: together they count as so many at most.
EFFECTIVE = 10
NEWTON_STEPS = 50  # at most; a few are usual
CONVERGED = 1e-6  # gradient


class Gate:
    """Logistic regression: the probability that the warped class is the right one of two.

    Bayesian, by Laplace's approximation, so that its state is a Gaussian: after each teacher frame,
    the mode and the curvature there. Experience is forgotten in favor of the prior.
    """

    def __init__(self):
        self._mean = PRIOR.copy()
        self._precision = PRECISION * np.eye(len(PRIOR))

    def log_odds(self, features):
        """Returns the log-odds that the warped class is right, float32 [N].

        features: float32 [N, F], in the order of FEATURES.
        """
        return features @ self._mean.astype(np.float32)

    def learn(self, features, is_right):
        """Takes the experience of a teacher frame.

        features: float32 [N, F] of pixels where one of the two was right; is_right: bool [N],
        whether the warped class was.
        """
        if not len(features) or not np.isfinite(features).all():  # of a student that diverges
            return
        x, y = features.astype(np.float64), is_right.astype(np.float64)
        share = min(EFFECTIVE, len(y)) / len(y)
        prior = PRECISION * np.eye(len(PRIOR))
        before = FORGET * self._precision + (1 - FORGET) * prior
        start = FORGET * self._mean + (1 - FORGET) * PRIOR

        def loss(weights):
            logits, change = x @ weights, weights - start
            return (
                change @ before @ change / 2 + share * (np.logaddexp(0, logits) - y * logits).sum()
            )

        weights = start
        for _ in range(NEWTON_STEPS):
            p = _sigmoid(x @ weights)
            gradient = before @ (weights - start) + share * (x.T @ (p - y))
            curvature = before + share * (x.T * (p * (1 - p))) @ x
            if np.abs(gradient).max() < CONVERGED:
                break
            step = np.linalg.solve(curvature, gradient)
            # Whole steps overshoot where the gate was sure and wrong, and may swing for ever.
            while loss(weights - step) > loss(weights) and np.abs(step).max() > CONVERGED:
                step = step / 2
            weights = weights - step
        self._mean, self._precision = weights, curvature

    def get_state(self):
        """Returns mode and curvature, float64 [F] and [F, F], for a checkpoint."""
        return {"mean": self._mean, "precision": self._precision}

    def set_state(self, state):
        """Restores `get_state`'s arrays. KeyError or ValueError where they do not fit."""
        mean, precision = (np.asarray(state[name], np.float64) for name in ("mean", "precision"))
        count = len(FEATURES)
        if mean.shape != (count,) or precision.shape != (count, count):
            raise ValueError(f"the gate's state is not of {count} features")
        # Else training the gate may fail later.
        if not np.isfinite(mean).all() or not np.isfinite(precision).all():
            raise ValueError("the gate's state is not finite")
        if np.linalg.eigvalsh(precision).min() <= 0:
            raise ValueError("the gate's precision is not positive")
        self._mean, self._precision = mean, precision


def _sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))
