"""A data set in the YOLO format, of scenes composed of real digits."""

from pathlib import Path

from PIL import Image

from autoprune.task.builtin import composed, digits


def write(folder: Path, train: int = 32, val: int = 8) -> Path:
    """Write images, labels and ``data.yaml`` and return that file."""
    found = digits.data()
    for seed, (split, count) in enumerate({"train": train, "val": val}.items()):
        scenes = composed.compose(found.train, count, seed)
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for number, image in enumerate(scenes.images):
            gray = Image.fromarray((image[0] * 255).byte().numpy()).resize((64, 64))
            gray.convert("RGB").save(images / f"{number}.png")
            lines = []
            for box, label in zip(scenes.boxes[number] / composed.SIZE, scenes.labels[number], strict=True):
                x, y = (box[:2] + box[2:]) / 2
                width, height = box[2:] - box[:2]
                lines.append(f"{int(label)} {x:.5f} {y:.5f} {width:.5f} {height:.5f}")
            (labels / f"{number}.txt").write_text("\n".join(lines))
    names = "\n".join(f"  {digit}: digit{digit}" for digit in range(10))
    file = folder / "data.yaml"
    file.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames:\n{names}\n")
    return file
