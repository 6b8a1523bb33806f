"""A run's model to the Hugging Face hub: what goes up, what must not, and where to."""

from __future__ import annotations

import getpass
import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locomt.hints import in_short, listed
from locomt.nn.hub import CONFIG, WEIGHTS
from locomt.train.card_facts import Facts
from locomt.train.evaluation import Run
from locomt.train.model_card import CARD, licensed, renew_card
from locomt.train.predictor import PREDICTOR, TOKENIZERS
from locomt.train.run_directory import RunDirectory

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ANYBODY = {"root", "user", "admin", "ubuntu", "localhost", "home"}
"""Names of users and machines that tell nothing."""
BESIDE = {".gitattributes", CARD, "LICENSE", "LICENSE.txt", "LICENSE.md"}
"""What a repository may hold before it has a model."""


class UploadError(ValueError):
    """What cannot or must not go up: says what, why, and what to do."""


@dataclass(frozen=True)
class Upload:
    """What is to go up.

    Attributes:
        repo: the id on the hub.
        folder: of the model.
        files: name in the folder -> bytes.
        left: names of what else is in the folder and stays.
    """

    repo: str
    folder: Path
    files: Mapping[str, int]
    left: tuple[str, ...]


def prepare(run: Run, repo: str, license: str | None = None) -> Upload:
    """Renew a run's card and look at what would go up.

    Args:
        run: the run.
        repo: the id on the hub, `owner/name`.
        license: an identifier of the hub; what an earlier call said where left out.

    Raises:
        UploadError: the id or the licence is none, the run is several, the model is not whole, or a file names
            something of this machine.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise UploadError(f"expected an id on the hub, owner/name, got {repo!r}")
    if license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license):
        raise UploadError(
            f"expected an identifier of a licence as the hub has them, such as mit, cc-by-4.0 or other, got {license!r}"
        )
    if run.together:
        several = f"{run.path} stands for {len(run.together)} runs"
        raise UploadError(f"{several}; push one of them, such as {run.together[0].path}")
    directory = RunDirectory(run.path)
    renew_card(run, licensed(Facts.read(directory.card, run.recipe.data), license, repo))
    folder = directory.model
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    taken = [name for name in names if name in (CONFIG, WEIGHTS, PREDICTOR, CARD) or _is_tokenizer(name)]
    if lacking := [name for name in (CONFIG, WEIGHTS, PREDICTOR) if name not in taken]:
        raise UploadError(f"{folder}: expected a whole model, found no {', '.join(lacking)}; nothing was sent")
    found = [line for name in taken for line in findings(folder, name, run, repo)]
    if found:
        raise UploadError(f"nothing was sent: {in_short(found)}; take it out")
    sizes = {name: (folder / name).stat().st_size for name in taken}
    return Upload(repo, folder, sizes, tuple(name for name in names if name not in taken))


def _is_tokenizer(name: str) -> bool:
    return name.startswith(f"{TOKENIZERS}/") and name.count("/") == 2


def findings(folder: Path, name: str, run: Run, repo: str) -> list[str]:
    """What a file tells of this machine: paths that begin as some here do, its name, and the user's.

    Words of labels, modalities and the repository are nobody's secret, nor are those of a tokenizer.
    """
    path, told = folder / name, []
    if path.suffix == ".safetensors":
        text = json.dumps(_header(path))
    else:
        text = path.read_text(encoding="utf-8", errors="replace")
    known = set(re.findall(r"\w+", " ".join((*run.labels, *run.recipe.data.modalities, repo))))
    words = {"user": getpass.getuser(), "machine": socket.gethostname()}
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{path}, line {number},"
        if paths := [place for place in re.findall(r"(?<![\w.:/-])/[\w.@+-]+(?:/[\w.@+-]+)+", line) if _is_here(place)]:
            told.append(f"{where} names the path {paths[0]}")
        if paths := re.findall(r"[A-Za-z]:(?:\\+|/)Users(?:\\+|/)\w+", line):
            told.append(f"{where} names the path {paths[0]}")
        for what, word in words.items():
            hidden = _is_tokenizer(name) or word in known or word.lower() in ANYBODY or len(word) < 3
            if not hidden and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", line):
                told.append(f"{where} names the {what} {word}")
    return told


def _is_here(path: str) -> bool:
    return Path(*Path(path).parts[:2]).is_dir()


def _header(path: Path) -> Any:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.metadata()


def push(upload: Upload, *, private: bool = False) -> str:
    """Send it.

    Args:
        upload: what `prepare` gave.
        private: make the repository private where it is new.

    Returns:
        The address of the model.

    Raises:
        UploadError: there is no token, the repository is another kind or public where it should not be, or the hub
            refuses.
        OSError: the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="locomt")
    with _plainly(upload.repo, str(api.endpoint)):
        api.whoami()
        if not _is_there(api, upload.repo, private):
            api.create_repo(upload.repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=upload.repo,
            folder_path=upload.folder,
            allow_patterns=list(upload.files),
            commit_message="Model, card and what it takes to predict, by locomt",
        )
    return f"{api.endpoint}/{upload.repo}"


def _is_there(api: HfApi, repo: str, private: bool) -> bool:
    """Whether there is a repository that may take the model.

    Raises:
        UploadError: there is one that may not.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.model_info(repo)
    except RepositoryNotFoundError:
        for kind in ("dataset", "space"):
            if api.repo_exists(repo, repo_type=kind):
                raise UploadError(f"{repo} is a {kind} on {api.endpoint}; name another repository") from None
        return False
    held = {sibling.rfilename for sibling in info.siblings or ()}
    if held - BESIDE and PREDICTOR not in held:
        others = listed(sorted(held - BESIDE), most=3)
        raise UploadError(
            f"{repo} on {api.endpoint} holds something else than a model of locomt ({others}); name another repository"
        )
    if private and info.private is False:
        raise UploadError(f"{repo} is public on {api.endpoint}; make it private there, or leave --private out")
    return True


@contextmanager
def _plainly(repo: str, hub: str) -> Iterator[None]:
    """What the hub and the way there object, in a line."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    # What its client raises, which differs from version to version, are relatives of what it makes of an answer.
    unreached = tuple(base for base in (*HfHubHTTPError.__bases__, OSError) if issubclass(base, Exception))
    try:
        yield
    except UploadError:
        raise
    except LocalTokenNotFoundError:
        raise UploadError(f"expected a token that may write to {hub}: `hf auth login`, or set HF_TOKEN") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        said = " ".join((error.server_message or str(error)).split())[:300]
        todo = {
            401: "the token is not valid: `hf auth login`, or set HF_TOKEN",
            403: "the token may not write there: make one that may, or name a repository of yours",
        }.get(status, "try again later" if status >= 500 else "nothing more is known")
        raise UploadError(f"{repo}: {hub} refused ({status}: {said}); {todo}") from None
    except unreached as error:
        raise OSError(
            f"{hub} cannot be reached ({' '.join(str(error).split())[:200]}); nothing was published"
        ) from None
    except (RuntimeError, ValueError) as error:  # of the upload of weights; of a card that the hub does not take
        said = " ".join(str(error.__cause__ or error).split())[:300]
        raise UploadError(f"{repo}: the upload failed ({said}); try again") from None
