"""A loss that is not finite, seen without waiting: the weights stay those from before it, and it is said where."""

from dataclasses import replace

import pytest
import torch
from test_training import TINY, patterns, same, weights

from vgglib import training
from vgglib.guard import Guard
from vgglib.training import NonFiniteLossError, build, fit


def one_parameter():
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    return parameter, torch.optim.SGD([parameter], 0.1, 0.9, fused=True)


FINE, BROKEN = torch.tensor(2.0), torch.tensor(torch.nan)


def test_who_waits_is_told_at_once():
    _, optimiser = one_parameter()
    guard = Guard(optimiser, torch.device("cpu"), wait=True)
    assert guard.look(4, FINE, False) == (None, False)
    assert guard.look(5, BROKEN, False) == (5, False)
    assert guard.last() == (None, False)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_who_does_not_wait_is_told_one_step_later_and_steps_do_nothing(bad):
    parameter, optimiser = one_parameter()
    guard = Guard(optimiser, torch.device("cpu"), wait=False)
    assert guard.look(0, FINE, False) == (None, False)
    optimiser.step()
    assert not torch.equal(parameter, torch.ones(3))
    before, momentum = parameter.detach().clone(), optimiser.state[parameter]["momentum_buffer"].clone()
    assert guard.look(1, torch.tensor(bad), False) == (None, False)
    optimiser.step()
    assert guard.look(2, FINE, False) == (1, False)
    optimiser.step()  # the loss is finite again, the weights stay nevertheless
    assert torch.equal(parameter, before)
    assert torch.equal(optimiser.state[parameter]["momentum_buffer"], momentum)


def test_the_last_step_of_an_epoch_is_not_forgotten():
    _, optimiser = one_parameter()
    guard = Guard(optimiser, torch.device("cpu"), wait=False)
    guard.look(7, BROKEN, True)
    assert guard.last() == (7, True)
    assert guard.last() == (None, False)


def test_a_request_to_stop_is_passed_on():
    _, optimiser = one_parameter()
    assert Guard(optimiser, torch.device("cpu"), wait=True).look(0, FINE, True) == (None, True)
    guard = Guard(optimiser, torch.device("cpu"), wait=False)
    assert guard.look(0, FINE, True) == (None, False)
    assert guard.look(1, FINE, False) == (None, True)


@pytest.fixture
def eager(monkeypatch):
    """fit as on a GPU, which does not wait."""
    monkeypatch.setattr(training, "Guard", lambda optimiser, device, wait: Guard(optimiser, device, wait=False))


@pytest.mark.parametrize("step", [1, 2, 10])  # the last of an epoch is the tenth
def test_fit_without_waiting_names_the_step_and_keeps_the_weights_before_it(eager, monkeypatch, step):
    train, there, kept = patterns(), training.batches, []
    net = build(TINY, train)

    def poisoned(*arguments):
        for number, (X, y) in enumerate(there(*arguments), start=arguments[5] + 1):
            if number == step:
                kept.append(weights(net))
                X = X * torch.nan
            yield X, y

    monkeypatch.setattr(training, "batches", poisoned)
    with pytest.raises(NonFiniteLossError, match=rf"loss is nan at step {step} of epoch 1, .*the pictures themselves"):
        fit(net, train, None, TINY, device="cpu")
    assert same(kept[0], weights(net))


def test_fit_without_waiting_names_the_layer(eager):
    train, changed = patterns(), replace(TINY, learning_rate=1e30)
    with pytest.raises(NonFiniteLossError, match=r"step 2 of epoch 1, at learning rate 1e\+30.*(features|classifier)"):
        fit(build(changed, train), train, None, changed, device="cpu")


@pytest.mark.filterwarnings("ignore::vgglib.training.NotLearningWarning")
def test_without_waiting_the_weights_are_the_same(eager, monkeypatch):
    train = patterns()
    eagerly, waiting = build(TINY, train), build(TINY, train)
    fit(eagerly, train, None, TINY, device="cpu")
    monkeypatch.undo()
    fit(waiting, train, None, TINY, device="cpu")
    assert same(weights(eagerly), weights(waiting))
