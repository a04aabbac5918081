"""The pointing game (Zhang et al. 2016): does a saliency map's largest value lie in a box of the class it explains?

    python benchmarks/pointing_game.py [--data FOLDER] [--models squeezenet1_1,efficientnet_lite0]
        [--methods grad_cam,...] [--answers 1] [--judged 0] [--sheet FILE]

Photographs and boxes are COCO's in the layout of YOLO (coco128/images, coco128/labels below the data folder). One
takes part where one of the network's first `--answers` answers is an ImageNet class that belongs to a COCO class with a
box in it (the table below); the map explains the first of these answers, and points right where its largest value lies
in one of that class's boxes, without tolerance. Photographs are stretched to the network's input, so that all of them
is seen. "middle" always points to the middle of the picture, "anywhere" is the share of it that boxes cover.
`--judged` says on how many of the photographs deletion and insertion scores are measured, `--sheet` writes overlays.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import coolnn as cool
from coolnn.explain import Explainer, images
from coolnn.explain.saliency import METHODS
from coolnn.formats import Model, open_pretrained

#: COCO's classes, by number, with the ImageNet classes that are the same thing or a kind of it: names, or numbers.
SAME: dict[int, tuple[str | range, ...]] = {
    1: ("mountain bike", "bicycle-built-for-two"),
    2: ("cab", "convertible", "jeep", "limousine", "minivan", "Model T", "racer", "sports car", "beach wagon"),
    3: ("moped", "motor scooter"),
    4: ("airliner", "warplane"),
    5: ("minibus", "school bus", "trolleybus"),
    6: ("bullet train", "electric locomotive", "steam locomotive", "passenger car", "freight car"),
    7: ("fire engine", "garbage truck", "pickup", "tow truck", "trailer truck", "moving van"),
    8: ("canoe", "catamaran", "fireboat", "gondola", "lifeboat", "speedboat", "trimaran", "yawl", "container ship"),
    9: ("traffic light",),
    11: ("street sign",),
    12: ("parking meter",),
    13: ("park bench",),
    14: (range(7, 25), range(80, 101), range(127, 147)),  # cock to great grey owl, black grouse to albatross
    15: (range(281, 286),),  # tabby to Egyptian cat
    16: (range(151, 269),),  # Chihuahua to Mexican hairless
    17: ("sorrel",),
    18: ("ram", "bighorn"),
    19: ("ox",),
    20: ("Indian elephant", "African elephant", "tusker"),
    21: (range(294, 298),),  # brown bear to sloth bear
    22: ("zebra",),
    24: ("backpack",),
    25: ("umbrella",),
    26: ("purse", "mailbag"),
    27: ("Windsor tie", "bow tie", "bolo tie"),
    30: ("ski",),
    32: ("basketball", "soccer ball", "tennis ball", "volleyball", "golf ball", "rugby ball", "baseball"),
    38: ("racket",),
    39: ("beer bottle", "pill bottle", "pop bottle", "water bottle", "wine bottle"),
    40: ("goblet", "red wine"),
    41: ("cup", "coffee mug", "espresso"),
    43: ("cleaver", "letter opener"),
    44: ("wooden spoon", "ladle"),
    45: ("mixing bowl", "soup bowl"),
    46: ("banana",),
    47: ("Granny Smith",),
    48: ("cheeseburger",),
    49: ("orange",),
    50: ("broccoli",),
    52: ("hotdog",),
    53: ("pizza",),
    56: ("folding chair", "rocking chair", "barber chair", "throne"),
    57: ("studio couch",),
    58: ("pot",),
    59: ("four-poster",),
    60: ("dining table",),
    61: ("toilet seat",),
    62: ("television", "screen", "monitor"),
    63: ("laptop", "notebook"),
    64: ("mouse",),
    65: ("remote control",),
    66: ("computer keyboard",),
    67: ("cellular telephone",),
    68: ("microwave",),
    69: ("stove", "rotisserie"),
    70: ("toaster",),
    71: ("washbasin",),
    72: ("refrigerator",),
    74: ("analog clock", "digital clock", "wall clock"),
    75: ("vase",),
    77: ("teddy",),
    78: ("hand blower",),
}
Box = tuple[float, float, float, float]  # left, top, right, bottom, as shares of the picture


@dataclasses.dataclass(frozen=True)
class Round:
    """A photograph with the answer that is explained and the boxes that it belongs in."""

    photo: Path
    answer: int
    boxes: tuple[Box, ...]

    def hit(self, row: float, column: float) -> bool:
        """Whether a place, as shares of height and width, lies in a box."""
        return any(left <= column <= right and top <= row <= bottom for left, top, right, bottom in self.boxes)

    def covered(self) -> float:
        """The share of the picture that the boxes cover."""
        at = (np.arange(200) + 0.5) / 200
        return float(np.mean([[self.hit(row, column) for column in at] for row in at]))


def coco_of_imagenet() -> dict[int, int]:
    """The COCO class of each ImageNet class that has one."""
    names = cool.data.class_names("imagenet")
    found: dict[int, int] = {}
    for coco, members in SAME.items():
        for member in members:
            numbers = [names.index(member)] if isinstance(member, str) else member
            found |= dict.fromkeys(numbers, coco)
    return found


def boxes_of(photo: Path) -> dict[int, list[Box]]:
    """The boxes of a photograph by COCO class."""
    found: dict[int, list[Box]] = {}
    labels = Path(str(photo.parent).replace("images", "labels")) / f"{photo.stem}.txt"
    for line in labels.read_text().splitlines() if labels.exists() else ():
        kind, x, y, w, h = (float(word) for word in line.split())
        found.setdefault(int(kind), []).append((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    return found


def rounds(explain: Explainer, photos: list[Path], answers: int) -> list[Round]:
    """The photographs that take part."""
    coco, found = coco_of_imagenet(), []
    for photo in photos:
        boxes = boxes_of(photo)
        if not boxes:
            continue
        assert explain.preprocessing is not None
        x = explain.preprocessing(photo)
        output = explain.programs(x.shape[1:]).outputs(x)
        for answer in np.argsort(-output[0])[:answers].tolist():
            if coco.get(answer) in boxes:
                found.append(Round(photo, answer, tuple(boxes[coco[answer]])))
                break
    return found


def stretched(name: str, data: Path) -> Explainer:
    """A network that sees whole photographs."""
    if name == "squeezenet1_1":
        weights = data / "weights" / "squeezenet1_1-imagenet" / "squeezenet1_1.safetensors"
        model: Model = open_pretrained(name, weights, preprocessing="caffe", size=227)
    else:
        model = open_pretrained(name)
    assert model.preprocessing is not None
    preprocessing = dataclasses.replace(model.preprocessing, mode="stretch", keep=1.0)
    return Explainer(model, preprocessing=preprocessing)


def play(
    explain: Explainer, game: list[Round], method: str, judged: int
) -> tuple[int, list[tuple[float, float]], list[Any]]:
    """How often a method points right, deletion and insertion of the first maps, and their overlays."""
    right, scores, overlays = 0, [], []
    for number, turn in enumerate(game):
        found = explain(turn.photo, method, turn.answer)
        h, w = found.map.shape
        right += turn.hit((found.peak[0] + 0.5) / h, (found.peak[1] + 0.5) / w)
        if number < judged:
            scores.append((found.perturbation.deletion, found.perturbation.insertion))
        overlays.append(found.overlay())
    return right, scores, overlays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("COOLNN_DATA", "."))
    parser.add_argument("--models", default="squeezenet1_1,efficientnet_lite0")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--answers", type=int, default=1)
    parser.add_argument("--judged", type=int, default=0)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    photos = sorted((Path(options.data) / "coco128" / "images").rglob("*.jpg"))
    if not photos:
        parser.error(
            f"there are no photographs in {Path(options.data) / 'coco128' / 'images'}; name the folder by --data"
        )
    for name in options.models.split(","):
        explain = stretched(name, Path(options.data))
        game = rounds(explain, photos, options.answers)
        print(f"\n{name}: {len(game)} of {len(photos)} photographs take part", flush=True)
        print("| method | points right | deletion | insertion |\n|---|---|---|---|")
        print(f"| (anywhere) | {np.mean([turn.covered() for turn in game]):.0%} | | |")
        print(f"| (middle) | {np.mean([turn.hit(0.5, 0.5) for turn in game]):.0%} | | |", flush=True)
        for method in options.methods.split(","):
            right, scores, overlays = play(explain, game, method, options.judged)
            deletion, insertion = (f"{v:.3f}" for v in np.mean(scores, 0)) if scores else ("", "")
            share = right / max(len(game), 1)
            print(f"| {method} | {share:.0%} ({right} of {len(game)}) | {deletion} | {insertion} |", flush=True)
            if options.sheet is not None:
                path = options.sheet.with_stem(f"{options.sheet.stem}_{name}_{method}")
                Image.fromarray(images.sheet(overlays, labels=[turn.photo.stem for turn in game])).save(path)


if __name__ == "__main__":
    main()
