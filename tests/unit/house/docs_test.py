#!/usr/bin/env python3
"""What the pages point to is there: files, headings, and pages that sources name. README.md lists each page of docs/ once.

Addresses of other machines are looked at for their scheme alone: no test of ours asks the network. Before the tree is
judged, the rules are tried on made-up pages, so that one which finds nothing any more is a failed test.
"""
import os
import pathlib
import re
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
SKIPPED = {"build", "node_modules", "__pycache__"}
SOURCES = {".cpp", ".hpp", ".js", ".html", ".css", ".py", ".sh", ".yaml", ".yml", ".txt", ".cmake", ".json", ".in", ".awk", ""}
LINK = re.compile(r"\]\(\s*<?([^)\s>]*)>?(?:\s+\"[^\"]*\")?\s*\)")
ATTRIBUTE = re.compile(r"<(?:img|a|source)\b[^>]*?\b(?:src|href|srcset)=\"([^\"]*)\"", re.S)
DEFINITION = re.compile(r"^ {0,3}\[[^\]^][^\]]*\]:\s+<?(\S+?)>?(?:\s|$)", re.M)
ANCHOR = re.compile(r"<a\b[^>]*?\b(?:id|name)=\"([^\"]+)\"")
MENTION = re.compile(r"(?<![\w./-])docs/[\w/-]+\.md(?:#[\w-]+)?")


def files_below(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED and not f.startswith("."))
        for name in sorted(names):
            yield pathlib.Path(folder) / name


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def without_code(text):
    """Fences and code spans are blanked: lines and columns stay."""
    text = re.sub(r"^( {0,3})(```+|~~~+)[^\n]*\n.*?(?:^ {0,3}\2[^\n]*$|\Z)", blank, text, flags=re.M | re.S)
    return re.sub(r"(?<!`)(`+)(?!`)(?:[^`]|(?!\1(?!`))`)*?\1(?!`)", blank, text)


def slug(heading):
    """The name of a heading's anchor, as GitHub makes it."""
    heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip())
    heading = re.sub(r"<[^>]+>", "", heading).replace("`", "").replace("*", "")
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(text):
    fences = re.sub(r"^( {0,3})(```+|~~~+)[^\n]*\n.*?(?:^ {0,3}\2[^\n]*$|\Z)", blank, text, flags=re.M | re.S)
    found, seen = set(ANCHOR.findall(fences)), {}
    for heading in re.findall(r"^ {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*$", fences, re.M):
        name = slug(heading)
        found.add(name if name not in seen else f"{name}-{seen[name]}")
        seen[name] = seen.get(name, 0) + 1
    return found


