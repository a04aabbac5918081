"""Whether a training will fit into memory: asked before anything is allocated."""

from __future__ import annotations

import dataclasses

from ..data import Loader
from ..graph.planner import Forecast, Planner, largest, mebibytes
from ..spec import Shape, Spec


def complaint(step: Planner, train: Loader, val: Loader | None, images: Spec, targets: Spec) -> str | None:
    """What is wrong, with the largest batch that would fit, if batches like these need more memory than there is."""

    def forecast(count: int) -> Forecast:
        return _forecast(step, train, val, (count, *images.shape[1:]), Spec((count, *targets.shape[1:]), targets.dtype))

    full = forecast(images.shape[0])
    if full.fits:
        return None
    assert full.available is not None
    best = largest(lambda count: forecast(count).fits, images.shape[0])
    where = "the limit of this container leaves" if full.available.bound == "container" else "this machine has"
    remedy = (
        f"the largest batch that fits is {best}: set batch_size={best} (--batch {best})"
        if best
        else "not even a batch of 1 fits: use smaller pictures (--size) or a smaller network"
    )
    return (
        f"training with batches of {'×'.join(map(str, images.shape))} takes {mebibytes(full.memory.total)} of memory, "
        f"{mebibytes(full.memory.total - full.present)} more than now, and {where} {mebibytes(full.available.bytes)}; "
        + remedy
    )


def _forecast(step: Planner, train: Loader, val: Loader | None, shape: Shape, targets: Spec) -> Forecast:
    """Training and validation use one arena in turn; some batches wait in the loader."""
    found = step.forecast(shape, target=targets)
    memory = found.memory
    if val is not None:
        run = Planner(step.net).forecast((val.batch_size, *shape[1:])).memory
        memory = dataclasses.replace(memory, arena=max(memory.arena, run.arena), data=max(memory.data, run.data))
    waiting = max(train.prefetch, train.workers) + 1 if train.workers else 0
    data = memory.data + waiting * Spec(shape).nbytes
    return dataclasses.replace(found, memory=dataclasses.replace(memory, data=data))
