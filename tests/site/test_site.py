"""The pages of the built site: what they link to, whether a browser shows them without a complaint, and to whom."""

import re
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from vaelib.checking import ledger

PARTS = 8  # of the pages, for workers that take turns
SERIOUS = {"serious", "critical"}
# Code and claims, of which there are hundreds alike, stay folded; one of the claims is opened below.
UNFOLD = """async () => {
  for (const part of document.querySelectorAll("details:not(.above-input, .claim details)")) part.open = true;
  await new Promise(requestAnimationFrame);
  await Promise.all(document.getAnimations().map((each) => each.finished.catch(() => {})));
}"""
# Without what is there in thousands, all alike: the drawings of formulas, which are hidden from who cannot see, the
# inside of their MathML, and all but one word of each colour in code.
AXE = """async () => {
  for (const drawn of document.querySelectorAll("mjx-container > svg")) drawn.remove();
  for (const formula of document.querySelectorAll("math")) formula.textContent = formula.textContent;
  const colours = new Set();
  for (const word of document.querySelectorAll(".highlight span:not(:has(span))")) {
    const short = word.textContent.trim().length < 2;  // axe judges no single letter
    if (short || colours.has(word.className)) word.replaceWith(word.textContent);
    else colours.add(word.className);
  }
  return (await axe.run(document, {resultTypes: ["violations"], preload: false})).violations;
}"""
LOOKED_AT = [
    "index.html",
    "notebooks/04_evidence_lower_bound.html",
    "ledger.html",
    "reference/bounds.html",
    "living_latent_map.html",
    "living_levels.html",
]

NO_PROSE = re.compile(
    r'<(pre|code|script|style)\b.*?</\1>|<(span|div)[^>]*class="math\b.*?</\2>|<!--.*?-->|<[^>]+>', re.DOTALL
)


