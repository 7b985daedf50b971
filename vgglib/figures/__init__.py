"""Every picture of the book, as pure functions to a matplotlib Figure: no pyplot, no global state.

Each figure carries a sentence that says what it shows: notebooks store it beside the image, tests read it.
Colours are Okabe and Ito's, which colour-blind readers tell apart; no figure relies on colour alone.
"""

from vgglib.figures.charts import (
    agreement,
    bars,
    confusion_matrix,
    curves,
    dots,
    dots_beside,
    errors_over_scales,
    history,
    interval,
    ladder,
    lines,
    loss_by_rate,
)
from vgglib.figures.convolutions import MOVES, convolution, descent, sliding
from vgglib.figures.costs import accuracy_against_cost, shares, singular_values, step_memory
from vgglib.figures.fields import (
    STACKS,
    cone,
    effective_fields,
    of_what,
    shrinking,
    stack_against_one,
    windows_on_a_side,
)
from vgglib.figures.garments import (
    OUTLINE,
    crop_and_posteriors,
    pictures,
    samples,
    score_maps,
    seen_at_scale,
    seen_in_picture,
    training_scales,
    two_boxes,
)
from vgglib.figures.networks import configuration_costs, four_blocks, shapes, table_1, where_it_sits
from vgglib.figures.picture import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, Picture, captioned
from vgglib.figures.scaling import doublings, ring, speed_ups, steps_in_time
from vgglib.figures.signals import signal, signal_by_layer, signals

__all__ = [
    "BLUE", "GREEN", "GREY", "MOVES", "ORANGE", "OUTLINE", "PINK", "RED", "SKY", "STACKS", "Picture",
    "accuracy_against_cost", "agreement", "bars", "captioned", "cone", "configuration_costs",
    "confusion_matrix", "convolution", "crop_and_posteriors", "curves", "descent", "dots", "dots_beside",
    "doublings", "effective_fields", "errors_over_scales", "four_blocks", "history", "interval", "ladder",
    "lines", "loss_by_rate", "of_what", "pictures", "ring", "samples", "score_maps", "seen_at_scale",
    "seen_in_picture", "shapes", "shares", "shrinking", "signal", "signal_by_layer", "signals",
    "singular_values", "sliding", "speed_ups", "stack_against_one", "step_memory", "steps_in_time", "table_1",
    "training_scales", "two_boxes", "where_it_sits", "windows_on_a_side",
]  # fmt: skip
