"""The still image of each living picture, for pages without JavaScript: python site/living/stills.py [NAME ...]."""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import living


def main(names: list[str]) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 760, "height": 900}, reduced_motion="reduce")
        living.write(Path(folder) / "living")
        for name in names or living.STILLS:
            page.goto(living.alone(name, Path(folder)).as_uri())
            page.locator("input[type=radio]").first.check()
            page.locator("button[type=submit]").click()
            page.locator("[data-still]").screenshot(path=living.HERE / "stills" / f"{name}.png", animations="disabled")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
