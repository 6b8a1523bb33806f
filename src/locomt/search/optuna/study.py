"""The Optuna study that steers a search: its storage, and the heartbeats of running trials.

Optuna renews the heartbeats of trials that `Study.optimize` runs. Here the ask-and-tell interface is used, often for
many trials at a time and in other processes. So a thread renews the heartbeats meanwhile.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from locomt.files import make_directory
from locomt.search.budget import SearchError
from locomt.search.ledger import samples_of
from locomt.search.work import Work

STORAGE = "study.db"
STARTUP = 4  # complete runs before any run is pruned
BEAT, GRACE = 60, 600
"""Seconds between heartbeats, and seconds of silence after which a machine counts as dead."""
RETRIES = 2
"""How often a table is retried after its machine died. A table that kills machines must not go through all of them."""


def import_optuna() -> Any:
    """Import Optuna and keep it quiet.

    Raises:
        SearchError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise SearchError("this method needs Optuna: pip install 'locomt[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*(heartbeat|stale).* is .*experimental")
    warnings.filterwarnings("ignore", "Heartbeat of storage is supposed")  # `beating` does what `optimize` would
    return optuna


def storage_url(work: Work) -> str:
    """The URL of the study's storage."""
    return str(work.question.option("storage") or f"sqlite:///{work.out / STORAGE}")


def open_study(work: Work, name: str, *, with_cost: bool) -> Any:
    """Open the study of this method, recipe, data, budget and seeds. Every machine opens the same one.

    Raises:
        SearchError: Optuna is not installed, or the storage cannot be used.
    """
    optuna = import_optuna()
    make_directory(work.out)
    url, recipe = storage_url(work), work.recipe
    asked = (
        recipe.to_dict() | {"data": recipe.to_dict()["data"] | {"manifest": None}},
        samples_of(recipe.data, recipe.data.train_split, recipe.data.val_split),
        work.limit,
        list(work.question.all_seeds),
        [[f"{view} {price}" for view, price in work.space.prices(n).items()] for n in range(work.space.layers)],
    )
    question = hashlib.sha256(repr(asked).encode()).hexdigest()[:12]
    best = "maximize" if recipe.monitor_mode == "max" else "minimize"
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return optuna.create_study(
            storage=optuna.storages.RDBStorage(
                url,
                heartbeat_interval=BEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
            ),
            study_name=f"locomt-{name}-{question}",
            directions=[best, "minimize"] if with_cost else [best],
            load_if_exists=True,
        )
    except (
        SQLAlchemyError,
        optuna.exceptions.OptunaError,
        ImportError,
        ValueError,
    ) as error:  # no driver, no such URL
        reason = str(error).strip().partition("\n")[0]
        raise SearchError(f"storage {url!r} cannot be used: {reason or type(error).__name__}") from None


def left_by(study: Any, worker: str) -> list[Any]:
    """The trials that this worker was running when it was stopped, in their order."""
    running = import_optuna().trial.TrialState.RUNNING
    trials = study.get_trials(deepcopy=False, states=(running,))
    return [trial for trial in trials if trial.user_attrs.get("worker", STORAGE) == worker]


def take_over(study: Any) -> None:
    """Return trials to the queue whose machine has been silent for `GRACE` seconds."""
    import_optuna().storages.fail_stale_trials(study)


def beat(study: Any, trial: Any) -> None:
    """Renew the heartbeat of a trial."""
    study._storage.record_heartbeat(trial._trial_id)


@contextmanager
def beating(study: Any, trials: Sequence[Any]) -> Iterator[None]:
    """Renew the heartbeats of these trials until the block ends."""
    missed, over = import_optuna().exceptions.StorageInternalError, Event()

    def keep_on() -> None:
        while not over.wait(BEAT):
            for trial in trials:
                with suppress(missed):  # the next heartbeat may succeed
                    beat(study, trial)

    thread = Thread(target=keep_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclass(frozen=True)
class Watch:
    """Reports every epoch of a run to a study, and stops the run if it is pruned. It works in any process.

    The study keeps the reports, so a run that is resumed is judged as if it had not been stopped.
    """

    url: str
    study: str
    trial: int
    metric: str

    def __call__(self, row: Mapping[str, Any]) -> bool:
        """Report an epoch; return whether to stop."""
        optuna = import_optuna()
        # The search, which opened it before, has looked whether it can be used; that takes longer than a small epoch.
        storage = optuna.storages.RDBStorage(self.url, skip_compatibility_check=True, skip_table_creation=True)
        study = optuna.load_study(storage=storage, study_name=self.study, pruner=optuna.pruners.MedianPruner(STARTUP))
        trial, found = optuna.trial.Trial(study, self.trial), study._storage.get_trial(self.trial)
        epoch, known = int(row["epoch"]), found.intermediate_values
        if row.get(self.metric) is None or epoch < max(known, default=epoch):  # before a resume
            return False
        try:
            if epoch not in known:
                trial.report(row[self.metric], epoch)
        except optuna.exceptions.UpdateFinishedTrialError:  # another machine has taken over the trial
            return True
        return found.state.is_finished() or bool(trial.should_prune())
