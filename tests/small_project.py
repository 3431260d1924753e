"""The project's pipeline with few stages, for tests that let DVC run it."""


def one_stage(pipeline):
    """dvc.yaml up to the bundle, with all that follows prepare as one stage, which imports torch once."""
    stages = pipeline["stages"]
    rest = [stages.pop(name) for name in ("fit", "evaluate", "export", "parity")]
    entries = [out for stage in rest for key in ("outs", "plots") for out in stage.get(key, [])]
    made = {out if isinstance(out, str) else next(iter(out)) for out in entries}
    outs = sorted(name for name in made if not name.startswith("${metrics}"))
    metrics = [{name: {"cache": False}} for name in sorted(made - {*outs})]
    deps = dict.fromkeys(dep for stage in rest for dep in stage["deps"] if dep not in made)
    plain = sorted({param for stage in rest for param in stage["params"] if isinstance(param, str)})
    files = [param for stage in rest for param in stage["params"] if not isinstance(param, str)]
    ((overrides, _),) = files[0].items()
    by_section = sorted({name for file in files for name in file[overrides]})
    stages = {
        "code": stages["code"],
        "prepare": stages["prepare"],
        "gauge": {
            "matrix": rest[0]["matrix"],
            "cmd": "python gauge.py 'fit evaluate export parity' --category ${item.category}",
            "deps": ["gauge.py", *deps],
            "params": [*plain, {overrides: by_section}],
            "outs": outs,
            "metrics": metrics,
        },
    }
    return {"vars": pipeline["vars"], "stages": stages}