def target_flaw(root, page, target, text_of):
    """Why a target does not lead anywhere, or None."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", target):
        return None if re.match(r"(https?://[^/]|mailto:.)", target) else "a scheme that is not for pages"
    name, _, anchor = target.partition("#")
    if name.startswith("/"):
        return "absolute: it leads elsewhere on each machine"
    file = pathlib.Path(os.path.normpath(page.parent / name)) if name else page
    if root not in [file, *file.parents]:
        return "leads out of the tree"
    if not file.exists():
        return "no such file"
    if anchor and (file.suffix != ".md" or anchor not in anchors(text_of(file))):
        return "no such heading"
    return None if target else "empty"


def flaws_of_tree(root):
    """Broken links of pages, pages that sources name and that are not there, pages that README.md does not list once."""
    texts, flaws, links = {}, [], 0

    def text_of(file):
        if file not in texts:
            texts[file] = file.read_text(encoding="utf-8")
        return texts[file]

    for file in files_below(root):
        place = file.relative_to(root)
        if file.suffix == ".md":
            text = without_code(text_of(file))
            for pattern in (LINK, ATTRIBUTE, DEFINITION):
                for match in pattern.finditer(text):
                    links += 1
                    flaw = target_flaw(root, file, match.group(1), text_of)
                    if flaw:
                        flaws.append(f"{place}:{text.count(chr(10), 0, match.start()) + 1}: {match.group(1)}: {flaw}")
        elif file.suffix in SOURCES and file.stat().st_size < 2_000_000 and file.name != pathlib.Path(__file__).name:
            try:
                text = text_of(file)
            except UnicodeDecodeError:
                continue
            for match in MENTION.finditer(text):
                links += 1
                flaw = target_flaw(root, root / "README.md", match.group(), text_of)
                if flaw:
                    flaws.append(f"{place}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}: {flaw}")
    return links, flaws + index_flaws(root, text_of)


def index_flaws(root, text_of):
    section = re.search(r"^## Documentation\n(.*?)(?=^## |\Z)", text_of(root / "README.md"), re.M | re.S)
    if not section:
        return ["README.md: no section `## Documentation`"]
    listed = LINK.findall(without_code(section.group(1)))
    pages = [f"docs/{p.name}" for p in sorted((root / "docs").glob("*.md"))]
    return [f"README.md: {page} is listed {listed.count(page)} times in Documentation, not once"
            for page in pages if listed.count(page) != 1]


def tried_on(pages):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder).resolve()
        for name, text in pages.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        return flaws_of_tree(root)[1]


README = "## Documentation\n[a](docs/a.md)\n"
PAGE = "# The `a` of: all\n## Twice\n## Twice\n<a id=\"by-hand\"></a>\n"
TRIES = [  # what is tried, README.md's further lines, further files, and the words of the one flaw; None: there is none
    ("whole", "[x](docs/a.md#the-a-of-all) [y](docs/a.md#twice-1) [z](#documentation) [w](docs/a.md#by-hand)", {}, None),
    ("code is no link", "`[x](nowhere.md)`\n```sh\n[x](nowhere.md)\n# no heading\n```\n", {}, None),
    ("elsewhere", "[x](https://example.org/a)", {}, None),
    ("no file", "[x](docs/b.md)", {}, "no such file"),
    ("no heading", "[x](docs/a.md#thrice)", {}, "no such heading"),
    ("no heading of one's own", "[x](#nothing)", {}, "no such heading"),
    ("a heading in a fence is none", "```\n# fenced\n```\n[x](#fenced)", {}, "no such heading"),
    ("no image", "![x](docs/a.png)", {}, "no such file"),
    ("no image by tag", "<img alt=\"x\" src=\"docs/a.png\">", {}, "no such file"),
    ("no file by definition", "[x]\n\n[x]: docs/b.md\n", {}, "no such file"),
    ("out of the tree", "[x](../etc/passwd)", {}, "out of the tree"),
    ("absolute", "[x](/etc/passwd)", {}, "absolute"),
    ("a scheme", "[x](file:///etc/passwd)", {}, "scheme"),
    ("a page that is not listed", "", {"docs/b.md": "# b\n"}, "listed 0 times"),
    ("a page that is listed twice", "[again](docs/a.md)", {}, "listed 2 times"),
    ("a page that a source names", "", {"core/x.hpp": "// docs/a.md#twice, and docs/b.md says more\n"}, "docs/b.md: no such"),
    ("a heading that a rule names", "", {"deploy/x.yml": "runbook: docs/a.md#thrice\n"}, "no such heading"),
]


def main():
    passed, failed = 0, 0
    for name, more, files, expected in TRIES:
        flaws = tried_on({"README.md": README + more, "docs/a.md": PAGE, **files})
        good = not flaws if expected is None else len(flaws) == 1 and expected in flaws[0]
        passed, failed = passed + good, failed + (not good)
        if not good:
            print(f"FAILED: {name}: {expected} was expected, said was: {flaws}")
    links, flaws = flaws_of_tree(ROOT)
    if links < 100:
        flaws.append(f"only {links} links were found")
    for flaw in flaws:
        print(f"FAILED: {flaw}")
    passed, failed = passed + (not flaws), failed + bool(flaws)
    print(f"{links} links looked at\n{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
