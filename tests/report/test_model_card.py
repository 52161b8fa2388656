"""The card of a model."""

from foveate.evaluation.localization import measure
from foveate.report.model_card import model_card


def test_the_card_tells_what_is_known_and_nothing_else():
    card = model_card({"category": "face", "seed": 3, "version": "0.1"}, {"held out": measure([])})
    assert card.startswith("---\nlibrary_name: foveate\n") and "# face:" in card
    assert "- seed: `3`" in card and "| held out | 0 / 0 | not known |" in card
    assert "Density of aligned patches" not in card and "None" not in card and "nan" not in card
    bound = {"n": 165, "bound": 812.34, "bound_stderr": 9.91, "log_z_lower": 1.0, "log_z_upper": 2.0}
    assert "| dev | 165 | 812.3 ± 9.9 | 1.0 to 2.0 |" in model_card({}, bound={"dev": bound})


def test_words_of_others_can_not_break_the_card():
    card = model_card({"category": "a|b`\n# <script>", "scenes": "x` | y\n---"})
    assert "<script>" not in card and "\n# &lt;" not in card
    assert card.count("\n---\n") == 1, "the front matter alone"
