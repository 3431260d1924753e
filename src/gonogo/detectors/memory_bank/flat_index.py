"""The nearest entries of a large memory bank by FAISS, where it is installed: the same as without, in less memory.

Source: Douze et al. 2024, "The Faiss library"; `IndexFlatL2`, which compares with every entry and approximates nothing.
"""

import importlib.util
from functools import cache

import torch
from torch import Tensor

FAISS_FROM = 50_000  # entries of a bank from which FAISS searches; smaller ones are one product of matrices
CANDIDATES = 8  # nearest entries that FAISS gives and whose distances are computed again
SLACK = 1e-4  # of squared lengths, far above the rounding of single precision, within which an order is not trusted


@cache
def has_faiss() -> bool:
    """Whether FAISS can be imported: `pip install 'gonogo[faiss]'`."""
    return importlib.util.find_spec("faiss") is not None


class FlatIndex:
    """FAISS's index of a bank (m, d) float32 on the CPU; it holds a copy of the bank."""

    def __init__(self, bank: Tensor) -> None:
        """Needs FAISS."""
        import faiss

        self.bank = bank
        self._index = faiss.IndexFlatL2(bank.shape[1])
        self._index.add(bank.numpy())
        self._largest = float(bank.square().sum(dim=1).max())

    def nearest(self, patches: Tensor) -> Tensor:
        """(n, p) index of the entry that is nearest to each of patches (n, p, d); of equals the first.

        FAISS computes distances from products, which lose digits: its nearest few are compared again by differences.
        Where even the last of them is as near as the first but for rounding, all entries are compared.
        """
        rows = patches.flatten(0, 1).contiguous()
        squared, found = self._index.search(rows.numpy(), min(CANDIDATES, len(self.bank)))
        candidates = torch.from_numpy(found).sort(dim=1).values  # so that of equals the first is taken
        exact = (rows[:, None] - self.bank[candidates]).square().sum(dim=2)  # (n * p, k)
        least, place = exact.min(dim=1)
        index = candidates.gather(1, place[:, None])[:, 0]
        rounding = SLACK * (self._largest + rows.square().sum(dim=1))
        unsure = torch.from_numpy(squared)[:, -1] <= least + rounding
        for row in unsure.nonzero()[:, 0].tolist() if candidates.shape[1] < len(self.bank) else []:
            index[row] = (rows[row] - self.bank).square().sum(dim=1).argmin()
        return index.view(patches.shape[:2])
