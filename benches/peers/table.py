"""Makes the table of run.sh: medians by workload and program, as markdown.

Reads a file in which each line is a JSON object of `greenroutine bench --json`, or `program name value unit`, split by tabs.
"""

import json
import statistics
import sys

PROGRAMS = ["home", "free", "go", "tokio"]


def read(path):
    """{name: {program: [value, ..]}} in the order of first appearance, {name: unit}, and the notes."""
    values, units, notes = {}, {}, {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            line = line.rstrip("\n")
            if line.startswith("{"):
                figure = json.loads(line)
                program, name, value, unit = figure["mode"], figure["name"], figure["value"], figure["unit"]
                if "note" in figure:
                    notes[f"{name}, {program}"] = figure["note"]
            else:
                program, name, value, unit = line.split("\t")
            values.setdefault(name, {}).setdefault(program, []).append(float(value))
            units.setdefault(name, unit)
    return values, units, notes


def number(value):
    if value is None:
        return "-"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"


def main():
    values, units, notes = read(sys.argv[1])
    print("| workload | greenroutine (home) | greenroutine (free) | Go | tokio | Go / greenroutine |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, programs in values.items():
        medians = {program: statistics.median(programs[program]) for program in PROGRAMS if program in programs}
        ratio = "-"
        # A count of mappings has no ratio worth reading.
        if "go" in medians and medians.get("home") and units[name] != "mappings":
            ratio = f"{medians['go'] / medians['home']:.2f}"
        cells = " | ".join(number(medians.get(program)) for program in PROGRAMS)
        print(f"| {name}, {units[name]} | {cells} | {ratio} |")
    print()
    print("Go / greenroutine is with home mode, the default; above 1 greenroutine is ahead.")
    for figure, note in notes.items():
        print(f"{figure}: {note}")


if __name__ == "__main__":
    main()
