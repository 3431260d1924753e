"""Isolation forest on pixels: anomalies are few and different, so random splits isolate them early.

Source: Liu, Ting and Zhou 2008, "Isolation Forest"; the forest is scikit-learn's. It finds anomalous images
and not places in them: the map is constant.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.options import IsolationForestOptions
from gonogo.detectors.training.forecast import Forecast, probe_images
from gonogo.errors import DataError

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.tree._tree import Tree

NODE_FIELDS = (
    "left_child",
    "right_child",
    "feature",
    "threshold",
    "impurity",
    "n_node_samples",
    "weighted_n_node_samples",
    "missing_go_to_left",
)


class IsolationForest(Detector):
    """Score: 2^(-mean path length / expected), in (0, 1); above 0.5 a part is isolated sooner than chance.

    What is learned is a regression: of the path length, the mean of the trees'.
    """

    localises = False

    def __init__(self, options: IsolationForestOptions) -> None:
        """Nothing is learned yet."""
        super().__init__()
        self.options: IsolationForestOptions = options
        for name in (*(f"{field}_" for field in NODE_FIELDS), "path_lengths_", "node_counts_", "max_depths_"):
            self.register_buffer(name, None)
        self.register_buffer("expected_", None)
        self._forest: ExtraTreesRegressor | None = None

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        from sklearn.ensemble import IsolationForest as Forest

        rows = [row for batch in batches for row in self.features(batch)]
        if len(rows) < 2:
            raise DataError(f"fit.detector isolation_forest needs at least 2 fit images, got {len(rows)}")
        samples = min(self.options.max_samples, len(rows))
        forest = Forest(n_estimators=self.options.n_estimators, max_samples=samples, random_state=seed)
        forest.fit(torch.stack(rows).cpu().numpy())
        trees = [estimator.tree_ for estimator in forest.estimators_]
        nodes = np.concatenate([tree.__getstate__()["nodes"] for tree in trees])
        lengths = [_path_lengths(tree) for tree in trees]
        self.set_learned(
            **{f"{field}_": torch.from_numpy(np.ascontiguousarray(nodes[field])) for field in NODE_FIELDS},
            path_lengths_=torch.from_numpy(np.concatenate(lengths)),
            node_counts_=torch.tensor([tree.node_count for tree in trees]),
            max_depths_=torch.tensor([tree.max_depth for tree in trees]),
            expected_=torch.from_numpy(_average_path_length(np.array([samples]))),
        )
        self._forest = None
        total = 0.0
        for number, (tree, of_nodes) in enumerate(zip(trees, lengths, strict=True), start=1):
            leaf = tree.children_left == -1
            total += float(np.average(of_nodes[leaf], weights=tree.n_node_samples[leaf]))  # of the images that grew it
            context.progress(
                "trees", number, len(trees), {"mean_path_length": total / number}
            )  # it converges: figure 2(b)
        return self

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        from sklearn.ensemble import IsolationForest  # noqa: F401  now, so that the process that is measured has it

        probe = probe_images(batches, self.features)
        n, d = probe.n_batches * probe.shape[0], probe.shape[1]
        how = f"{n:,} rows of {d:,} grey levels, the trees' own time not counted"
        return Forecast(3 * 4 * n * d, probe.all_seconds, how)

    def features(self, pixels: Tensor) -> Tensor:
        """Grey levels (n, h * w), the mean over the channels."""
        return pixels.mean(dim=1).flatten(1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.features(pixels).cpu().numpy()
        # What forest.predict(rows) is, which takes 20 ms to set out, for one image too.
        lengths = np.mean([tree.tree_.predict(rows)[:, 0] for tree in self.forest().estimators_], axis=0)
        score = torch.from_numpy(2 ** (-lengths / self.expected())).float()
        return score, score.view(-1, 1, 1)

    def forest(self) -> "ExtraTreesRegressor":
        """The forest from grey levels to path lengths, rebuilt from the learned buffers; nothing is unpickled.

        Raises:
            NotFittedError: before `fit`.
        """
        self.require_fitted()
        if self._forest is None:
            buffers = {name: buffer.numpy() for name, buffer in self.named_buffers()}
            self._forest = _rebuilt(buffers, self.image_size.area)
        return self._forest

    def expected(self) -> float:
        """The path length of an unsuccessful search among so many images, which scores 0.5."""
        return float(self.get_buffer("expected_").item())


def _rebuilt(buffers: dict[str, Any], n_features: int) -> "ExtraTreesRegressor":
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.tree import ExtraTreeRegressor
    from sklearn.tree._tree import Tree

    counts = buffers["node_counts_"]
    forest = ExtraTreesRegressor(n_estimators=len(counts))
    forest.n_features_in_, forest.n_outputs_, forest.estimators_ = n_features, 1, []
    ends = np.cumsum(counts)
    for count, end, depth in zip(counts, ends, buffers["max_depths_"], strict=True):
        rows = slice(int(end - count), int(end))
        tree = Tree(forest.n_features_in_, np.array([1], dtype=np.intp), 1)
        nodes = np.zeros(int(count), dtype=tree.__getstate__()["nodes"].dtype)
        for field in NODE_FIELDS:
            nodes[field] = buffers[f"{field}_"][rows]
        values = np.ascontiguousarray(buffers["path_lengths_"][rows, None, None])
        tree.__setstate__({"max_depth": int(depth), "node_count": int(count), "nodes": nodes, "values": values})
        estimator = ExtraTreeRegressor()
        estimator.n_features_in_, estimator.n_outputs_, estimator.tree_ = forest.n_features_in_, 1, tree
        forest.estimators_.append(estimator)
    return forest


def _path_lengths(tree: "Tree") -> np.ndarray:
    """Of each node: the edges from the root, and what a full tree would add below it."""
    return np.asarray(tree.compute_node_depths() - 1 + _average_path_length(tree.n_node_samples))


def _average_path_length(n_samples: np.ndarray) -> np.ndarray:
    from sklearn.ensemble._iforest import _average_path_length as average_path_length

    return np.asarray(average_path_length(n_samples))
