"""The measured noise floor of a report in sentences, for its page: what differs without any conversion."""

from __future__ import annotations

from liteferry import lenient
from liteferry.report import formats


def noise_notes(report: lenient.Report) -> list[str]:
    """One sentence for each measured source of noise and output; nothing where none was measured. Takes a report of any shape."""
    floor = lenient.mapping(report.get("noise_floor"))
    found = []
    for source, subject in (("reference", "the checkpoint itself"), ("float32", "the float32 file")):
        measured = lenient.mapping(floor.get(source))
        if source == "reference":
            sizes = ", ".join(formats.human_number(size) for size in lenient.listing(measured.get("batch_sizes")))
            circumstances = f"in batches of {sizes}" if sizes else "in other batches"
        else:
            circumstances = "on other kernels than it ships with"
        for output, numbers in lenient.mapping(measured.get("outputs")).items():
            one = lenient.mapping(numbers)
            written = [
                f"{metric} {formats.human_number(one[metric])}"
                for metric in ("max_rel", "max_abs")
                if lenient.number(one.get(metric)) is not None
            ]
            difference = ", ".join(written) or "no finite number"
            rows = lenient.integer(measured.get("rows"))
            on_rows = "" if rows is None else f", on {formats.counted(rows, 'row')}"
            unused = "; not used to raise a limit" if one.get("counts") is False else ""
            found.append(f"{formats.printable(output)}: {subject} {circumstances} differs by {difference}{on_rows}{unused}.")
    return found
