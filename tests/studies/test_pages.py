"""What pages say of results that are made up, and trained by nobody."""

import json
from pathlib import Path
from typing import Any

from locomt.studies import found_tables, hand_made, load_study
from locomt.studies.index import SECTIONS, write_index
from locomt.studies.page import arm_table
from locomt.studies.wrapping import wrapped

Document = dict[str, Any]


def task(name: str, metric: str, **constant: float) -> Document:
    return {
        "name": name,
        "about": "Made up.",
        "metric": metric,
        "better": "more",
        "tokens": {"sound": 5},
        "fusion_layers": 1,
        "heads": 4,
        "majority": {"name": "label frequencies", "metrics": constant},
    }


def arm(of: Document, name: str, *runs: Document, **facts: Any) -> Document:
    """`runs` are metrics, a seed each."""
    made = [{"seed": seed, "score": run[of["metric"]], "metrics": run} for seed, run in enumerate(runs)]
    cost = {"gflops": 2e-3, "attention_gflops": 1e-3, "parameters": 10, "tuning": [], "chosen": {}}
    return {"task": of["name"], "name": name, "facts": facts, "runs": made, **cost}


def made_up(study: str, tasks: list[Document], arms: list[Document]) -> Document:
    of = {"study": study, "command": "", "full": True, "date": "", "torch": "", "convention": ""}
    return {**of, "tasks": tasks, "arms": arms}


def of_events() -> Document:
    clips, events = task("clips", "accuracy", accuracy=0.5), task("events", "mAP", mAP=0.3, event_f1=0.0)
    arms = []
    for name, better in (("locomt", 0.2), ("selfall", 0.0)):
        arms.append(arm(clips, name, *({"accuracy": 0.5, "f1": 0.4} for _ in range(5))))
        runs = ({"mAP": 0.5 + n / 100, "event_f1": 0.4 + n / 100 + better * (1 + n / 10)} for n in range(5))
        arms.append(arm(events, name, *runs))
    return made_up("tasks", [clips, events], arms)


def test_events_are_told_by_f1_too() -> None:
    document = of_events()
    clips, events = document["tasks"]
    assert not any("event_f1" in line for line in arm_table(document, clips))
    header, _, locomt, _, constant = arm_table(document, events)
    assert "| test event_f1, %, mean ± 95 % interval |" in header
    assert "| 52.0 ± 2.0 | 50.0 51.0 52.0 53.0 54.0 | 66.0 ± 5.9 |" in locomt
    assert "| 30.0 |  | 0.0 |" in constant
    study = load_study("tasks")
    page = study.page(document)
    # by mAP the two are level, by whole events they are not
    assert "**events**, mAP and F1 of whole events: locomt 52.0 ± 2.0 and 66.0 ± 5.9, selfall 52.0 ± 2.0" in page
    assert "Of 1 task, **locomt** is better than **selfall** on 1 (events)" in page
    assert "| events | locomt less selfall | +24.0 [" in page
    assert "(tasks-events.svg)" in page
    assert set(study.figures(document)) == {"tasks", "tasks-events"}


def test_without_events_nothing_is_told_of_them() -> None:
    document = of_events()
    document["tasks"].pop()
    study = load_study("tasks")
    assert "vents" not in study.page(document).replace(study.QUESTION, "")
    assert set(study.figures(document)) == {"tasks"}


def of_learned() -> Document:
    own = task("qa", "accuracy", accuracy=0.25)
    history = [{"epoch": n, "frequencies": [{"self": share, "a~b": 1 - share}]} for n, share in ((1, 0.75), (2, 0.5))]
    runs = [{"accuracy": 0.5 + n / 100} for n in range(5)]
    better = [{"accuracy": 0.7 + n / 90} for n in range(5)]
    arms = [
        arm(own, "strategies", *runs, method="strategies"),
        arm(own, "learned", *better, method="learned", history=history),
    ]
    return made_up("search", [own], arms)


def test_the_index_has_a_section_for_every_question_of_the_paper(tmp_path: Path) -> None:
    for document in (of_events(), of_learned()):
        (tmp_path / f"{document['study']}.json").write_text(json.dumps(document))
    text = write_index(tmp_path).read_text()
    opening, *sections = text.split("\n## ")
    found = dict(section.split("\n", 1) for section in sections)
    assert list(found) == [heading for heading, name, _ in SECTIONS if name in ("tasks", "search")]
    whose = {heading: name for heading, name, _ in SECTIONS}
    assert whose["Next check: across tasks, beyond classification"] == "tasks"
    assert [whose[heading] for heading in whose if heading.startswith("The paper's")] == [
        "baselines",
        "tradeoff",
        "layerwise",
    ]
    which, changing = found["Open: which head should look where?"], found["Next check: view frequencies that change"]
    assert "(search.svg)" in which
    assert "expected share" not in which
    assert "(search-learned.svg)" in changing
    assert "**learned** is better than **strategies** on 1 (qa)" in " ".join(changing.split())
    assert "**qa** 0.25 to 0.50" in " ".join(changing.split())
    assert "(tasks-events.svg)" in found["Open: events in time"]
    assert "(aims.md)" in opening


