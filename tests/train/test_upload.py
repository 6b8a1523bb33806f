"""`locomt push`: what goes up, what must not, what the hub may say, and the way back."""

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import feature_project
from hub_server import TOKEN, Hub, serving
from locomt import from_pretrained
from locomt.cli.main import main
from locomt.train import Run, fit, load_recipe

Push = Callable[..., tuple[int, str, str]]
REPO = "owner/arrows"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # of huggingface_hub's own requests


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    fit(load_recipe(feature_project.make_project(folder / "project", epochs=1)), folder / "run")
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, which pushing changes."""
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(monkeypatch, str(tmp_path / "cache")) as hub:
        yield hub


@pytest.fixture
def push(run: Path, capsys: pytest.CaptureFixture[str]) -> Push:
    """`locomt push RUN owner/arrows ...`: its exit code, and what it said on stdout and stderr."""

    def call(*words: str, repo: str = REPO) -> tuple[int, str, str]:
        code = main(["push", str(run), repo, "--trust", *words])
        told = capsys.readouterr()
        return code, told.out, " ".join(told.err.split())

    return call


def test_there_and_back(hub: Hub, push: Push, run: Path, trained: Path) -> None:
    (run / "model" / "notes.txt").write_text("mine alone")
    code, out, err = push("--private", "--license", "mit", "--json")
    assert code == 0, err
    told = json.loads(out)
    sent = hub.repos[f"models/{REPO}"]
    names = {"README.md", "config.json", "model.safetensors", "predictor.json"}
    assert sent.keys() - {".gitattributes"} == names
    assert told == {
        "repo": REPO,
        "files": {name: len(sent[name]) for name in sorted(names)},
        "left": ["notes.txt"],
        "url": f"{hub.url}/{REPO}",
    }
    assert hub.private == {f"models/{REPO}"}
    assert b"license: mit" in sent["README.md"]
    assert f'from_pretrained("{REPO}")' in sent["README.md"].decode()
    for name in names:
        assert sent[name] == (run / "model" / name).read_bytes()
        assert str(trained).encode() not in sent[name]

    files = sorted((trained / "project").glob("test*_motion.npy"))
    answers = from_pretrained(REPO).predict(files)
    assert answers == Run.load(trained / "run").predictor.predict(files)


def test_a_second_push_keeps_the_licence_and_the_users_words(hub: Hub, push: Push, run: Path) -> None:
    assert push("--license", "cc-by-4.0")[0] == 0
    card = run / "model" / "README.md"
    card.write_text(card.read_text() + "\nTrained for a talk.\n")
    assert push()[0] == 0
    sent = hub.repos[f"models/{REPO}"]["README.md"].decode()
    assert sent.endswith("\nTrained for a talk.\n")
    assert "license: cc-by-4.0" in sent
    assert hub.requests.count("POST /api/repos/create") == 1
    assert hub.private == set()


def test_a_dry_run_asks_nobody(hub: Hub, push: Push, run: Path) -> None:
    code, out, err = push("--dry-run")
    assert code == 0, err
    assert "model.safetensors" in out
    assert f"{(run / 'model' / 'model.safetensors').stat().st_size:,}" in out
    assert hub.requests == []


@pytest.mark.parametrize(
    "text", [f"see {Path.home()}/clips/a.mp4", "made on HOST", r"C:\Users\somebody\clips", "run by SOMEBODY now"]
)
def test_what_names_this_machine_stays(
    hub: Hub, push: Push, run: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "tower-7")
    monkeypatch.setattr("getpass.getuser", lambda: "ada.l")
    card = run / "model" / "README.md"
    words = text.replace("HOST", "tower-7").replace("SOMEBODY", "ada.l")
    card.write_text(card.read_text() + f"\n{words}\n")
    code, _, err = push()
    assert code == 2
    assert "nothing was sent: " in err
    assert "README.md, line" in err
    assert hub.requests == []


@pytest.mark.parametrize(("token", "said"), [(None, "expected a token"), ("hf_wrong", "the token is not valid")])
def test_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, push: Push, token: str | None, said: str) -> None:
    with serving(monkeypatch, str(tmp_path / "cache"), token) as hub:
        code, _, err = push()
        assert code == 2
        assert said in err
        assert TOKEN not in err
        assert not hub.repos


def test_repositories_of_another_kind(hub: Hub, push: Push) -> None:
    hub.repos[f"models/{REPO}"] = {"config.json": b"{}", "pytorch_model.bin": b"theirs"}
    code, _, err = push()
    assert code == 2
    assert "holds something else than a model of locomt ('config.json', 'pytorch_model.bin')" in err
    hub.repos = {f"datasets/{REPO}": {"clips.csv": b""}}
    code, _, err = push()
    assert code == 2
    assert f"{REPO} is a dataset on" in err
    hub.repos = {f"models/{REPO}": {"README.md": b"soon"}}
    assert push("--private")[:1] == (2,)
    assert push()[0] == 0  # an empty one with a card is for the model
    assert "predictor.json" in hub.repos[f"models/{REPO}"]


def test_refusals_are_told(hub: Hub, push: Push) -> None:
    hub.refuse["/api/repos/create"] = 403
    code, _, err = push()
    assert code == 2
    assert "refused (403: not today); the token may not write there" in err
    assert push(repo="arrows")[2] == "locomt push: expected an id on the hub, owner/name, got 'arrows'"
    assert push("--license", "My Own")[0] == 2


def test_no_network(hub: Hub, push: Push, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        code, _, err = push()
        assert code == 2
        assert "cannot be reached" in err
        assert "nothing was published" in err
        with pytest.raises(OSError, match=r"was not downloaded before, and http.* cannot be reached"):
            from_pretrained(REPO)


def test_models_that_are_not_there(hub: Hub) -> None:
    with pytest.raises(OSError, match="no such model on"):
        from_pretrained(REPO)
    with pytest.raises(OSError, match="an id is owner/name"):
        from_pretrained("runs/some where/model")
