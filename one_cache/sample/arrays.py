"""The invented signals of a session: trials, spikes that answer to them, wheel, licks, drift.

Each array comes from the raw bits of PCG64, which numpy promises never to change, through
arithmetic and rounding alone, so that it is the same in every version and on every machine.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

N_TRIALS = 80
N_UNITS = 12
N_STIMULUS_UNITS = 4
"""The first units of a probe answer to the stimulus, the two after them to the feedback."""

_CONTRASTS = np.array([0.0, 0.0625, 0.125, 0.25, 1.0])
_SAMPLING = 30_000  # Hz, of the probes
_WHEEL = 40  # Hz
_PROPOSED = 10  # spikes that an answer has at most


class Dice:
    """Random numbers that depend on a text alone.

    Parameters
    ----------
    key : str
        What they are for.

    Examples
    --------
    >>> Dice("a").uniform(2) == Dice("a").uniform(2)
    array([ True,  True])
    """

    def __init__(self, key: str) -> None:
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
        self._bits = np.random.PCG64(seed)

    def uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> Floats:
        """Give `count` numbers in [low, high)."""
        raw = np.asarray(self._bits.random_raw(count), dtype=np.uint64)
        unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return low + (high - low) * unit

    def integers(self, count: int, below: int) -> NDArray[np.int64]:
        """Give `count` whole numbers in [0, below)."""
        return np.floor(self.uniform(count, 0, below)).astype(np.int64)


@dataclass(frozen=True)
class Trials:
    """The trials of a session; times in s, one row for each trial.

    Attributes
    ----------
    intervals : (n_trials, 2) float
        Start and end.
    stim_on, go_cue, response, feedback, first_movement : (n_trials,) float
    contrast : (n_trials,) float
        Of the stimulus, 0 to 1.
    is_left : (n_trials,) bool
        Side of the stimulus.
    is_correct : (n_trials,) bool
    probability_left : (n_trials,) float
        By which the side was drawn, constant within a block.
    """

    intervals: Floats
    stim_on: Floats
    go_cue: Floats
    response: Floats
    feedback: Floats
    first_movement: Floats
    contrast: Floats
    is_left: NDArray[np.bool_]
    is_correct: NDArray[np.bool_]
    probability_left: Floats

    @property
    def choice(self) -> Floats:
        """(n_trials,) 1 where the wheel brought a left stimulus to the middle, else -1."""
        return np.where(self.is_left == self.is_correct, 1.0, -1.0)

    @property
    def end(self) -> float:
        """End of the recording, in s."""
        return float(np.ceil(self.intervals[-1, 1])) + 2


def make_trials(key: str) -> Trials:
    """Draw the trials of a session."""
    dice = Dice(f"{key} trials")
    block = np.arange(N_TRIALS) // 20
    probability_left = np.where(block == 0, 0.5, np.where(block % 2 == 1, 0.8, 0.2))
    is_left = dice.uniform(N_TRIALS) < probability_left
    contrast = _CONTRASTS[dice.integers(N_TRIALS, len(_CONTRASTS))]
    is_correct = dice.uniform(N_TRIALS) < 0.55 + 0.45 * np.minimum(4 * contrast, 1)
    quiescence = _in_ticks(dice.uniform(N_TRIALS, 0.4, 0.7))
    reaction = _in_ticks(0.15 + 0.8 * dice.uniform(N_TRIALS) * dice.uniform(N_TRIALS))
    outcome = np.where(is_correct, 1.0, 2.0)
    pause = _in_ticks(dice.uniform(N_TRIALS, 0.3, 0.8))
    length = quiescence + reaction + outcome
    start = 2 + np.concatenate([[0], np.cumsum(length + pause)[:-1]])
    stim_on = start + quiescence
    return Trials(
        intervals=_in_ticks(np.stack([start, start + length], axis=1)),
        stim_on=_in_ticks(stim_on),
        go_cue=_in_ticks(stim_on + 0.001),
        response=_in_ticks(stim_on + reaction),
        feedback=_in_ticks(stim_on + reaction + 0.0002),
        first_movement=_in_ticks(stim_on + reaction - 0.1),
        contrast=contrast,
        is_left=is_left,
        is_correct=is_correct,
        probability_left=probability_left,
    )


def make_spikes(key: str, trials: Trials) -> dict[str, NDArray[Any]]:
    """Draw the spikes of a probe.

    Parameters
    ----------
    key : str
        Session and probe.
    trials : Trials
        What they answer to.

    Returns
    -------
    dict
        ``times`` (n_spikes,) in s, sorted; ``clusters`` (n_spikes,); ``amps`` (n_spikes,) in V.
    """
    dice = Dice(f"{key} spikes")
    times, units = [], []
    for unit, rate in enumerate(dice.uniform(N_UNITS, 1, 5)):
        own = [dice.uniform(int(rate * trials.end), 0, trials.end)]
        if unit < N_STIMULUS_UNITS:
            strength = 0.35 + 0.65 * np.minimum(4 * trials.contrast, 1)
            own.append(_answers(dice, trials.stim_on + 0.04, strength * (1 - 0.15 * unit)))
        elif unit < N_STIMULUS_UNITS + 2:
            own.append(
                _answers(dice, trials.feedback + 0.02, np.where(trials.is_correct, 0.6, 0.1))
            )
        times.append(np.concatenate(own))
        units.append(np.full(len(times[-1]), unit, dtype=np.uint32))
    samples = np.rint(np.concatenate(times) * _SAMPLING)
    order = np.argsort(samples, kind="stable")
    clusters = np.concatenate(units)[order]
    return {
        "times": samples[order] / _SAMPLING,
        "clusters": clusters,
        "amps": dice.uniform(len(order), 4e-5, 6e-5) * (1 + clusters / 4),
    }


def _answers(dice: Dice, starts: Floats, strength: Floats) -> Floats:
    """Give spikes in the 0.16 s after each start, more of them where `strength` is near 1."""
    proposed = starts[:, None] + dice.uniform(len(starts) * _PROPOSED, 0, 0.16).reshape(
        -1, _PROPOSED
    )
    kept = dice.uniform(proposed.size).reshape(proposed.shape) < strength[:, None]
    spikes: Floats = proposed[kept]
    return spikes


def make_wheel(trials: Trials) -> dict[str, Floats]:
    """Turn the wheel at each response: ``position`` (n,) in rad and ``timestamps`` (n,) in s."""
    timestamps = np.arange(int(trials.end * _WHEEL), dtype=np.float64) / _WHEEL
    turns = np.cumsum(0.3 * trials.choice)
    knots = np.stack([trials.first_movement, trials.response], axis=1).ravel()
    positions = np.stack([turns - 0.3 * trials.choice, turns], axis=1).ravel()
    position = np.interp(timestamps, knots, positions)
    return {"position": np.rint(position * 1e6) / 1e6, "timestamps": timestamps}


def make_licks(trials: Trials) -> Floats:
    """Lick three times at each reward: (n_licks,) in s, sorted."""
    rewards = trials.feedback[trials.is_correct]
    return _in_ticks((rewards[:, None] + np.array([0.05, 0.17, 0.31])).ravel())


def make_drift(key: str, trials: Trials, step: float) -> dict[str, Floats]:
    """Let a probe drift: ``times`` (n,) in s, every `step` s, and ``um`` (n,) in µm."""
    times = np.arange(0, trials.end, step)
    um = np.cumsum(Dice(key).uniform(len(times), -1, 1))
    return {"times": times, "um": np.rint(um * 1e3) / 1e3}


def _in_ticks(times: Floats) -> Floats:
    """Round to 0.1 ms, the clock of the behaviour."""
    return np.rint(times * 1e4) / 1e4
