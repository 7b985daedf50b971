"""How a question becomes a call of the student's function, inside the sandbox. Nothing here knows a right answer."""

try:
    import plain  # in the sandbox these files lie side by side
except ImportError:
    from grading import plain


def ready(value: object) -> object:
    """Return an argument as the student's function gets it: arrays as tensors."""
    if isinstance(value, plain.Array):
        return value.tensor()
    if isinstance(value, list | tuple):
        return type(value)(map(ready, value))
    return value


def call(names: dict, name: str, args: list) -> object:
    """Return what the function gives."""
    return wanted(names, name)(*args)


def value(names: dict, name: str, args: list) -> object:
    """Return what the variable named by the first argument holds; None where there is none."""
    return names.get(args[0])


def wanted(names: dict, name: str) -> object:
    """Return what the student called ``name``."""
    if name not in names:
        raise NameError(name)
    return names[name]


ADAPTERS = {"call": call, "value": value}
