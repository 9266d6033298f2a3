#!/usr/bin/env python3
"""The pictures of docs/diagrams are what their texts give, fit to be read by all, and shown by a page.

Drawn by tests/support/draw, which refuses what does not fit: that is tried first.
"""
import importlib.machinery
import importlib.util
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs" / "diagrams"
sys.dont_write_bytecode = True  # the tree may be read-only, and is not to be littered
loader = importlib.machinery.SourceFileLoader("draw", str(ROOT / "tests" / "support" / "draw"))
draw = importlib.util.module_from_spec(importlib.util.spec_from_loader("draw", loader))
loader.exec_module(draw)

HEAD = "kind boxes\ntitle T\ndesc D\ncolumns 100 40 100\nrows 60 30 60\n"
REFUSED = [  # a source, and the words of the refusal
    (HEAD + "box a 1 1 | a line that is much too long\n", "x:6: 'a line"),
    (HEAD + "box a 1 1 | a | b | c | d\n", "4 lines do not fit"),
    (HEAD + "box a 1 1 1 3 | a\nbox b 1 2 | b\n", "x:7: box b stands on another"),
    (HEAD + "box a 1 1 | a\nbox a 3 1 | a\n", "a second box a"),
    (HEAD + "box a 1 4 | a\n", "no such cells: 1 4"),
    (HEAD + "box a 1 1 | a\narrow a b\n", "no box b"),
    (HEAD + "box a 1 1 | a\nbox b 3 1 | b\narrow a b | too long here\n", "x:8: 'too long here'"),
    (HEAD + "circle a 1 1 | a\n", "'circle' is not known"),
    ("title T\ndesc D\nbox a 1 1 | a\n", "the first line says the kind"),
    ("kind boxes\ndesc D\n", "title and desc must be there"),
    ("kind terminal\ntitle T\ndesc D\nline | " + "x" * 111, "x:4: 111 characters"),
    ("kind terminal\ntitle T\ndesc D\nline red | x\n", "x:4: 'line' 'red'"),
    ("kind sequence\ntitle T\ndesc D\nactor a | a\ncall a b | x\n", "x:5: no actor b"),
]


def refusal(source):
    try:
        draw.drawn(source, "x")
    except draw.Refused as refused:
        return str(refused)
    return "nothing was refused"


def flaws_of_picture(text):
    """What keeps it from being shown anywhere, to anybody."""
    svg = ElementTree.fromstring(text)
    names = {"{http://www.w3.org/2000/svg}" + n for n in ("title", "desc", "style", "rect", "path", "polygon", "text", "svg")}
    flaws = [f"an element {e.tag}" for e in svg.iter() if e.tag not in names]
    flaws += [f"an attribute {a}" for e in svg.iter() for a in e.attrib if a.startswith("on") or a.endswith("href")]
    if re.search(r"url\(|@import|@font-face", text):
        flaws.append("it refers to something outside")
    title, desc = (svg.findtext("{http://www.w3.org/2000/svg}" + n) for n in ("title", "desc"))
    if not title or not desc or len(desc) < 100 or svg.get("role") != "img" or svg.get("aria-labelledby") != "title desc":
        flaws.append("no title and description for who cannot see it")
    light, _, dark = text.partition("@media (prefers-color-scheme:dark)")
    for name in ("page", "box", "accent", "warn", "group", "line", "tip", "thick", "hush", "dim", "halo"):
        if f".{name}{{" not in light or f".{name}{{" not in dark:
            flaws.append(f"no colour of {name} in both schemes")
    return flaws


def main():
    outcomes = []
    for source, words in REFUSED:
        said = refusal(source)
        outcomes.append((f"{words!r} is refused", words in said, said))
    script = draw.drawn(HEAD + "box a 1 1 | <b>&\n")
    outcomes.append(("marks of XML are text", "&lt;b&gt;&amp;" in script, script))
    pages = "\n".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "docs").rglob("*.md")))
    sources = sorted(FOLDER.glob("*.txt"))
    outcomes.append(("there are pictures", len(sources) >= 4, f"{len(sources)} in {FOLDER}"))
    outcomes.append(("each picture has its text", [s.stem for s in sources] == sorted(p.stem for p in FOLDER.glob("*.svg")), ""))
    for source in sources:
        name, file = source.stem, source.with_suffix(".svg")
        text = draw.drawn(source.read_text(encoding="utf-8"), source.name)
        is_there = file.read_text(encoding="utf-8") if file.exists() else ""
        outcomes.append((f"{name}.svg is what {name}.txt gives", text == is_there, "tests/support/draw writes it anew"))
        flaws = flaws_of_picture(text)
        outcomes.append((f"{name}.svg can be shown to all", not flaws, flaws))
        shown = re.search(rf"!\[[^\]]{{10,}}\]\((?:\.\./)?diagrams/{name}\.svg\)", pages)
        outcomes.append((f"{name}.svg is shown by a page, with words in its place", shown is not None, ""))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    outcomes.append(("README shows what it looks like", "](docs/diagrams/status.svg)" in readme, ""))
    for name, good, said in outcomes:
        if not good:
            print(f"FAILED: {name}: {said}")
    passed = sum(good for _, good, _ in outcomes)
    print(f"{passed} passed, {len(outcomes) - passed} failed")
    return 0 if passed == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
