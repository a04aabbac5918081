"""Data sets from arrays and folders, their parts and statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from coolnn import data


def put(path: Path, color: object = (90, 60, 30), size: tuple[int, int] = (6, 5), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)  # type: ignore[arg-type]


def pets(root: Path, each: int = 10) -> Path:
    for i in range(each):
        put(root / "cat" / f"{i}.png", (i, 0, 9))
        put(root / "dog" / f"{i}.jpg", (0, i, 9))
    return root


# --- arrays --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "stored"),
    [
        ((6, 8, 9), (8, 9, 1)),
        ((6, 8, 9, 3), (8, 9, 3)),
        ((6, 3, 8, 9), (8, 9, 3)),
        ((6, 1, 28, 28), (28, 28, 1)),
        ((6, 4, 4, 1), (4, 4, 1)),
        ((6, 3, 3, 3), (3, 3, 3)),
    ],
)
def test_layouts_of_arrays(shape: tuple[int, ...], stored: tuple[int, ...]) -> None:
    assert data.ArrayDataset(np.zeros(shape, np.uint8), [0] * 6).image_shape == stored


def test_pixel_types() -> None:
    assert data.ArrayDataset(np.full((2, 4, 4), 200, np.int64), [0, 1])[0][0].dtype == np.uint8
    assert data.ArrayDataset(np.full((2, 4, 4), 0.5), [0, 1])[0][0].dtype == np.float32
    assert data.ArrayDataset(np.ones((2, 4, 4), bool), [0, 1])[0][0].max() == 255
    images = np.zeros((2, 4, 4, 1), np.uint8)
    assert np.shares_memory(data.ArrayDataset(images, [0, 1]).images, images)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((4, 784)), [0] * 4, r"\(4, 784\)"),
        (np.zeros((4, 8, 8, 7)), [0] * 4, "1 to 4 channels"),
        (np.full((4, 8, 8), 300), [0] * 4, r"300\.\.300"),
        (np.full((4, 8, 8), "x"), [0] * 4, "must be numbers"),
        (np.zeros((4, 8, 8)), [0] * 3, "4 pictures need 4 labels"),
        (np.zeros((4, 8, 8)), [0, 1, -1, 0], "there is -1"),
        (np.zeros((4, 8, 8)), [0.5] * 4, "whole numbers or names"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images: np.ndarray, labels: list[object], message: str) -> None:
    with pytest.raises(data.DataError, match=message):
        data.ArrayDataset(images, labels)


def test_class_names_are_checked() -> None:
    images = np.zeros((2, 4, 4))
    with pytest.raises(data.DataError, match="label 2 needs 3 class names"):
        data.ArrayDataset(images, [0, 2], ["a", "b"])
    with pytest.raises(data.DataError, match="'c' is not among"):
        data.ArrayDataset(images, ["a", "c"], ["a", "b"])
    named = data.ArrayDataset(images, ["b", "a"], ["b", "a"])
    assert named.labels.tolist() == [0, 1] and named.counts() == {"b": 1, "a": 1}
    with pytest.raises(IndexError, match="no number 2"):
        named[2]


def test_subset_and_concat_agree_with_their_parents() -> None:
    rng = np.random.default_rng(0)
    whole = data.ArrayDataset(rng.integers(0, 256, (20, 4, 5, 3)).astype(np.uint8), rng.integers(0, 3, 20), list("abc"))
    joined = data.Concat([whole.subset(np.arange(8)), whole.subset(whole.labels >= 0).subset(np.arange(8, 20))])
    assert len(joined) == 20 and joined.labels.tolist() == whole.labels.tolist()
    order = rng.permutation(20)
    gathered = joined.gather(order)
    assert gathered is not None and np.array_equal(gathered, whole.images[order])
    assert all(np.array_equal(joined[i][0], whole[i][0]) for i in range(-20, 20))
    assert joined.describe(9) == "arrays[9]"
    with pytest.raises(data.DataError, match="0 to 19, not 20"):
        whole.subset([20])
    with pytest.raises(data.DataError, match="same classes"):
        data.Concat([whole, data.ArrayDataset(np.zeros((1, 4, 5, 3)), [0], ["z"])])


# --- splits --------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.integers(0, 4), max_size=120), fraction=st.floats(0, 0.9), seed=st.integers(0, 2**64 - 1))
def test_index_splits_are_stratified_and_stable(labels: list[int], fraction: float, seed: int) -> None:
    kept, held = data.split_indices(labels, fraction, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    for label in set(labels):
        members = [i for i, other in enumerate(labels) if other == label]
        taken = len(set(members) & set(held.tolist()))
        assert abs(taken - fraction * len(members)) <= 1
        if len(members) >= 2 and fraction > 0:
            assert 0 < taken < len(members)
    again = data.split_indices(labels, fraction, seed)[1]
    assert np.array_equal(held, again)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(40, 200), seed=st.integers(0, 1000), data_=st.data())
def test_adding_files_moves_no_other(n: int, seed: int, data_: st.DataObject) -> None:
    paths = [f"c/{i}.png" for i in range(n)]
    held = {paths[i] for i in data.split_paths(paths, [0] * n, 0.25, seed)[1]}
    some = sorted(data_.draw(st.sets(st.sampled_from(paths), min_size=30)))
    held_of_some = {some[i] for i in data.split_paths(some, [0] * len(some), 0.25, seed)[1]}
    assert held_of_some == held & set(some) or not held & set(some)


def test_small_classes_keep_one_on_each_side() -> None:
    paths = [f"{c}/{i}" for c in range(30) for i in range(2)]
    labels = np.repeat(np.arange(30), 2)
    kept, held = data.split_paths(paths, labels, 0.1)
    assert np.bincount(labels[kept]).tolist() == np.bincount(labels[held]).tolist() == [1] * 30
    assert len(data.split_paths(["a/1"], [0], 0.5)[0]) == 1


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 3])
def test_impossible_shares_are_refused(fraction: float) -> None:
    with pytest.raises(data.DataError, match=str(fraction)):
        data.split_indices([0, 1], fraction)


def test_parts_by_name() -> None:
    splits = data.Splits(data.ArrayDataset(np.zeros((20, 4, 4)), [0, 1] * 10))
    with pytest.raises(data.DataError, match=r"val=0\.1 takes"):
        splits["val"]
    splits = splits.with_test(0.2).with_val(0.2)
    assert [len(part) for _, part in splits.parts()] == [12, 4, 4]
    assert len(splits["train+validation"]) == 16
    assert splits.with_val(0.5) is splits


# --- folders -------------------------------------------------------------------------------------------------------


def test_folder_of_classes(tmp_path: Path) -> None:
    root = pets(tmp_path, 3)
    put(root / "cat" / "deep" / "down" / "Z.JPEG")
    put(root / "cat" / ".hidden.png")
    put(root / ".cache" / "1.png")
    (root / "cat" / "notes.txt").write_text("no picture")
    (root / "readme.md").write_text("no class")
    found = data.FolderDataset(root)
    assert found.classes == ["cat", "dog"] and found.counts() == {"cat": 4, "dog": 3}
    assert found.keys == ["cat/0.png", "cat/1.png", "cat/2.png", "cat/deep/down/Z.JPEG"] + [
        f"dog/{i}.jpg" for i in range(3)
    ]
    image, label = found[1]
    assert image.shape == (5, 6, 3) and image[0, 0].tolist() == [1, 0, 9] and label == 0
    assert found.describe(1) == str(root / "cat" / "1.png") and found.skipped == []


def test_grey_folders_are_found_out(tmp_path: Path) -> None:
    for i in range(3):
        put(tmp_path / "a" / f"{i}.png", 7 * i, mode="L")
        put(tmp_path / "b" / f"{i}.png", (i, i, i))
    assert data.FolderDataset(tmp_path).channels == 1
    assert data.FolderDataset(tmp_path, channels=3)[0][0].shape == (5, 6, 3)
    put(tmp_path / "b" / "red.png", (200, 0, 0))
    assert data.FolderDataset(tmp_path).channels == 3


def test_links_that_lead_back_up_end(tmp_path: Path) -> None:
    root = pets(tmp_path, 2)
    (root / "cat" / "again").symlink_to(root / "cat", target_is_directory=True)
    assert len(data.FolderDataset(root)) == 4


def test_unreadable_files_are_replaced_and_listed_once(tmp_path: Path) -> None:
    root = pets(tmp_path, 4)
    (root / "cat" / "1.png").write_bytes(b"")
    (root / "cat" / "3.png").write_bytes((root / "cat" / "3.png").read_bytes()[:45])
    found = data.FolderDataset(root)
    for _ in range(2):
        assert found[1][0][0, 0].tolist() == [2, 0, 9] and found[1][1] == 0
        assert found[3][0][0, 0].tolist() == [0, 0, 9]  # round to the first of the class
    assert [Path(file.path).name for file in found.skipped] == ["1.png", "3.png"]
    assert "1.png" in str(found.skipped[0])
    assert data.FolderDataset(root).check() == found.skipped


def test_a_class_without_a_readable_picture_ends_with_its_name(tmp_path: Path) -> None:
    root = pets(tmp_path, 2)
    for path in (root / "dog").iterdir():
        path.write_bytes(b"no")
    with pytest.raises(data.DataError, match=r"class 'dog' .* no readable picture among its 2"):
        data.FolderDataset(root)[2]


def test_folders_that_are_no_data_sets(tmp_path: Path) -> None:
    with pytest.raises(data.MissingDataError, match="there is no folder"):
        data.FolderDataset(tmp_path / "none")
    with pytest.raises(data.DataError, match="no folders"):
        data.FolderDataset(tmp_path)
    put(tmp_path / "1.png")
    with pytest.raises(data.DataError, match="1 pictures but no folders"):
        data.FolderDataset(tmp_path)
    with pytest.raises(data.DataError, match="is a file"):
        data.FolderDataset(tmp_path / "1.png")
    put(tmp_path / "cat" / "1.png")
    with pytest.raises(data.DataError, match="only one class, 'cat'"):
        data.FolderDataset(tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(data.DataError, match="class 'dog' is empty"):
        data.FolderDataset(tmp_path)


@pytest.mark.parametrize("names", [("train", "val", "test"), ("training", "validation", "testing")])
def test_given_parts_are_respected(tmp_path: Path, names: tuple[str, str, str]) -> None:
    for name, each in zip(names, (8, 3, 2), strict=True):
        pets(tmp_path / name, each)
    splits = data.load(tmp_path, val=0.5, test=0.5)
    assert [(name, len(part)) for name, part in splits.parts()] == [("train", 16), ("val", 6), ("test", 4)]
    assert splits.name == tmp_path.name


def test_parts_are_taken_where_they_are_not_given(tmp_path: Path) -> None:
    pets(tmp_path / "train", 40)
    pets(tmp_path / "test", 2)
    assert [name for name, _ in data.load(tmp_path).parts()] == ["train", "test"]
    splits = data.load(tmp_path, val=0.2)
    assert splits.val is not None and len(splits.train) + len(splits.val) == 80 and 6 <= len(splits.val) <= 26
    assert len(data.load(tmp_path, "test")) == 4
    put(tmp_path / "test" / "cow" / "1.png")
    with pytest.raises(data.DataError, match="cow is none of the classes"):
        data.load(tmp_path)


def test_a_plain_folder_gives_a_tenth_each(tmp_path: Path) -> None:
    splits = data.load(pets(tmp_path, 60), seed=3)
    sizes = {name: len(part) for name, part in splits.parts()}
    assert sum(sizes.values()) == 120 and 4 <= sizes["val"] <= 24 and 4 <= sizes["test"] <= 24
    assert splits.train.keys is not None and splits.test is not None and splits.test.keys is not None
    assert not set(splits.train.keys) & set(splits.test.keys)
    assert data.load(tmp_path, val=0, test=0).val is None


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    put(tmp_path / "train" / "1.png")
    put(tmp_path / "bus" / "1.png")
    assert data.FolderDataset(tmp_path).classes == ["bus", "train"]
    assert list(data.load(tmp_path).classes) == ["bus", "train"]


def test_in_memory(tmp_path: Path) -> None:
    folder = data.FolderDataset(pets(tmp_path, 3))
    loaded = data.in_memory(folder)
    assert isinstance(loaded, data.ArrayDataset) and np.array_equal(loaded[4][0], folder[4][0])
    assert data.in_memory(folder, limit=10) is folder
    put(tmp_path / "cat" / "large.png", size=(40, 40))
    other = data.FolderDataset(tmp_path)
    assert data.in_memory(other) is other


def test_large_photographs_are_shrunk_and_kept(tmp_path: Path) -> None:
    for i in range(6):
        put(tmp_path / "cat" / f"{i}.jpg", (10 * i, 0, 0), (800, 600))
        put(tmp_path / "dog" / f"{i}.png", (0, 10 * i, 0), (30, 20))
    splits = data.load(tmp_path, val=0.5, test=0).shrunk(32)
    assert splits.train.keys is not None and splits.val is not None
    assert {part[0].shape for part in splits.train} <= {(40, 53, 3), (20, 30, 3)}
    assert splits.train[0][0] is splits.train[0][0]
    whole = data.FolderDataset(tmp_path)
    whole.at_least(80)
    assert data.Concat([whole.subset([0, 1])])[1][0].shape == (150, 200, 3)
    none_kept = data.Shrunk(whole, 40, limit=0)
    assert none_kept[0][0] is not none_kept[0][0] and none_kept.labels.tolist() == whole.labels.tolist()


def test_labels_by_other_classes() -> None:
    pair = data.ArrayDataset(np.zeros((2, 4, 4)), ["cat", "dog"])
    other = data.Relabelled(pair, ["dog", "bird", "cat"])
    assert other.labels.tolist() == [2, 0] == [label for _, label in other]
    with pytest.raises(data.DataError, match="'dog' that is not among: cat"):
        data.Relabelled(pair, ["cat"])


def test_mean_and_deviation() -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 6, 7, 3)).astype(np.uint8)
    mean, std = data.mean_std(data.ArrayDataset(images, np.zeros(300, int)))
    assert np.allclose(mean, images.mean((0, 1, 2)) / 255) and np.allclose(std, images.std((0, 1, 2)) / 255)
    floats = data.ArrayDataset(images.astype(np.float32), np.zeros(300, int))
    assert np.allclose(data.mean_std(floats)[0], images.mean((0, 1, 2)))
    with pytest.raises(data.DataError, match="is empty"):
        data.mean_std(floats.subset([]))