class Page(HTMLParser):
    """The ids of a page, its links, and what it loads."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.ids, self.links, self.loads = path, set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
        self.ids |= {names[name] for name in ("id", "name") if names.get(name)}
        if tag == "a" and names.get("href"):
            self.links.append(names["href"])
        elif tag in ("script", "img", "source", "iframe") and names.get("src"):
            self.loads.append(names["src"])
        elif tag == "link" and names.get("rel") in ("stylesheet", "preload", "icon", "shortcut icon", "modulepreload"):
            self.loads.append(names["href"])


@pytest.fixture(scope="session")
def pages(site):
    """Every page by its path."""
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}


# --- What stands in the files -----------------------------------------------------------------------------------------


def broken(page: Page, pages: dict[Path, Page]) -> list[str]:
    """The links and loads of a page that lead nowhere."""
    found = []
    for link in page.links + page.loads:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
        missing = target in pages and parts.fragment and unquote(parts.fragment) not in pages[target].ids
        if not target.is_file() or missing:
            found.append(link)
    return found


def test_every_link_inside_the_site_leads_somewhere(pages, site):
    problems = {path.relative_to(site): broken(page, pages) for path, page in pages.items()}
    assert {path: links for path, links in problems.items() if links} == {}
    assert sum(len(page.links) for page in pages.values()) > 5_000


def test_nothing_is_loaded_from_elsewhere(pages, site):
    loads = {path.name: [load for load in page.loads if urlsplit(load).netloc] for path, page in pages.items()}
    assert {name: load for name, load in loads.items() if load} == {}
    styles = {css.name: re.findall(r"url\(\s*['\"]?https?:", css.read_text("utf-8")) for css in site.rglob("*.css")}
    assert {name: found for name, found in styles.items() if found} == {}


def test_a_link_that_leads_nowhere_is_noticed(tmp_path):
    there = tmp_path / "there.html"
    there.write_text('<p id="yes"></p>')
    text = '<a href="there.html#yes"></a><a href="there.html#no"></a><a href="gone.html"></a><img src="gone.png">'
    (tmp_path / "here.html").write_text(text)
    made = {path: Page(path) for path in tmp_path.iterdir()}
    assert broken(made[tmp_path / "here.html"], made) == ["there.html#no", "gone.html", "gone.png"]


def test_every_claim_of_the_ledger_and_its_equation_have_an_anchor(pages, site):
    found = ledger.collect(sorted((site / "_sources" / "notebooks").glob("*.ipynb")))
    shown = {claim["id"]: claim["notebook"].replace("ipynb", "html") for claim in found["claims"]}
    places = {number: pages[site / "notebooks" / name] for number, name in shown.items()}
    assert len(places) > 100
    for number, page in places.items():
        assert {f"eq-{number.replace('.', '-')}", f"claim-{number.replace('.', '-')}"} <= page.ids, number
    listed = {link.partition("#")[2] for link in pages[site / "ledger.html"].links}
    assert {f"eq-{number.replace('.', '-')}" for number in places} <= listed


def test_an_equation_mentioned_in_another_chapter_is_a_link_to_it(pages, site):
    links = pages[site / "notebooks" / "04_evidence_lower_bound.html"].links
    assert "02_divergence.html#eq-2-3" in links
    assert "#eq-4-1" in links


def test_the_landing_page_leads_to_every_notebook(pages, site):
    links = {link.partition("#")[0] for link in pages[site / "index.html"].links}
    assert {f"notebooks/{path.name}" for path in (site / "notebooks").glob("*.html")} <= links


def test_every_name_of_the_library_is_explained(pages, site):
    import vaelib

    links = pages[site / "reference" / "index.html"].links
    assert [name for name in vaelib.__all__ if not any(link.endswith(f".{name}") for link in links)] == []


def test_every_picture_says_what_it_shows(site):
    said = [re.findall(r'<img alt="([^"]*)"', page.read_text("utf-8")) for page in (site / "notebooks").glob("*.html")]
    described = [alt for alts in said for alt in alts]
    assert len(described) > 80
    assert [alt for alt in described if len(alt.split()) < 8 or "\\" in alt] == []


def test_no_formula_has_left_its_dollars_in_the_text(pages):
    stray = {path.name: NO_PROSE.sub("", path.read_text("utf-8")).count("$") for path in pages}
    assert {name: number for name, number in stray.items() if number} == {}


def test_the_site_is_small(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 40e6


# --- What a browser makes of them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", range(PARTS))
def test_every_page_opens_in_silence_and_reads_well(part, pages, site, new_page, open_page):
    """No complaint in the console, no request, no formula in error, nothing wider than a phone, no barrier (axe)."""
    from axe_playwright_python.base import AXE_FILE_PATH

    axe, problems, page = AXE_FILE_PATH.read_text("utf-8"), defaultdict(list), new_page(390, 844)
    for path in list(pages)[part::PARTS]:
        name = str(path.relative_to(site))
        page.complaints.clear()
        open_page(page, name)
        page.evaluate(UNFOLD)
        problems[name] += page.complaints
        problems[name] += [f"formula: {text}" for text in page.locator("mjx-merror").all_inner_texts()]
        wide = page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth")
        problems[name] += [f"{wide} pixels wider than a phone"] if wide > 0 else []
        page.evaluate(axe)
        problems[name] += barriers(page)
    assert {name: found for name, found in problems.items() if found} == {}


def barriers(page) -> list[str]:
    """What axe finds serious or critical."""
    found = page.evaluate(AXE)
    return [
        f"{each['id']}: {len(each['nodes'])} times, {each['nodes'][0]['html'][:200]}"
        for each in found
        if each["impact"] in SERIOUS
    ]


def test_barriers_errors_and_requests_are_noticed(new_page, tmp_path):
    from axe_playwright_python.base import AXE_FILE_PATH

    bad = tmp_path / "bad.html"
    bad.write_text(
        '<img src="https://example.org/a.png"><script>console.error("oh"); undefined.x</script>'
        '<pre class="highlight"><span class="k">one</span> <span class="k">two</span> <span class="s">x</span> '
        '<span class="s" style="color:#ddd">three</span></pre>'
    )
    page = new_page()
    page.goto(bad.as_uri())
    assert "error: oh" in page.complaints
    assert "asks for https://example.org/a.png" in page.complaints
    assert any("undefined" in each for each in page.complaints)
    page.evaluate(AXE_FILE_PATH.read_text("utf-8"))
    found = barriers(page)
    assert any(each.startswith("image-alt: 1 times") for each in found)
    assert any(each.startswith("color-contrast: 1 times") for each in found)  # of the colours of code one word each


def test_the_search_finds_a_term(page, open_page):
    open_page(page, "search.html?q=posterior+collapse")
    found = page.locator("#search-results li a").filter(has_text="What the codes carry")
    found.first.wait_for()
    assert "11_what_the_codes_carry.html" in found.first.get_attribute("href")


def test_the_ledger_shows_the_claims_that_are_asked_for(page, open_page):
    open_page(page, "ledger.html")
    shown = page.locator("#claims tbody tr:visible")
    every = shown.count()
    said = page.locator("#ledger-filters output")
    assert said.inner_text() == f"{every} of {every} claims"
    page.get_by_label("covers").select_option("E5")
    assert 0 < shown.count() < every
    assert all("E5" in row.get_attribute("data-covers").split() for row in shown.all())
    page.get_by_label("witness").select_option("ball")
    page.get_by_label("words").fill("no such words")
    assert said.inner_text() == f"0 of {every} claims"
    page.get_by_label("words").fill("")
    assert all("ball:" in text for text in shown.all_inner_texts())


def test_the_ledger_asks_nothing_else_after_the_way_back(page, open_page):
    open_page(page, "ledger.html")
    page.get_by_label("witness").select_option("ball")
    page.goto("about:blank")
    page.go_back()
    chosen, said = page.get_by_label("witness").input_value(), page.locator("#ledger-filters output").inner_text()
    every = page.locator("#claims tbody tr").count()
    assert (chosen == "") == (said == f"{every} of {every} claims")


LOST = """side => [...document.querySelectorAll("div.math")].filter((box) => {
  const glyphs = [...box.querySelectorAll("svg :is(use, path)")].map((each) => each.getBoundingClientRect());
  const drawn = glyphs.filter(({ width }) => width > 0), { left, right } = box.getBoundingClientRect();
  const within = side === "left" || Math.max(...drawn.map((each) => each.right)) < right + 2;
  return drawn.length && !(within && Math.min(...drawn.map((each) => each.left)) > left - 2);
}).length"""


def test_wide_formulas_begin_in_sight(page, open_page):
    open_page(page, "notebooks/04_evidence_lower_bound.html")
    assert page.evaluate("[...document.querySelectorAll('div.math')].some((box) => box.scrollWidth > box.clientWidth)")
    assert page.evaluate(LOST, "left") == 0


@pytest.mark.parametrize("width", [1280, 1600])
def test_paper_shows_whole_formulas_in_dark_ink(new_page, open_page, width):
    page = open_page(new_page(width, color_scheme="dark"), "notebooks/04_evidence_lower_bound.html")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})  # of A4, between the margins
    assert page.locator("html").get_attribute("data-theme") == "light"
    assert page.evaluate(LOST, "both") == 0
    assert page.locator("pre").first.evaluate("pre => getComputedStyle(pre).whiteSpace").startswith("pre-wrap")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate("[...document.querySelectorAll('div.math')].every((box) => !box.style.zoom)")


def test_a_claim_opens_into_its_witnesses(page, open_page):
    from axe_playwright_python.base import AXE_FILE_PATH

    open_page(page, "notebooks/04_evidence_lower_bound.html")
    claim = page.locator("#claim-4-1")
    assert not claim.locator("table").is_visible()
    claim.locator("summary").click()
    assert claim.get_by_role("rowheader").first.is_visible()
    assert claim.locator("mjx-container").first.is_visible()
    page.evaluate(AXE_FILE_PATH.read_text("utf-8"))
    assert barriers(page) == []


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_pages_are_photographed(look, new_page, open_page, site):
    """Into build/screenshots, for somebody to look at; in the dark axe looks, too."""
    from axe_playwright_python.base import AXE_FILE_PATH

    folder = site.parent / "screenshots"
    folder.mkdir(exist_ok=True)
    width, height = (390, 844) if look == "phone" else (1280, 900)
    page = new_page(width, height, color_scheme="dark" if look == "dark" else "light")
    for name in LOOKED_AT:
        open_page(page, name)
        assert page.locator("html").get_attribute("data-theme") == ("dark" if look == "dark" else "light")
        page.screenshot(path=folder / f"{Path(name).stem}-{look}.png")
        if look == "dark":
            page.evaluate(AXE_FILE_PATH.read_text("utf-8"))
            assert barriers(page) == [], name
    assert page.complaints == []


def test_printed_pages_have_no_navigation(page, open_page):
    open_page(page, "notebooks/04_evidence_lower_bound.html")
    page.emulate_media(media="print")
    assert not page.locator(".bd-sidebar-primary").is_visible()
    assert page.locator("h1:visible").inner_text().startswith("04 · The evidence lower bound")
    open_page(page, "living_cave.html")
    page.emulate_media(media="print")
    assert page.locator("canvas").first.is_visible()
    assert not page.locator(".living-prediction").is_visible()
