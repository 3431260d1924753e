import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium")


@app.cell
def _():
    import sys
    from pathlib import Path

    import marimo as mo
    import numpy as np

    root = Path(__file__).resolve().parents[1]
    sys.path.insert(0, str(root / "src"))
    from gonogo.evaluation.accuracy.metrics import roc_curve
    from gonogo.files import read_json, read_rows

    return mo, np, read_json, read_rows, roc_curve, root


@app.cell
def _(mo, root):
    mo.md(
        """
        # Curves of a gauge

        Everything here is read from the committed results: `plots/records` has the score of each test image,
        `metrics/evaluate` what the pipeline computed of it. The notebook computes the ROC curve and its area again, in
        another way, and stops if they differ.
        """
    )
    categories = sorted(path.stem for path in (root / "plots/records").glob("*.csv"))
    chosen = mo.ui.dropdown(categories, value=categories[0], label="category")
    chosen
    return categories, chosen


@app.cell
def _(np, read_rows, roc_curve, root):
    def curve_of(category):
        """False-positive and true-positive rates of the test images, their scores and labels."""
        rows = [row for row in read_rows(root / f"plots/records/{category}.csv") if row["role"] == "test"]
        scores = np.array([float(row["score"]) for row in rows])
        labels = np.array([row["label"] == "1" for row in rows])
        fpr, tpr, _ = roc_curve(scores, labels)
        return fpr, tpr, scores, labels

    def auroc_by_pairs(scores, labels):
        """The share of pairs of a defect and a good part in which the defect scores higher; ties count half."""
        bad, good = scores[labels][:, None], scores[~labels][None]
        return float(((bad > good) + 0.5 * (bad == good)).mean())

    return auroc_by_pairs, curve_of


@app.cell
def _(auroc_by_pairs, categories, curve_of, np, read_json, root):
    table = []
    for name in categories:
        fpr, tpr, scores, labels = curve_of(name)
        area, pairs = float(np.trapezoid(tpr, fpr)), auroc_by_pairs(scores, labels)
        stated = read_json(root / f"metrics/evaluate/{name}.json")
        assert abs(area - pairs) < 1e-9, (name, area, pairs)
        assert abs(area - stated["image_auroc"]) < 1e-5, (name, area, stated["image_auroc"])
        interval = f"{stated['image_auroc_low']:.3f} – {stated['image_auroc_high']:.3f}"
        table.append({"category": name, "AUROC": round(area, 4), "interval": interval, "images": len(labels)})
        print(f"{name}: AUROC {area:.4f}, {interval}")
    table
    return


@app.cell
def _(chosen, curve_of, mo):
    across, up, _, _ = curve_of(chosen.value)
    side = 320
    points = " ".join(f"{20 + side * x:.1f},{10 + side * (1 - y):.1f}" for x, y in zip(across, up, strict=True))
    mo.Html(
        f'<svg width="{side + 40}" height="{side + 40}" role="img" aria-label="ROC curve of {chosen.value}">'
        f'<rect x="20" y="10" width="{side}" height="{side}" fill="none" stroke="#d8dce1"/>'
        f'<polyline points="{points}" fill="none" stroke="#1c669f" stroke-width="2"/></svg>'
    )
    return


if __name__ == "__main__":
    app.run()
