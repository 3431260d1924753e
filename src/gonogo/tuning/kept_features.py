"""Features of images that a search has looked at, since it looks at most of them again."""

from collections import OrderedDict
from collections.abc import Hashable

from torch import Tensor


class KeptFeatures:
    """Features by what decides them, or that there is no such image: of all that are put in, the last used that fit.

    Computing them is half of a search, and candidates that see the same are judged at different times.
    """

    def __init__(self, max_bytes: int) -> None:
        """Nothing yet, and never more than `max_bytes`."""
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self._kept: OrderedDict[Hashable, Tensor | None] = OrderedDict()

    def __contains__(self, name: object) -> bool:
        return name in self._kept

    def __getitem__(self, name: Hashable) -> Tensor | None:
        self._kept.move_to_end(name)
        return self._kept[name]

    def __setitem__(self, name: Hashable, features: Tensor | None) -> None:
        self.n_bytes += _bytes(features) - _bytes(self._kept.pop(name, None))
        self._kept[name] = features
        while self.n_bytes > self.max_bytes:
            self.n_bytes -= _bytes(self._kept.popitem(last=False)[1])


def _bytes(features: Tensor | None) -> int:
    return 0 if features is None else features.nbytes
