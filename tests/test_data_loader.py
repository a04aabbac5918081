"""Batches: the same on any number of threads and from any place in an epoch, and threads that always end."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from coolnn import data


def small(n: int = 50, size: int = 12) -> data.ArrayDataset:
    rng = np.random.default_rng(0)
    return data.ArrayDataset(rng.integers(0, 256, (n, size, size, 3)).astype(np.uint8), np.arange(n) % 4)


@pytest.fixture
def files(tmp_path: Path) -> data.FolderDataset:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(9):
            size = (20 + 3 * i, 30) if i % 2 else (16, 16)
            Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "cat" / "4.png").write_bytes(b"damaged")
    return data.FolderDataset(tmp_path)


CHANGES = [data.RandomCrop(12, padding=2), data.HorizontalFlip(), data.Affine(10, 0.1), data.ColorJitter(0.2, 0.2)]


def no_threads() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("coolnn-data")]


@pytest.mark.parametrize("mix", [None, data.Mixup(), data.CutMix()])
@pytest.mark.parametrize("source", ["arrays", "files"])
def test_same_batches_on_any_number_of_threads_and_from_any_batch(
    source: str, mix: data.Mix | None, files: data.FolderDataset
) -> None:
    dataset: data.Dataset = small() if source == "arrays" else files

    def loader(workers: int) -> data.Loader:
        prepare = data.Preprocessing(size=(12, 12), channels=3)
        return data.Loader(
            dataset, 4, shuffle=True, transform=CHANGES, preprocessing=prepare, mix=mix, seed=3, workers=workers
        )

    for epoch in (0, 7):
        want = list(loader(0).epoch(epoch))
        for workers in (1, 3):
            got = list(loader(workers).epoch(epoch, start_batch=2))
            assert len(got) == len(want) - 2
            for a, b in zip(want[2:], got, strict=True):
                assert np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)
        single = loader(0).batch(epoch, 1)
        assert np.array_equal(single.images, want[1].images)
    assert no_threads()


def test_large_and_small_pictures_are_changed_alike() -> None:
    # Above a size pictures are changed one by one: that must not show.
    large = small(6, 80)
    loader = data.Loader(large, 3, transform=[data.Affine(10), data.HorizontalFlip()])
    draws = data.Draws(seed=0, epoch=2, start=3, count=3)
    changed = data.HorizontalFlip().apply(data.Affine(10).apply(large.images[3:], draws), draws)
    assert np.array_equal(loader.batch(2, 1).images, loader.preprocessing.normalize(changed))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 40), batch=st.integers(1, 45), shuffle=st.booleans(), workers=st.integers(0, 2))
def test_an_epoch_gives_every_picture_once(n: int, batch: int, shuffle: bool, workers: int) -> None:
    dataset = data.ArrayDataset(np.arange(n, dtype=np.uint8).repeat(4).reshape(n, 2, 2), np.arange(n))
    loader = data.Loader(dataset, batch, shuffle=shuffle, workers=workers, preprocessing=data.Preprocessing(scale=1))
    got = list(loader)
    assert len(got) == len(loader) == -(-n // batch)
    labels = np.concatenate([b.labels for b in got])
    assert sorted(labels) == list(range(n)) and (shuffle or labels.tolist() == list(range(n)))
    assert all((b.images[:, 0, 0, 0] == b.labels).all() for b in got)
    assert all(b.images.dtype == np.float32 and b.labels.dtype == np.int64 for b in got)


def test_epochs_follow_each_other_and_differ() -> None:
    loader = data.Loader(small(), 50, shuffle=True)
    first, second = (next(iter(loader)).labels for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(second, next(loader.epoch(1)).labels)
    assert len(data.Loader(small(), 16, drop_last=True)) == len(list(data.Loader(small(), 16, drop_last=True))) == 3


def test_small_arrays_need_no_threads_and_files_do(files: data.FolderDataset) -> None:
    assert data.Loader(small()).workers == 0
    assert data.Loader(small(), transform=data.HorizontalFlip()).workers == 1
    assert data.Loader(files).workers >= 1


def test_a_break_an_error_and_a_forgotten_iterator_end_the_threads(files: data.FolderDataset) -> None:
    loader = data.Loader(files, 2, preprocessing=data.Preprocessing(size=(8, 8)), workers=3)
    for _ in loader:
        break
    assert no_threads()
    with pytest.raises(KeyboardInterrupt):
        for _ in loader:
            raise KeyboardInterrupt
    assert no_threads()
    batches = loader.epoch(0)
    next(batches)
    batches.close()
    assert no_threads()
    assert len(list(loader)) == 9, "and the loader still works"


class Failing(data.Dataset):
    name, classes = "failing", ("a", "b")

    def __init__(self, at: int, error: Exception) -> None:
        self.at, self.error = at, error

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        if index == self.at:
            raise self.error
        time.sleep(0.001)
        return np.zeros((4, 4), np.uint8), index % 2

    def describe(self, index: int) -> str:
        return f"folder/{index}.png"


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_failures_come_where_the_batch_would_have_come_and_name_the_file(workers: int) -> None:
    loader = data.Loader(Failing(11, RuntimeError("boom")), 4, workers=workers)
    got = []
    with pytest.raises(data.DataError, match=r"folder/11\.png could not be loaded: boom"):
        for batch in loader:
            got.append(batch)
    assert len(got) == 2 and no_threads()


def test_pictures_of_different_sizes_need_a_size(files: data.FolderDataset) -> None:
    with pytest.raises(data.DataError, match=r"Preprocessing\(size="):
        list(data.Loader(files, 18))


def test_a_damaged_file_does_not_end_a_run(files: data.FolderDataset) -> None:
    loader = data.Loader(files, 5, preprocessing=data.Preprocessing(size=(8, 8)))
    assert sum(len(batch.labels) for batch in loader) == 18
    assert [Path(file.path).name for file in files.skipped] == ["4.png"]


def test_a_class_of_ones_own_is_enough() -> None:
    (batch,) = data.Loader(Failing(-1, RuntimeError()), 30)
    assert batch.images.shape == (30, 1, 4, 4) and batch.labels.tolist() == [0, 1] * 15


def test_floats_reach_the_network_as_they_are() -> None:
    values = np.random.default_rng(0).normal(size=(5, 3, 6, 7)).astype(np.float32)
    (batch,) = data.Loader(data.ArrayDataset(values, [0] * 5))
    assert np.array_equal(batch.images, values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "not 0"),
        ({"workers": -1}, "not -1"),
        ({"prefetch": 0}, "not 0|at least 1"),
        ({"batch_size": 64, "drop_last": True}, "has 50 pictures, fewer than batch_size=64"),
    ],
)
def test_impossible_choices_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(data.DataError, match=message):
        data.Loader(small(), **options)  # type: ignore[arg-type]
    with pytest.raises(data.DataError, match="cannot start at 9"):
        data.Loader(small()).epoch(0, start_batch=9)


def test_the_loader_keeps_up_with_a_fast_network() -> None:
    # 60,000 pictures of 28x28: well under the half second that this allows on a busy machine with a margin of four.
    dataset = data.ArrayDataset(np.zeros((60000, 28, 28), np.uint8), np.zeros(60000, np.int64))
    loader = data.Loader(dataset, 128, shuffle=True)

    def epoch() -> float:
        begin = time.perf_counter()
        assert sum(len(batch.labels) for batch in loader) == 60000
        return time.perf_counter() - begin

    assert min(epoch() for _ in range(3)) < 0.5
