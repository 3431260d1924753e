"""DVC as gonogo calls it."""

from pathlib import Path

import pytest

from gonogo.errors import ConfigError, PipelineError
from gonogo.project.dvc import run_dvc


@pytest.mark.parametrize("command", ["repro", "exp"])
def test_a_raw_folder_that_is_gone_is_said_with_what_to_write(command, tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    Path("params.yaml").write_text('categories: [nut]\nraw: "../images"\n')
    with pytest.raises(
        ConfigError, match=f"`raw` in params.yaml is '../images', and there is no folder {tmp_path}/images"
    ):
        run_dvc(command)


@pytest.mark.parametrize("where", [(), ("--cd", ".")])
def test_a_command_that_fails_is_named_without_its_folder(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=r"^dvc status failed with exit status \d+; what it said stands above$"):
        run_dvc(*where, "status")
