"""Isolation forest on pixels: anomalies are few and different, so random splits isolate them early.

Source: Liu, Ting and Zhou 2008, "Isolation Forest"; the forest is scikit-learn's. It says which image is anomalous,
not where: the map is constant.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gonogo.detectors.contract import Detector, Progress, no_progress
from gonogo.errors import DataError
from gonogo.forecast import Forecast, try_images

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest as Forest

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
    """Score: 2^(-mean path length / expected), in (0, 1); above 0.5 a part is isolated sooner than chance."""

    localises = False

    def __init__(
        self,
        *,
        image_size: Annotated[int, Field(ge=4)] = 32,
        n_estimators: Annotated[int, Field(ge=1)] = 100,
        max_samples: Annotated[int, Field(ge=2)] = 256,
    ) -> None:
        """Nothing is learned yet.

        Args:
            image_size: pixels are resized to (image_size, image_size).
            n_estimators: number of trees.
            max_samples: images, or all if there are fewer, that grow each tree.
        """
        super().__init__()
        self.image_size = image_size
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        for name in (*(f"{field}_" for field in NODE_FIELDS), "values_", "node_counts_", "max_depths_", "n_samples_"):
            self.register_buffer(name, None)
        self._forest: Forest | None = None

    def fit(self, batches: Collection[Tensor], *, seed: int, progress: Progress = no_progress) -> Self:
        from sklearn.ensemble import IsolationForest as Forest

        rows = [row for batch in batches for row in self.features(batch)]
        if len(rows) < 2:
            raise DataError(f"fit.detector isolation_forest needs at least 2 fit images, got {len(rows)}")
        samples = min(self.max_samples, len(rows))
        forest = Forest(n_estimators=self.n_estimators, max_samples=samples, random_state=seed)
        forest.fit(torch.stack(rows).cpu().numpy())
        trees = [estimator.tree_ for estimator in forest.estimators_]
        nodes = np.concatenate([tree.__getstate__()["nodes"] for tree in trees])
        self.learn(
            **{f"{field}_": torch.from_numpy(np.ascontiguousarray(nodes[field])) for field in NODE_FIELDS},
            values_=torch.from_numpy(np.concatenate([tree.value for tree in trees])),
            node_counts_=torch.tensor([tree.node_count for tree in trees]),
            max_depths_=torch.tensor([tree.max_depth for tree in trees]),
            n_samples_=torch.tensor(samples),
        )
        self._forest = None
        total = 0.0
        for number, tree in enumerate(trees, start=1):
            total += _mean_path_length(tree)
            progress("trees", number, len(trees), {"mean_path_length": total / number})  # it converges: figure 2(b)
        return self

    def forecast(self, batches: Collection[Tensor]) -> Forecast:
        tried = try_images(batches, self.features)
        n, d = tried.n_batches * tried.shape[0], tried.shape[1]
        how = f"{n:,} rows of {d:,} grey levels, the trees' own time not counted"
        return Forecast(3 * 4 * n * d, tried.all_seconds, how)

    def features(self, pixels: Tensor) -> Tensor:
        """Grey levels (n, s * s), the mean over the channels."""
        return pixels.mean(dim=1).flatten(1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.features(pixels).cpu().numpy()
        score = torch.from_numpy(-self.forest().score_samples(rows)).float()
        return score, score.view(-1, 1, 1)

    def forest(self) -> "Forest":
        """scikit-learn's forest, rebuilt from the learned buffers; nothing is unpickled.

        Raises:
            NotFittedError: before `fit`.
        """
        self.require_fitted()
        if self._forest is None:
            self._forest = _rebuilt({name: buffer.numpy() for name, buffer in self.named_buffers()}, self.image_size)
        return self._forest


def _rebuilt(buffers: dict[str, Any], image_size: int) -> "Forest":
    from sklearn.ensemble import IsolationForest as Forest
    from sklearn.tree._tree import Tree

    n_features, counts = image_size * image_size, buffers["node_counts_"]
    # A forest grown on noise has every attribute that scoring needs; its trees are then replaced one by one.
    noise = np.random.default_rng(0).normal(size=(int(buffers["n_samples_"]), n_features)).astype(np.float32)
    forest = Forest(n_estimators=len(counts), max_samples=len(noise), random_state=0).fit(noise)
    ends = np.cumsum(counts)
    lengths, depths = [], []
    for number, (estimator, count, end) in enumerate(zip(forest.estimators_, counts, ends, strict=True)):
        rows = slice(int(end - count), int(end))
        tree = Tree(n_features, np.array([1], dtype=np.intp), 1)
        nodes = np.zeros(int(count), dtype=estimator.tree_.__getstate__()["nodes"].dtype)
        for field in NODE_FIELDS:
            nodes[field] = buffers[f"{field}_"][rows]
        tree.__setstate__(
            {
                "max_depth": int(buffers["max_depths_"][number]),
                "node_count": int(count),
                "nodes": nodes,
                "values": np.ascontiguousarray(buffers["values_"][rows]),
            }
        )
        estimator.tree_ = tree
        lengths.append(_average_path_length(tree.n_node_samples))
        depths.append(tree.compute_node_depths())
    forest._average_path_length_per_tree, forest._decision_path_lengths = tuple(lengths), tuple(depths)
    return forest


def _mean_path_length(tree: Any) -> float:
    """Of the images that grew the tree: edges to their leaf, and what a full tree would add below it."""
    leaf = tree.children_left == -1
    lengths = tree.compute_node_depths()[leaf] - 1 + _average_path_length(tree.n_node_samples[leaf])
    return float(np.average(lengths, weights=tree.n_node_samples[leaf]))


def _average_path_length(n_samples: np.ndarray) -> np.ndarray:
    from sklearn.ensemble._iforest import _average_path_length as average_path_length

    return np.asarray(average_path_length(n_samples))
