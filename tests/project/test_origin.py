"""A project names the gonogo that it was started with: the wheel by its hash, the repository by its commit."""

import subprocess

import pytest

from gonogo.project.origin import installed_origin, origin_of


def test_a_wheel_is_named_by_its_file_and_hash_and_not_by_the_folder_it_lay_in():
    record = {
        "url": "file:///home/anna/my%20files/gonogo-0.2.0-py3-none-any.whl",
        "archive_info": {"hashes": {"sha256": "ab12"}},
    }
    origin = origin_of(record)
    assert origin.phrase == "from gonogo-0.2.0-py3-none-any.whl, SHA-256 ab12"
    assert origin.steps == ("pip install -c constraints.txt './gonogo-0.2.0-py3-none-any.whl[pipeline]'",)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://anna:secret@git.example/gonogo.git", "https://git.example/gonogo.git"),
        ("https://token@git.example:8443/gonogo.git", "https://git.example:8443/gonogo.git"),
        ("git@git.example:team/gonogo.git", "git@git.example:team/gonogo.git"),
    ],
)
def test_a_checkout_is_named_by_its_remote_without_credentials_and_its_commit(url, shown, tmp_path):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["remote", "add", "origin", url], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True)
    origin = origin_of({"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    assert origin.phrase == f"from {shown}, commit {commit.stdout.strip()}"
    assert "secret" not in " ".join(origin.steps)
    assert "token" not in " ".join(origin.steps)
    assert origin.steps[0].startswith(f"git clone {shown} ../gonogo")


def test_a_folder_without_git_says_that_no_more_is_known(tmp_path):
    origin = origin_of({"url": tmp_path.as_uri(), "dir_info": {}})
    assert origin.phrase == "from a folder that nothing else is known of"
    assert str(tmp_path) not in " ".join(origin.steps)


def test_an_installation_from_an_index_has_no_record():
    assert origin_of({}).phrase == "from a package index"
    assert installed_origin().steps
