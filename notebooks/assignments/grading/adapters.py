"""How a question becomes a call of the student's function, inside the sandbox. Nothing here knows a right answer."""

try:
    import plain  # in the sandbox these files lie side by side
except ImportError:
    from grading import plain

MOST_LAYERS = 200
FUNCTION = type(lambda: None)
STUB = (lambda: None).__code__.co_code  # what a function is made of that nobody has written yet


def attempted(value: object, function: type = FUNCTION, stub: bytes = STUB) -> bool:
    """Whether something stands in place of the three dots."""
    if type(value) is function:
        return value.__code__.co_code != stub or value.__code__.co_consts[:1] != (None,)
    return value is not None and value is not ...


def ready(value: object) -> object:
    """Return an argument as the student's function gets it: arrays as tensors."""
    if isinstance(value, plain.Array):
        return value.tensor()
    if isinstance(value, list | tuple):
        return type(value)(map(ready, value))
    return value


def call(names: dict, name: str, args: list) -> object:
    """Return what the function gives; three dots for one that nobody has written, which gives None."""
    function = wanted(names, name)
    given = function(*args)
    return ... if given is None and not attempted(function) else given


def value(names: dict, name: str, args: list) -> object:
    """Return what the variable named by the first argument holds, three dots for None."""
    given = wanted(names, args[0])
    return ... if given is None else given


def network(names: dict, name: str, args: list) -> object:
    """Return what a network that was built is made of, and what shape comes out of it.

    The last two args are not for the student's function: what the judge looks at, and the shape of a batch. A network
    that fails on that batch has the shape None. It runs first, since lazy layers learn their channels so.
    """
    import torch

    net = call(names, name, args[:-2])
    if net is None or net is ...:
        return net
    if not isinstance(net, torch.nn.Module):
        raise plain.NotPlainError("it is no torch.nn.Module")
    try:
        with torch.no_grad():
            shape = list(net(torch.zeros(*args[-1])).shape)
    except Exception:
        shape = None
    layers = [described(layer) for layer in flat(net)[:MOST_LAYERS]]
    return {"layers": layers, "shape": shape, "parameters": sum(one.numel() for one in net.parameters())}


def train(names: dict, name: str, args: list) -> object:
    """Return what one pass of training gives, what it leaves, and the modes in which the network saw the pictures.

    args: what the judge looks at, weight, bias, batches, rate and momentum.
    """
    import torch

    class Watch(torch.nn.Module):
        def forward(self, X: torch.Tensor) -> torch.Tensor:
            modes.append(self.training)
            return X

    _, weight, bias, batches, rate, momentum = args
    modes: list[bool] = []
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    net = torch.nn.Sequential(Watch(), linear).eval()
    loss = call(names, name, [net, batches, rate, momentum])
    if loss is None or loss is ...:
        return loss
    number = not isinstance(loss, torch.Tensor)
    return {"loss": loss, "number": number, "weight": linear.weight, "bias": linear.bias, "modes": modes[:50]}


def convolution(names: dict, name: str, args: list) -> object:
    """Return a convolution's kernel, and what it gives on a map.

    args: what the judge looks at, weight, bias, map and side. Where the kernel is asked for, nothing is computed.
    """
    import torch

    what, weight, bias, X, side = args
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    conv = call(names, name, [linear, X.shape[1], side])
    if conv is None or conv is ...:
        return conv
    if not isinstance(conv, torch.nn.Module):
        raise plain.NotPlainError("it is no torch.nn.Module")
    found = {"kernel": list(getattr(conv, "weight", torch.empty(0)).shape)}
    if any(one.dtype != X.dtype for one in conv.parameters()):
        return {**found, "output": "another dtype"}
    if what == "kernel":
        return {**found, "output": None}
    with torch.no_grad():
        return {**found, "output": conv(X)}


def flat(net: object) -> list:
    """Return the layers of a network of Sequentials in order, one that stands in it twice twice."""
    import torch

    if isinstance(net, torch.nn.Sequential):
        return [layer for child in net for layer in flat(child)]
    return [net]


def described(layer: object) -> list:
    """Return a layer as plain data: its kind; of a convolution channels in and out, kernel, stride and dilation; of a
    pooling kernel, stride, padding and dilation.
    """
    import torch

    if isinstance(layer, torch.nn.Conv2d):
        sides = [side(one) for one in (layer.kernel_size, layer.stride, layer.dilation)]
        return ["Conv2d", layer.in_channels, layer.out_channels, *sides]
    if isinstance(layer, torch.nn.MaxPool2d):
        sizes = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        return ["MaxPool2d", *map(side, sizes)]
    if isinstance(layer, torch.nn.ReLU):
        return ["ReLU"]
    return ["another" if type(layer).__module__.startswith("torch.nn.") else "own"]


def side(size: object) -> object:
    """Return 3 for 3 and (3, 3), and [3, 5] for (3, 5)."""
    both = list(size) if isinstance(size, list | tuple) else [size, size]
    return both[0] if both[0] == both[-1] else both


def wanted(names: dict, name: str) -> object:
    """Return what the student called ``name``."""
    if name not in names:
        raise NameError(name)
    return names[name]


ADAPTERS = {"call": call, "value": value, "network": network, "train": train, "convolution": convolution}
