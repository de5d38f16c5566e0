"""The page as Chromium shows it, on a desk and on a telephone, in light and in dark."""

import numpy as np
import pytest

from aljax.report import write_report
from tests.support import made_up_runs as made
from tests.support.browser import browser, find_browser

DESK, TELEPHONE = (1280, 800), (390, 844)
# Sizes of all images, sprites among them: 0 is one that is missing.
IMAGES = """async () => {
  const size = async source => {
    const image = new Image();
    image.src = source;
    try { await image.decode(); return image.naturalWidth; } catch { return 0; }
  };
  const sprites = [...document.querySelectorAll('.tiles')].map(
    it => it.style.getPropertyValue('--sprite').slice(4, -1));
  const images = [...document.images].map(it => it.src);
  const drawn = [...document.querySelectorAll('image')].map(
    it => it.getAttribute('href') || it.getAttribute('xlink:href'));
  return Promise.all([...sprites, ...images, ...drawn].map(size));
}"""
# Text that cannot be read: its contrast to the ground of the page is below 4.5.
PALE = """() => {
  const channel = c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number);
    return .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const cells = ['rgb(16, 18, 20)', 'rgb(255, 255, 255)'];  // numbers in heat maps
  const found = [];
  for (const it of document.querySelectorAll('main *, header *, footer *')) {
    const own = [...it.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || it.closest('style')) continue;
    const style = getComputedStyle(it), drawn = it.closest('svg');
    const colour = drawn ? style.fill : style.color;
    if (drawn && cells.includes(colour)) continue;
    const [low, high] = [light(colour), ground].sort((a, b) => a - b);
    if ((high + .05) / (low + .05) < 4.5) found.push([it.textContent.trim(), colour]);
  }
  return found;
}"""
OPEN = "document.querySelectorAll('details').forEach(it => it.open = true)"
SIDEWAYS = "document.scrollingElement.scrollWidth - innerWidth"
BOTTOMS = """[...document.querySelectorAll('#answer .said')].map(
  it => it.getBoundingClientRect().bottom)"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """2 networks, 4 optimizers, 3 strategies, 3 trials, with images."""
    find_browser()
    folder = tmp_path_factory.mktemp("browser")
    gains = {"resnet34": 0.01, "adam": -0.03, "adamw": -0.035, "rmsprop": -0.02}
    grid = made.Grid(
        made.curves(gains | {"entropy": 0.02, "learning_loss": 0.03}),
        models=("resnet18", "resnet34"),
        optimizers=("sgd", "adam", "adamw", "rmsprop"),
        strategies=("random", "entropy", "learning_loss"),
        trials=3,
    )
    made.write(folder / "runs", grid)
    draw = np.random.default_rng(0)
    pool = draw.integers(0, 256, (made.POOL, 8, 8, 3), np.uint8)
    return write_report([folder / "runs"], images=lambda record: pool)


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture(params=[DESK, TELEPHONE], ids=["desk", "telephone"])
def size(request):
    return request.param


@pytest.fixture(params=["light", "dark"])
def shown(request, size, report, chromium):
    """The page in a window, and what the browser asked for and complained of."""
    width, height = size
    context = chromium.new_context(
        viewport={"width": width, "height": height},
        color_scheme=request.param,
        offline=True,
    )
    page, asked, wrong = context.new_page(), [], []
    page.on("request", lambda it: asked.append(it.url))
    page.on("requestfailed", lambda it: wrong.append(it.url))
    page.on("console", lambda it: wrong.append(it.text))
    page.on("pageerror", lambda it: wrong.append(str(it)))
    page.goto(report.as_uri())
    yield page, asked, wrong
    context.close()


def test_nothing_is_wrong_missing_or_asked_for(shown, report):
    page, asked, wrong = shown
    sizes = page.evaluate(IMAGES)
    assert len(sizes) > 20 and min(sizes) > 0
    assert wrong == []
    outside = [url for url in asked if not url.startswith("data:")]
    assert outside == [report.as_uri()]


def test_the_page_never_scrolls_sideways(shown):
    page, _, _ = shown
    assert page.evaluate(SIDEWAYS) <= 0
    page.evaluate(OPEN)
    assert page.evaluate(SIDEWAYS) <= 0


def test_the_answer_is_the_first_screen(shown, size):
    page, _, _ = shown
    bottoms = page.evaluate(BOTTOMS)
    assert len(bottoms) == 4 and min(bottoms) > 0
    assert bottoms[1] <= size[1]
    if size == DESK:
        assert bottoms[3] <= size[1]


def test_all_text_can_be_read_on_its_ground(shown):
    page, _, _ = shown
    page.evaluate(OPEN)
    assert page.evaluate(PALE) == []


def test_figures_have_a_form_for_the_width(shown, size):
    page, _, _ = shown
    wide, narrow = (
        page.locator(f"#accuracy_by_strategy .{name}").is_visible()
        for name in ("wide", "narrow")
    )
    assert (wide, narrow) == ((True, False) if size == DESK else (False, True))
    box = page.locator("#accuracy_by_strategy svg:visible").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= size[0]
    assert box["height"] > 100


def test_on_paper_everything_is_there(report, chromium):
    page = chromium.new_page()
    page.goto(report.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()
    assert page.locator("#confusion .wide svg").is_visible()
    page.close()
