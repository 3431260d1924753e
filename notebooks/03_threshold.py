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
    from gonogo.calibration.threshold import certified_rate
    from gonogo.files import read_json, read_rows

    return certified_rate, mo, np, read_json, read_rows, root


@app.cell
def _(mo):
    mo.md("""
    # What a threshold certifies

    A threshold just above the k-th largest score of n good parts, none of which was used to fit, has at most a
    certain false-alarm rate with 95 % confidence. The notebook draws many lines with a known rate and counts how
    often the certified bound was too low: at most one time in twenty. Then it reads the scores of each category's
    own good parts, and shows what each threshold would certify.
    """)
    return


@app.cell
def _(certified_rate, np):
    def shares_beyond(n, rank, *, lines=4000, confidence=0.95):
        """The share of lines whose true false-alarm rate is beyond the certified bound.

        Scores of good parts are uniform, so that the rate of a threshold t is 1 - t, whatever the detector.
        """
        scores = np.sort(np.random.default_rng(17).random((lines, n)), axis=1)
        rates = 1 - scores[:, n - rank]
        return float((rates > certified_rate(n, rank, confidence)).mean())

    simulated = [
        {"good parts": n, "above good part": rank, "bound too low": shares_beyond(n, rank)}
        for n in (29, 59, 200)
        for rank in (1, 2, 5)
    ]
    chance = 3 * (0.05 * 0.95 / 4000) ** 0.5  # three standard errors of the share
    assert all(one["bound too low"] < 0.05 + chance for one in simulated), simulated
    print("\n".join(map(str, simulated)))
    simulated
    return


@app.cell
def _(certified_rate, read_rows, root):
    def ladder_of(category):
        """The thresholds above each of the highest good parts of a category: what they certify, and their recall."""
        rows = read_rows(root / f"plots/records/{category}.csv")
        good = sorted((float(row["score"]) for row in rows if row["role"] == "calibrate"), reverse=True)
        groups = {row["group_id"] for row in rows if row["role"] == "calibrate"}
        bad = [float(row["score"]) for row in rows if row["role"] == "test" and row["label"] == "1"]
        return [
            {
                "category": category, "above good part": rank, "threshold": round(good[rank - 1], 4),
                "certified": round(certified_rate(len(groups), rank, 0.95), 4),
                "recall": round(sum(score > good[rank - 1] for score in bad) / (len(bad) or 1), 4),
            }
            for rank in range(1, min(6, len(groups) + 1))
        ]  # fmt: skip

    return (ladder_of,)


@app.cell
def _(ladder_of, read_json, root):
    ladders = []
    for path in sorted((root / "plots/records").glob("*.csv")):
        steps, stated = ladder_of(path.stem), read_json(root / f"metrics/evaluate/{path.stem}.json")
        for column in ("certified", "recall"):  # a lower threshold rejects more of either
            assert [step[column] for step in steps] == sorted(step[column] for step in steps), (path, column)
        own = stated["certified_false_alarm_rate"]
        if stated["calibrate_method"] == "holdout" and own <= steps[-1]["certified"]:
            assert any(abs(step["certified"] - own) < 1e-4 for step in steps), (path, own)
        ladders += steps
        print(f"{path.stem}: {own:.4f} certified by the gauge's own threshold")
    ladders
    return


if __name__ == "__main__":
    app.run()
