"""Published tasks as a table: our figures beside the published ones, and the rules."""

from typing import Any

from gpt2_keras.cli.table import in_columns

_HEAD = ("model", "task", "protocol", "measure", "here", "published", "of", "in")


def task_rows(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns a row for each model, protocol and measure.

    Args:
        results: For each model its name as `model`, and as `task` what `TaskResult.to_dict` gives.
    """
    rows = []
    for found in results:
        for task in found.get("task", []):
            published = {each["measure"]: each for each in task["published"]}
            for measure, value in task["measures"].items():
                figure = published.get(measure, {})
                rows.append(
                    {
                        "model": found["model"],
                        "task": task["protocol"]["task"],
                        "protocol": task["protocol"]["name"],
                        "measure": measure,
                        "value": value,
                        "published": figure.get("value"),
                        "published_for": figure.get("size"),
                        "source": figure.get("source"),
                    }
                )
    return rows


def task_table(results: list[dict[str, Any]]) -> str:
    """Returns the table, the rules of each protocol, and what its source does not say."""
    lines = [list(_HEAD)]
    for row in task_rows(results):
        values = (_figure(row["measure"], row[name]) for name in ("value", "published"))
        names = (row[name] for name in ("model", "task", "protocol", "measure"))
        lines.append([*names, *values, row["published_for"] or "-", row["source"] or "-"])
    rules: dict[str, None] = {}
    for task in (task for found in results for task in found.get("task", [])):
        protocol = task["protocol"]
        rules[f"{protocol['name']}: {task['rules']}; rules of {protocol['source']}"] = None
        if protocol["unknown"]:
            rules[f"{protocol['name']}, not known: {protocol['unknown']}"] = None
    return "\n\n".join([in_columns(lines, right=(4, 5)), "\n".join(rules)])


def _figure(measure: str, value: float | None) -> str:
    if value is None:
        return "-"
    is_fraction = measure.startswith(("accuracy", "rouge", "exact_match", "f1"))
    return f"{value:.2%}" if is_fraction else f"{value:,.4g}"