def test_an_answer_that_is_not_in_the_results_has_no_section(tmp_path: Path) -> None:
    document = of_learned()
    document["arms"].pop()
    (tmp_path / "search.json").write_text(json.dumps(document))
    assert found_tables.changing(document) == ""
    assert write_index(tmp_path).read_text().count("## ") == 1


def test_lengths_hold_time_against_the_law_and_tell_of_memory() -> None:
    def case(a: int, b: int, **peak: int) -> Document:
        pairs = {"self": a * a + b * b, "cross": 2 * a * b, "multi": (a + b) ** 2}
        flops = {view: 4 * 64 * 2 * 3 * count for view, count in pairs.items()}
        slow = {"self": 0.8, "cross": 0.5, "multi": 1.0}
        return {
            "ratio": a // b,
            "lengths": {"a": a, "b": b},
            "score_pairs": pairs,
            "counted_flops": flops,
            "forward_seconds": {view: count / 7 for view, count in pairs.items()},
            "forward_backward_seconds": slow,
            "peak_bytes": peak,
        }

    cases = [case(8, 8, self=90, cross=90, multi=100), case(12, 4, self=95, cross=80, multi=128)]
    own = {"device": "a card", "dtype": "bfloat16", "batch": 2, "heads": 3, "cases": cases, "date": "", "torch": ""}
    document = made_up("lengths", [], []) | {"total": 16, "width": 64, "devices": [own]}
    study = load_study("lengths")
    summary = study.summary(document)
    # at 1:1 the law says 0 and at 3:1 a quarter; the time with the backward pass is 0.3 apart at both
    assert "is at most 0.000 from the law's (L1 - L2)² / (L1 + L2)² forward, 0.300 with the backward pass" in summary
    assert "Peak memory is 0.742 to 0.900 of full attention's with self heads and 0.625 to 0.900" in summary
    assert "would take 24.0 times its peak" in summary  # 256 score pairs, 2 samples, 3 heads, 2 bytes, over 128
    page = study.page(document)
    assert "| 1:1 | 0.000 | 0.000 | 0.000 | 0.300 |" in page
    assert "| 3:1 | 0.250 | 0.250 | 0.250 | 0.300 |" in page
    (figure,) = study.figures(document).values()
    for title in ("FLOPs and time", "self less cross", "peak memory"):
        assert f">{title}</text>" in figure


def test_found_tables_meet_the_hand_made_one_that_the_test_split_would_take() -> None:
    own = task("t", "accuracy")

    def scored(name: str, *values: float, **facts: Any) -> Document:
        return arm(own, name, *({"accuracy": value} for value in values), **facts)

    arms = [
        scored("multiall", 0.99, 0.99, 0.99),
        scored("strategies", 0.50, 0.52, 0.54, method="strategies"),
        scored("hand-made spread", 0.60, 0.62, 0.61, hand_made=["spread"]),
        scored("hand-made random", 0.40, 0.42, 0.44, hand_made=["random"]),
        scored("learned", 0.58, 0.61, 0.57, method="learned"),
    ]
    (row,) = (line for line in hand_made.section(made_up("search", [own], arms)) if line.startswith("| t |"))
    assert "| learned less hand-made spread | -2.3 [" in row
    lower = {**own, "metric": "mae", "better": "less"}
    (row,) = (line for line in hand_made.section(made_up("search", [lower], arms)) if line.startswith("| t |"))
    assert "learned less hand-made random" in row


def test_a_found_table_that_is_hand_made_is_told() -> None:
    own = {**task("t", "accuracy"), "tokens": {"a": 3, "b": 2}}
    run = {"accuracy": 0.5}
    crosses = arm(own, "strategies", run, method="strategies", names=["all cross"], views="a~b:2")
    halves = arm(own, "hand-made spread", run, hand_made=["spread", "bottleneck"], views="self:1 a~b:1")
    document = made_up("search", [own], [crosses, halves])
    assert hand_made.alike(document, own, "a~b:2") == ["hand-made all cross"]
    assert hand_made.alike(document, own, "a~b:1 self:1") == [
        "hand-made spread, heads in another order",
        "hand-made bottleneck, heads in another order",
    ]
    assert hand_made.alike(document, own, "self:2") == []


def test_prose_is_wrapped_and_nothing_else() -> None:
    words = "Differences " + "(L1 - L2) of `self:1 a~b:3` and 12. [both of them](data.md), # 1; " * 12
    kept = [f"# {words}", "", f"| {words} |", "", f"![{words}](a.svg)", "", "```bash", words, "```", "", "short"]
    assert wrapped("\n".join(kept)) == "\n".join(kept)
    for mark, indent in (("", ""), ("- ", "  ")):
        lines = wrapped(mark + words + "\n").removesuffix("\n").split("\n")
        assert " ".join(line.strip() for line in lines) == (mark + words).strip()
        assert len(lines) > 5
        assert all(100 < len(line) <= 120 for line in lines[:-1])
        for line in lines[1:]:
            own = line.removeprefix(indent)
            assert own == own.lstrip()
            assert not own.startswith(("- ", "# ", "12. "))
        assert all(line.count("`") % 2 == 0 and line.count("[both of them]") == line.count("[") for line in lines)
