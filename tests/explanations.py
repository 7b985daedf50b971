"""Explanations for the assignments' visible checks: right ones in other words, and one that misses a topic."""

EXPLAINED = {
    "01": [
        "Beyond the edge the convolution has nothing real to read, it reads 0. The receptive area is an upper "
        "bound on what may influence a unit. In dense evaluation the surrounding picture takes the place of the "
        "padding, so there the large area makes a difference; on a crop none.",
        "Outside of the picture there are zeros. The region of such a unit is larger than a picture of 224 "
        "pixels, and that does no harm: zeros add nothing. On a larger picture there are real pixels in their "
        "place, and it matters.",
    ],
    "02": [
        "When the width stays the same, two small layers have 18 against 25 weights times width squared, which is"
        " a saving. If the first one doubles the width, they have more. In training both outputs are stored, so "
        "memory rises. I would time a step and read the peak memory before I decide anything here.",
        "It is cheaper in weights only if the number of feature maps stays equal. Otherwise the second 3x3 works "
        "with the doubled number of feature maps and costs more. For backprop two activations are stored instead "
        "of one. I would profile a training step with a realistic batch size on the very machine first.",
        "With C filters in and C filters out, 18C^2 < 25C^2, so fewer weights. With doubling, 27 C^2 x 2 exceeds "
        "50C^2. Training must store two activations instead of one, so memory goes up always. Measure seconds and"
        " peak memory of one step on that small machine with the true batch.",
    ],
    "03": [
        "C adds a 1×1 convolution after each pair in the last three blocks. It leaves the receptive field alone "
        "but adds a ReLU, and the error falls, so non-linearity helps. D replaces it by 3×3, and the error falls "
        "again, so spatial context helps too. But D has more weights, and each network was trained once only.",
        "Going from B to C we add pointwise layers: more non-linearity without seeing more pixels, and the error "
        "falls by 0.6. Going from C to D we get more context with the same number of ReLUs, and it falls by "
        "another 1.1. Not shown: whether parameters or depth matter, since D has more weights and there is no "
        "spread.",
        "C's kernel of size 1 mixes channels and adds a nonlinearity while the region stays that of B. So the "
        "gain is due to nonlinearity. D's larger kernel looks at neighbours, gain from context. Confounded by the"
        " number of weights, and single runs on a single data set at one scale only.",
        r"C has $1\times 1$ layers, which see one place each, and D has layers that see more. C beats B, so one "
        "more ReLU helps without a larger window; D beats C, so a larger window helps as well. Nobody knows how "
        "much of it is the number of weights, nor how far two runs of one network lie apart.",
    ],
    "04": [
        "2.303 is -log(0.1): the network gives each of the ten classes one tenth. First I would check that the "
        "gradients reach the first layer, printing their norm; if it is about zero the signal vanishes. Then I "
        "would look at the activations layer by layer, then at the labels, and then try to overfit a single batch"
        " by heart.",
        "That is log 10, so the network has learned nothing and answers as if rolling dice with ten faces. I "
        "would first see whether the weights change at all, then the size of gradients per layer, then the "
        "initial spread of activations, and finally try a smaller step size. If only one of these changes the "
        "loss I have the cause.",
        "ln 10 = 2.303 so posteriors are uniform. First overfit one batch; then check gradient norms in layer "
        "one, tiny ones mean a vanishing signal and bad initialisation; then look whether the activations shrink "
        "layer by layer; lastly, check that labels and pictures belong together and that zero_grad stands at the "
        "right place.",
    ],
}
OFF_TOPIC = {
    "01": (
        "The padding of this layer adds zeros, and so the output has the size of the input at every stage of the "
        "network, which makes it simple to stack many layers on top of each other without any loss at all."
    ),
    "02": (
        "Two layers have 18 numbers where one has 25, so this is cheaper on every machine in the world, and it "
        "runs faster as well, since there is less to multiply. I would simply do it, train again, and look at the"
        " memory afterwards."
    ),
    "03": (
        "C has more depth than B, and D the same depth as C; the field and the context grow from the one to the "
        "other, which is why the error falls. Nothing is known about the spread over runs, or about what other "
        "data would show us."
    ),
    "04": (
        "The network guesses. I would wait for some more epochs, since three of them are few for a deep network, "
        "and then look at the curve again; when it still stands there I would take another machine with more "
        "memory and start anew."
    ),
}
