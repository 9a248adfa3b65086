"""What do the tests of degradations draw from, and degrade?"""

import numpy as np


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(samples: int = 12000, seed: int = 9) -> np.ndarray:
    return 0.1 * generator(seed).standard_normal(samples, np.float32)
