"""The documentation as a book: mdBook builds it, and every link in it leads somewhere."""

import re
import subprocess
import sys
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

from harness import PATIENCE, expect

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


class Page(HTMLParser):
    """What a page names and what it leads to."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        if told.get("id"):
            self.ids.add(told["id"])
        if tag == "a" and told.get("href"):
            self.links.append(told["href"])


def book(bench):
    """Builds it with no warning; looks at each page's links, and that no page is left out."""
    built = bench.folder / "book"
    program = Path(sys.executable).with_name("mdbook")
    argv = [program, "build", "--dest-dir", built, ROOT]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=4 * PATIENCE)
    expect(said.returncode == 0, said.stderr)
    faults = [line for line in said.stderr.splitlines() if "WARN" in line or "ERROR" in line]
    expect(not faults, "\n".join(faults))

    sources = [page.relative_to(DOCS) for page in sorted(DOCS.rglob("*.md"))]
    shown = {Path(path) for path in re.findall(r"\]\((.*?\.md)\)", (DOCS / "SUMMARY.md").read_text())}
    told = {path for path in sources if path.parts[0] != "adr" and path.name != "SUMMARY.md"}
    expect(told == shown, f"docs/SUMMARY.md: {sorted(map(str, told ^ shown))} on one side only")

    pages = {path: Page((built / html(path)).read_text()) for path in sorted(shown)}
    links = 0
    for path, page in pages.items():
        for link in page.links:
            url = urllib.parse.urlsplit(link)
            if url.scheme or url.netloc:
                continue
            links += 1
            where = f"docs/{path}: {link}"
            target = (built / html(path)).parent / urllib.parse.unquote(url.path) if url.path else built / html(path)
            if not target.resolve().is_relative_to(built.resolve()) or not target.exists():
                # Not of the book: a file beside it in the repository.
                source = (DOCS / path).parent / urllib.parse.unquote(url.path)
                if source.suffix == ".html":
                    source = source.with_suffix(".md")
                expect(source.exists(), f"{where} leads nowhere")
                continue
            if url.fragment and target.suffix == ".html":
                ids = Page(target.read_text()).ids
                expect(urllib.parse.unquote(url.fragment) in ids, f"{where}: no such place")
    return f"{len(pages)} pages, {links} links"


def html(path):
    """Where mdBook puts a page."""
    return path.with_name("index.html") if path.name == "README.md" else path.with_suffix(".html")
