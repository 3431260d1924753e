import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium")


@app.cell
def _():
    import sys
    from pathlib import Path

    import marimo as mo

    root = Path(__file__).resolve().parents[1]
    sys.path.insert(0, str(root / "src"))
    from gonogo.files import read_json, read_rows

    return mo, read_json, read_rows, root


@app.cell
def _(mo):
    mo.md("""
    # The parts that a gauge gets wrong

    The test images with a wrong verdict, the worst first: how far a score is on the wrong side of the threshold, as
    a share of the threshold. Scores and verdicts are those of `plots/records`; the regions of each image, in
    `plots/regions`, say where the gauge saw something.
    """)
    return


@app.cell
def _(read_rows, root):
    def wrong_parts(category):
        """The test images with a wrong verdict, the worst first."""
        regions = [row["image"] for row in read_rows(root / f"plots/regions/{category}.csv")]
        found = []
        for row in read_rows(root / f"plots/records/{category}.csv"):
            bad, rejected = row["label"] == "1", row["verdict"] == "reject"
            if row["role"] == "test" and bad != rejected:
                beyond = float(row["score"]) / float(row["threshold"]) - 1
                found.append(
                    {
                        "category": category, "image": row["image"], "type": row["defect_type"],
                        "verdict": row["verdict"], "beyond": round(beyond, 4), "regions": regions.count(row["image"]),
                    }
                )  # fmt: skip
        return sorted(found, key=lambda part: -abs(part["beyond"]))

    return (wrong_parts,)


@app.cell
def _(read_json, root, wrong_parts):
    everything = []
    for path in sorted((root / "plots/records").glob("*.csv")):
        parts, stated = wrong_parts(path.stem), read_json(root / f"metrics/evaluate/{path.stem}.json")
        misses = [part for part in parts if part["verdict"] == "pass"]
        assert len(misses) == stated["n_misses"], path
        assert len(parts) - len(misses) == stated["n_false_alarms"], path
        assert all((part["beyond"] < 0) == (part["verdict"] == "pass") for part in parts), path
        everything += parts
        print(f"{path.stem}: {len(misses)} missed, {len(parts) - len(misses)} false alarms")
    everything
    return


if __name__ == "__main__":
    app.run()
