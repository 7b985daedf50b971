"""What several files of tests use."""

import os
import random

import numpy as np
import pytest
import torch
from browser import chromium, launch


@pytest.fixture(autouse=True)
def _the_same_numbers_each_time():
    """What a test draws without a seed of its own depends on no other test: one network in a thousand is dead."""
    random.seed(0)
    np.random.seed(0)
    # where no GPU is in use, torch.manual_seed only remembers the stack of its caller, in milliseconds
    (torch.manual_seed if torch.cuda.is_initialized() else torch.default_generator.manual_seed)(0)


@pytest.fixture(scope="module")
def browser():
    """A headless browser; without one the tests are skipped, or fail where CI says that it has one."""
    if chromium() is None:
        missing = "no Chromium, Chrome or Edge is installed (Debian, Ubuntu: sudo apt install chromium)"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = launch(playwright)
        yield running
        running.close()
