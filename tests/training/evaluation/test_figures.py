import warnings

import numpy as np
import pytest
from matplotlib import colormaps, colors
from PIL import Image

from training.evaluation.figures import DARK, LIGHT, emoji_name, heatmap, printable, save, text_colour


@pytest.mark.parametrize(
    ("background", "colour"),
    [((0, 0, 0, 1), LIGHT), ((1, 1, 1), DARK), ((0.99, 0.9, 0.2), DARK), ((0, 0.2, 0.4), LIGHT)],
)
def test_text_stands_out_from_its_cell(background, colour):
    assert text_colour(background) == colour


@pytest.mark.parametrize("shade", np.linspace(0, 1, 21))
def test_every_shade_has_readable_text(shade):
    """WCAG asks for a contrast of 4.5 for text of this size; black and white together always reach 4.4 or more."""

    def luminance(colour):
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour[:3]]
        return np.dot(linear, (0.2126, 0.7152, 0.0722))

    background = colormaps["cividis"](shade)
    text = colors.to_rgb(text_colour(background))
    dark, bright = sorted((luminance(background), luminance(text)))
    assert (bright + 0.05) / (dark + 0.05) > 4


def test_signs_that_the_font_lacks_are_named():
    assert printable("mañana") == "mañana"
    assert printable("🥺 ya") == "<face with pleading eyes> ya"


def test_names_of_labels():
    assert emoji_name("💔") == "broken heart"
    assert emoji_name("😄") == "smiling with open mouth and smiling eyes"
    assert emoji_name("negativo") == "negativo"


def test_a_picture_has_no_missing_signs_and_is_the_same_every_time(tmp_path):
    def draw(name):
        values = np.array([[0.25, np.nan, 0.9], [0.5, 0.1, 0.9]])
        labels = [["0.25", "–", "0.9"], ["0.5", "0.1", "0.9"]]
        return save(
            heatmap(values, labels, ["ar", "mx"], ["a", "b", "unigram"], "title", "rows", "columns", compared=2),
            tmp_path / name,
        )

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = draw("first"), draw("second")
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as image:
        assert image.mode == "P"  # of few colours, at a third of the size
    svg = first.with_suffix(".svg").read_text()
    assert svg == second.with_suffix(".svg").read_text()
    assert "unigram" in svg  # text is text
