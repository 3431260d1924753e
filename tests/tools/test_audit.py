"""A known vulnerability fails the audit; a service that does not answer is said, and fails it only where it must be."""

import json
import subprocess

import pytest

import audit


def answers(monkeypatch, stdout, stderr=""):
    def run(command, **_):
        return subprocess.CompletedProcess(command, 1, stdout, stderr)

    monkeypatch.setattr(subprocess, "run", run)


def told(*vulnerabilities):
    return json.dumps({"dependencies": [{"name": "pillow", "version": "9.0", "vulns": vulnerabilities}], "fixes": []})


def test_a_known_vulnerability_fails_and_is_named(monkeypatch, capsys):
    answers(monkeypatch, told({"id": "PYSEC-1", "fix_versions": ["9.1"]}))
    assert audit.main([]) == 1
    assert "constraints.txt: pillow 9.0: PYSEC-1, mended in ['9.1']" in capsys.readouterr().out


def test_without_one_it_passes(monkeypatch, capsys):
    answers(monkeypatch, told())
    assert audit.main(["--must-reach"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name}: no known vulnerability" in out for name in audit.PINS)


@pytest.mark.parametrize(("words", "status"), [([], 0), (["--must-reach"], 1)])
def test_a_service_that_does_not_answer_is_said(words, status, monkeypatch, capsys):
    answers(monkeypatch, "", "Traceback\nConnectionError: no such host\n")
    assert audit.main(words) == status
    out, err = capsys.readouterr()
    assert out.startswith("NOT AUDITED: constraints.txt")
    assert "no such host" in err
